"""PIL images to pictures and back, with what they carry beside RGB pixels: depth, alpha, orientation, profile, EXIF."""

import io
from typing import Any

import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images.formats import codec
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.support.errors import UserError

AS_PNG = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I;16L", "I;16B")  # that PNG holds without loss
AS_TIFF = ("CMYK",)


def from_pil(image: Image.Image) -> Picture:
    """The picture that a file of a PIL image would give: upright, with its alpha, profile and EXIF.

    Raises UserError for modes whose range of values is not known (I, F), or that no picture has.
    """
    if image.mode not in AS_PNG + AS_TIFF:
        raise UserError(
            f"a PIL image of mode {image.mode} cannot be restored; give an array of uint8, uint16, or floats in [0, 1]"
        )
    carried: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    if exif := image.getexif():
        carried["exif"] = exif.tobytes()
    if image.mode in ("I;16L", "I;16B"):
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode == "PA":
        image = image.convert("RGBA")
    file = io.BytesIO()
    if image.mode in AS_TIFF:
        image.save(file, "TIFF", **{name: value for name, value in carried.items() if value})
    else:
        image.save(file, "PNG", compress_level=0, **carried)
    file.seek(0)
    return codec.decode(file)


def to_pil(pixels: np.ndarray, like: Picture) -> Image.Image:
    """Restored pixels (H W 3, uint8, uint16 or floats in [0, 1]) as a PIL image, with what `like` carries.

    Grey of 16 bits stays so (mode I;16); all else has 8 bits a channel, CMYK and palettes become RGB.
    """
    deep = like.mode == "grey" and like.pixels.dtype == np.uint16
    rounded = images.to_uint16 if deep else images.to_uint8
    if like.mode == "grey":
        pixels = images.to_float(pixels).mean(axis=2, keepdims=True)
    array = rounded(images.to_float(pixels))
    if like.alpha is not None and not deep:
        array = np.concatenate([array, images.to_uint8(images.to_float(like.alpha))[..., None]], axis=2)
    result = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if like.icc and like.mode != "cmyk":
        result.info["icc_profile"] = like.icc
    if like.exif:
        result.info["exif"] = like.exif
    return result
