"""The bytes of picture files, read and written with nothing lost: pixels as stored, alpha, profile and notes.

Pillow alone will not do: it cuts 16-bit RGB to 8 bits without a word, cannot write it, and misses the transparent grey
of 1- and 2-bit PNGs. So PNG goes through libpng (imagecodecs, a wheel of 26 MB; OpenCV is one of 61 MB, cannot write
grey with alpha, and puts no notes into TIFF), TIFF through tifffile (which needs imagecodecs for LZW, JPEG and the
like), camera raw through LibRaw (rawpy, an extra), and the rest through Pillow.

Shapes: H height, W width, C channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha, or 4 CMYK.
"""

from typing import BinaryIO

import numpy as np

from mprnet_jax.images.formats import isobmff, jpeg, pillow, png, png_colours, pnm, tiff
from mprnet_jax.images.formats.camera_raw import develop, signatures
from mprnet_jax.images.formats.colours import SRGB, convert, space
from mprnet_jax.images.formats.jpeg_xl import codec as jpeg_xl
from mprnet_jax.images.formats.picture import MAX_PIXELS, Picture, Refusal

HOLDS = {  # format -> what it can hold besides 8-bit RGB
    "PNG": {"16 bits", "alpha", "grey"},
    "TIFF": {"16 bits", "alpha", "grey", "cmyk"},
    "JPEG": {"grey", "cmyk"},
    "WEBP": {"alpha"},
    "BMP": {"grey"},
    "PPM": {"16 bits", "grey"},
    "AVIF": {"alpha"},
    "JXL": {"16 bits", "alpha", "grey"},
}
SMALL_FILE = 1 << 25  # bytes: of a WebP, whose chunks are not counted
MAX_SIDE = {"PNG": 1_000_000, "JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_536}  # pixels; what the encoders take


def decode(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture by its contents. Raises Refusal, or whatever the decoders raise on damage."""
    head = file.read(1024)
    file.seek(0)
    if not head:
        raise Refusal("empty file (0 bytes); export or download it again")
    if head.startswith(png.SIGNATURE):
        return png.decode(file, max_pixels)
    if signatures.is_raw(file):
        return develop.decode(file, max_pixels)
    if head.startswith(tiff.SIGNATURES):
        return tiff.decode(file, max_pixels)
    if head.startswith(jpeg.SIGNATURE):
        return pillow.decode_jpeg(file, max_pixels)
    if jpeg_xl.is_jpeg_xl(head):
        return jpeg_xl.decode(file, max_pixels)
    if isobmff.is_heic(head):
        isobmff.provide_heic()
        return pillow.decode(file, max_pixels)
    if isobmff.is_avif(head):
        return isobmff.decode_avif(file, max_pixels)
    header = pnm.PNM_HEADER.match(head)
    if header and int(header[4]) > 255:
        return pnm.decode_deep_pnm(file, header, max_pixels)
    return pillow.decode(file, max_pixels)


def is_bounded(file: BinaryIO) -> bool:
    """Whether decoding costs no more than what the size of the picture and of the file say, checked before it starts.

    So it is for PNG and JPEG, whose structure is walked within limits, BMP and PNM without runs or text, WebP of the
    simple kind, and TIFF of few strips in a compression that is decoded in one pass. Interlaced PNGs, which are few,
    count as not bounded for another reason: libpng writes about them to stderr.
    """
    head = file.read(64)
    file.seek(0)
    if head.startswith(png.SIGNATURE):
        return head[png.INTERLACED_AT : png.INTERLACED_AT + 1] != b"\1"
    if head.startswith(jpeg.SIGNATURE) or not head:
        return True
    if signatures.is_raw(file):
        return False
    if head.startswith(tiff.SIGNATURES):
        return tiff.is_bounded(file)
    if head.startswith(b"BM"):
        return len(head) >= 34 and head[30] not in pillow.RUN_LENGTHS
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return file.seek(0, 2) < SMALL_FILE + file.seek(0)
    header = pnm.PNM_HEADER.match(head)
    return bool(header) and int(header[1]) not in pnm.TEXT


def colours_beside_profile(format_name: str, like: Picture) -> bytes | None:
    """A profile for what a PNG without one says about its colours, for another format.

    Raises Refusal for HDR, and for any profile in JPEG XL.
    """
    beside = None
    if like.format == "PNG" and format_name != "PNG" and not like.icc:
        beside = png_colours.profile(dict(like.extra), like.mode == "grey")
    if format_name == "JXL" and like.mode != "cmyk" and (like.icc or beside):
        raise Refusal("a colour profile cannot be written into JPEG XL here; write .png, .tif or .webp")
    return beside


def encode(format_name: str, array: np.ndarray, mode: str, like: Picture | None, quality: int) -> bytes:
    """H W C pixels (RGB also for "cmyk"), uint8 or uint16, as a file with the profile and the notes of `like`."""
    if like is None:
        like = Picture(array, None, mode, format_name)
    icc = like.icc or colours_beside_profile(format_name, like)
    if like.mode == "cmyk":
        if mode == "cmyk":
            array = convert(array, SRGB, icc, "RGB", "CMYK")
        else:
            icc = None  # it is that of the inks; the pixels are sRGB
    elif like.mode == "grey" and mode == "rgb" and space(icc) == b"GRAY":
        colours = convert(array[..., :1], icc, SRGB, "L", "RGB")
        array, icc = np.concatenate((colours, array[..., 3:]), axis=2), None
    extra = like.extra if like.format == format_name else ()
    if format_name == "PNG":
        return png.encode(array, like, icc, extra)
    if format_name == "TIFF":
        return tiff.encode(array, mode, like, icc, extra)
    if format_name == "JXL":
        return jpeg_xl.encode(array, like)
    if format_name == "PPM":
        return pnm.encode_pnm(array)
    return pillow.encode(format_name, array, mode, like, icc, extra, quality)
