"""JPEG, WebP, BMP, PPM and GIF through Pillow."""

import contextlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.colours import SRGB, convert, to_pillow
from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored, refuse_frames

READABLE = ("JPEG", "WEBP", "BMP", "PPM", "GIF")  # Pillow's names; not EPS, which runs a program
XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"  # what did not fit into the first 64 KB
# Segments of a JPEG that are kept as they are: comments, Photoshop's resources with IPTC, long XMP.
JPEG_KEPT = {"COM": (b"\xfe", b""), "APP13": (b"\xed", b""), "APP1": (b"\xe1", XMP_EXTENSION)}

# What is set while Pillow opens a file is set for the whole process: its limit on pixels, the filters of warnings.
_opening = threading.Lock()


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """A single picture; of an MPO, the JPEG of phones with a depth map or second view behind, the first one."""
    picture = _open(file, max_pixels)
    info = picture.info
    if picture.mode == "CMYK":
        mode = "cmyk"
        array = convert(np.asarray(picture), info.get("icc_profile"), SRGB, "CMYK", "RGB")
    elif picture.mode in ("1", "L", "LA"):
        mode = "grey"
        array = np.asarray(picture.convert("LA" if picture.has_transparency_data else "L"))
    elif picture.mode in ("P", "PA", "RGB", "RGBA"):
        mode = "rgb"
        array = np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    else:
        raise Refusal(f"{picture.format} of mode {picture.mode} cannot be read; save it as PNG")
    block, orientation = exif.turn_upright(re.sub(b"^(Exif\0\0)+", b"", info.get("exif", b"")))
    extra = []
    for name, segment in getattr(picture, "applist", ()):
        marker, beginning = JPEG_KEPT.get(name, (b"", None))
        if beginning is not None and segment.startswith(beginning):
            extra.append((marker, segment))
    return from_stored(
        array,
        mode,
        "JPEG" if picture.format == "MPO" else picture.format,
        orientation,
        icc=info.get("icc_profile"),
        exif=block or None,
        xmp=info.get("xmp"),
        dpi=info.get("dpi"),
        extra=tuple(extra),
    )


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Read the header, and no more before the size is known to be safe."""
    with own_limit():
        try:
            picture = Image.open(file, formats=READABLE)
            check_size(*picture.size, max_pixels)
            if picture.format in ("WEBP", "GIF"):
                refuse_frames(picture.n_frames)
        except Image.UnidentifiedImageError:
            readable = "PNG, TIFF, JPEG, WebP, BMP, PPM, GIF"
            raise Refusal(f"not a picture in a format that can be read ({readable}); export it as PNG") from None
    return picture


@contextlib.contextmanager
def own_limit() -> Iterator[None]:
    """Inside, Pillow opens pictures of any size, for check_size to judge: its own limit warns at 89 megapixels and
    refuses at 179, which phones have."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd EXIF, which is kept as it is
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def encode(
    format_name: str,
    array: np.ndarray,
    mode: str,
    like: Picture,
    icc: bytes | None,
    extra: tuple[tuple[bytes, bytes], ...],
    quality: int,
) -> bytes:
    """H W C of uint8, with the notes of `like`; `quality` is for JPEG alone, WebP is lossless."""
    notes = {"icc_profile": icc, "xmp": like.xmp, "dpi": like.dpi, "exif": like.exif and b"Exif\0\0" + like.exif}
    options = {name: note for name, note in notes.items() if note}
    if format_name == "JPEG":
        segments = (b"\xff" + marker + struct.pack(">H", len(note) + 2) + note for marker, note in extra)
        options |= {"quality": quality, "subsampling": 0, "extra": b"".join(segments)}
    if format_name == "WEBP":
        options |= {"lossless": True, "exact": True}  # exact: colours under transparent pixels stay too
    file = io.BytesIO()
    to_pillow(array, "CMYK" if mode == "cmyk" else None).save(file, format_name, **options)
    return file.getvalue()
