"""JPEG, WebP, BMP, PPM and GIF through Pillow."""

import functools
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image

from mprnet_jax.images.formats import gif, jpeg, trailers
from mprnet_jax.images.formats.colours import SRGB, convert, to_pillow
from mprnet_jax.images.formats.picture import (
    MAX_FRAMES,
    Picture,
    Refusal,
    check_density,
    check_size,
    from_stored,
    read_all,
    refuse_frames,
)

# HEIF is known once isobmff.provide_heic() was called.
READABLE = ("JPEG", "WEBP", "BMP", "PPM", "GIF", "AVIF", "HEIF")  # Pillow's names; not EPS, which runs a program
NAMES = "PNG, TIFF, JPEG, WebP, BMP, PPM, GIF, AVIF, HEIC, JPEG XL"
EXIF_PREFIX = re.compile(b"^(Exif\0\0)+")
XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"  # what did not fit into the first 64 KB
PHOTOSHOP = b"Photoshop 3.0\0"
COMMENT, APP1, APP2, APP13 = 0xFE, 0xE1, 0xE2, 0xED
# Segments of a JPEG that are kept as they are: comments, Photoshop's resources with IPTC, long XMP.
JPEG_KEPT = {COMMENT: b"", APP13: b"", APP1: XMP_EXTENSION}
TURNED = ("AVIF", "HEIF")  # whose decoders turn the picture by the boxes of the file, whatever EXIF says
RUN_LENGTHS = (1, 2)  # compressions of BMP
MAX_RUN_LENGTH_PIXELS, MAX_RUN_LENGTH_SIDE = 16_000_000, 65_535  # Pillow decodes them in Python

# What is set while Pillow opens a file is set for the whole process: its limit on pixels, the filters of warnings.
_opening = threading.Lock()


@contextmanager
def quiet_opening() -> Iterator[None]:
    """Pillow's warnings (odd EXIF, 89 megapixels) off, and its limit on pixels, for which ours stands."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """A single picture."""
    _check_bmp(file)
    picture = _open(file, max_pixels)
    array, mode = stored_pixels(picture)
    return _with_notes(array, mode, picture)


def decode_jpeg(file: BinaryIO, max_pixels: int) -> Picture:
    """The first picture of a JPEG file, which must be whole; what phones put behind it is named in `lost`."""
    data = read_all(file, max_pixels)
    about = jpeg.layout(data, max_pixels)
    first = data[: about.end] if about.has_end_mark else data + jpeg.END
    head, trailer, extra, views = [], data[about.end :], [], []
    for marker, contents, segment in jpeg.segments(first):
        head.append(contents)
        if marker == APP2 and contents.startswith(trailers.MPF):
            views.append(segment)
        if marker in JPEG_KEPT and contents.startswith(JPEG_KEPT[marker]):
            extra.append((bytes([marker]), contents))
    plain = functools.reduce(lambda stream, segment: stream.replace(segment, b"", 1), views, first)
    picture = _open(io.BytesIO(plain), max_pixels)  # without the list of views, which makes it an MPO to Pillow
    pixels = np.asarray(picture)
    jpeg.check_whole(first, about, pixels, lambda longer: np.asarray(_open(io.BytesIO(longer), max_pixels)))
    array, mode = stored_pixels(picture)
    lost = trailers.lost_with(trailer, b"".join(head))
    return _with_notes(array, mode, picture, extra=tuple(extra), lost=lost)


def stored_pixels(picture: Image.Image) -> tuple[np.ndarray, str]:
    """H W C of uint8 as from_stored takes it, and the mode of a Picture. Raises Refusal for other modes."""
    if picture.mode == "CMYK":
        return convert(np.asarray(picture), picture.info.get("icc_profile"), SRGB, "CMYK", "RGB"), "cmyk"
    if picture.mode in ("1", "L", "LA", "La"):
        return np.asarray(picture.convert("LA" if picture.has_transparency_data else "L")), "grey"
    if picture.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "HSV"):
        return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB")), "rgb"
    raise Refusal(f"{picture.format or 'an image'} of mode {picture.mode} cannot be read; save it as PNG")


def _with_notes(array: np.ndarray, mode: str, picture: Image.Image, **more: object) -> Picture:
    if picture.format in TURNED:
        more["orientation"] = 1
    info = picture.info
    return from_stored(
        array,
        mode,
        picture.format,
        icc=info.get("icc_profile"),
        exif=EXIF_PREFIX.sub(b"", info.get("exif") or b"") or None,
        xmp=info.get("xmp"),
        dpi=info.get("dpi"),
        **more,
    )


def readable() -> list[str]:
    """The formats of READABLE that this Pillow knows: it raises KeyError for others."""
    Image.init()
    return [name for name in READABLE if name in Image.OPEN]


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Read the header, and no more before the size is known to be safe."""
    gif.check_blocks(file)
    with quiet_opening():
        try:
            picture = Image.open(file, formats=readable())
        except Image.UnidentifiedImageError:
            raise Refusal(f"not a picture in a format that can be read ({NAMES}); export it as PNG") from None
        check_size(*picture.size, max_pixels)
        check_density(*picture.size, file)
        refuse_several(picture)
    return picture


def refuse_several(picture: Image.Image) -> None:
    """Refuse an opened picture of several frames, by the file's blocks alone. Of a JPEG the first picture counts."""
    if picture.format in ("WEBP", "AVIF"):
        refuse_frames(picture.n_frames)
    if picture.format == "GIF":
        refuse_frames(_count_frames(picture))


def _count_frames(picture: Image.Image) -> int:
    """How many frames a GIF has, up to one more than MAX_FRAMES."""
    count = 1
    try:
        while count <= MAX_FRAMES:
            picture._seek(count, False)  # only over the frames' blocks; seek() would decode each
            count += 1
    except EOFError:
        pass
    if count == 1:
        picture.seek(0)
    return count


def _check_bmp(file: BinaryIO) -> None:
    head = file.read(34)
    file.seek(0)
    if not head.startswith(b"BM") or len(head) < 34:
        return
    width, height, _, _, compression = struct.unpack_from("<iiHHI", head, 18)
    side, pixels = max(abs(width), abs(height)), abs(width * height)
    if compression in RUN_LENGTHS and (pixels > MAX_RUN_LENGTH_PIXELS or side > MAX_RUN_LENGTH_SIDE):
        raise Refusal(f"a run-length encoded BMP of {width}x{abs(height)} is too large to be safe; export it as PNG")


def encode(
    format_name: str,
    array: np.ndarray,
    mode: str,
    like: Picture,
    icc: bytes | None,
    extra: tuple[tuple[bytes, bytes], ...],
    quality: int,
) -> bytes:
    """H W C of uint8, with the notes of `like`; `quality` is for JPEG and AVIF, WebP is lossless."""
    notes = {"icc_profile": icc, "xmp": like.xmp, "dpi": like.dpi, "exif": like.exif and b"Exif\0\0" + like.exif}
    options = {name: note for name, note in notes.items() if note}
    if format_name == "JPEG":
        segments = (b"\xff" + marker + struct.pack(">H", len(note) + 2) + note for marker, note in extra)
        options |= {"quality": quality, "subsampling": 0, "extra": b"".join(segments)}
    if format_name == "WEBP":
        options |= {"lossless": True, "exact": True}  # exact: colours under transparent pixels stay too
    if format_name == "AVIF":
        options |= {"quality": quality, "subsampling": "4:4:4"}
    file = io.BytesIO()
    to_pillow(array, "CMYK" if mode == "cmyk" else None).save(file, format_name, **options)
    return file.getvalue()
