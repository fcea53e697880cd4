"""PIL images <-> pictures, with what a PIL image carries beside RGB pixels: depth, alpha, orientation, notes."""

import numpy as np
from PIL import Image

from mprnet_jax.images.formats import pillow
from mprnet_jax.images.formats.colours import to_pillow
from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored
from mprnet_jax.images.pixels import to_depth, to_float, to_uint16
from mprnet_jax.support.errors import UserError

FULL = 65535


def from_pil(image: Image.Image) -> Picture:
    """A PIL image of any mode as a Picture: upright, with its alpha and notes.

    16 bits for the modes I;16, I (values 0 to 65535) and F (0 to 1). CMYK becomes sRGB. Raises UserError for values
    beyond these ranges, for modes that have no such meaning (LAB), and for an image whose file is damaged.
    """
    try:
        check_size(*image.size)
        image.load()
        array, mode = _deep_pixels(image) or pillow.stored_pixels(image)
    except Refusal as error:
        raise UserError(f"the PIL image: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the PIL image: not a whole picture ({error}); export or download it again") from error
    block = image.info.get("exif") or b""
    tags = image.getexif()
    if tags:  # as they are now: they may have been changed since the file was opened
        block = tags.tobytes()
    block = pillow.EXIF_PREFIX.sub(b"", block)
    xmp, dpi = image.info.get("xmp"), image.info.get("dpi")
    return from_stored(
        array,
        mode,
        image.format or "PNG",
        exif=block or None,
        icc=image.info.get("icc_profile"),
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=dpi if isinstance(dpi, tuple) else None,
    )


def _deep_pixels(image: Image.Image) -> tuple[np.ndarray, str] | None:
    """H W uint16 of the modes that hold more than 8 bits, None for others."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), "grey"
    if image.mode not in ("I", "F"):
        return None
    array, limit = np.asarray(image), FULL if image.mode == "I" else 1
    if image.mode == "I" and array.min() >= 0 and array.max() <= 255:
        raise Refusal("mode I with values up to 255, which may be dark 16 bits or all of 8; convert it to L or I;16")
    if not (array.min() >= 0 and array.max() <= limit):
        found = f"{array.min():g} to {array.max():g}"
        raise Refusal(f"mode {image.mode} with values {found}, and only 0 to {limit} can be read; scale them first")
    return (array.astype(np.uint16) if image.mode == "I" else to_uint16(array)), "grey"


def to_pil(pixels: np.ndarray, like: Picture) -> Image.Image:
    """Pixels (H W 3: float in [0, 1], uint8 or uint16) as a PIL image, with what `like` carries.

    Grey stays grey, with 16 bits if it had them and no alpha; all else has 8 bits a channel, since PIL has no RGB of
    16. Alpha comes back, and CMYK and palettes become RGB. Profile, EXIF, XMP and DPI are in `info`, as Image.open
    would put them there.
    """
    deep = like.mode == "grey" and like.alpha is None and like.pixels.dtype == np.uint16
    array = to_float(pixels).mean(axis=2, keepdims=True) if like.mode == "grey" else pixels
    array = to_depth(array, np.dtype(np.uint16 if deep else np.uint8))
    if like.alpha is not None:
        array = np.concatenate((array, to_depth(like.alpha, np.dtype(np.uint8))[..., None]), axis=2)
    image = Image.fromarray(array[..., 0]) if deep else to_pillow(np.ascontiguousarray(array))
    icc = None if like.mode == "cmyk" else like.icc
    notes = {"icc_profile": icc, "exif": like.exif and b"Exif\0\0" + like.exif, "xmp": like.xmp, "dpi": like.dpi}
    image.info |= {name: note for name, note in notes.items() if note}
    return image
