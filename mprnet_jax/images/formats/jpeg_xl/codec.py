"""JPEG XL pictures through libjxl (imagecodecs), which gives pixels alone: EXIF and XMP by the boxes of the file.

A file is a bare codestream, or boxes as in MP4 around it. imagecodecs neither reads nor writes colour profiles: what is
not sRGB is refused rather than shown in wrong colours. Source: ISO/IEC 18181-2.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

from mprnet_jax.images.formats.jpeg_xl import header as headers
from mprnet_jax.images.formats.jpeg_xl.header import CODESTREAM, Header, with_srgb_curve
from mprnet_jax.images.formats.picture import (
    Picture,
    Refusal,
    check_density,
    check_size,
    from_stored,
    read_all,
)

BOXED = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAMS = (b"jxlc", b"jxlp")  # whole, or in numbered parts
LEVEL = b"jxll"  # says that a decoder needs more than the least, as 16 bits do
MOST_BOXES = 10_000
MOST_PACKED = 1 << 20  # bytes of packed notes that are looked at
HEAD = 1 << 16  # bytes that hold the header of the codestream, and what boxes stand before it
EFFORT = 4  # of 9: a fifth of the time of the usual 7, for files some percent larger


def is_jpeg_xl(head: bytes) -> bool:
    """Whether a file that begins so is JPEG XL."""
    return head.startswith((CODESTREAM, BOXED))


def read_header(file: BinaryIO, max_pixels: int) -> Header:
    """By the first bytes alone. Raises Refusal for what cannot be read, and for too many pixels."""
    file.seek(0)
    head = file.read(HEAD)
    found = headers.read(_codestream(head))
    check_size(found.width, found.height, max_pixels)
    if found.is_animated:
        raise Refusal("several frames, and only single pictures can be restored; split it first")
    if not found.is_srgb:
        raise Refusal(
            "a JPEG XL whose colours are not sRGB cannot be read, its profile would be lost; convert it to PNG "
            "(djxl a.jxl a.png)"
        )
    if found.is_float or found.is_associated or found.alphas > 1:
        what = "of floating-point values" if found.is_float else "with alpha in its colours, or several"
        raise Refusal(f"a JPEG XL {what} cannot be read; convert it to PNG (djxl a.jxl a.png)")
    return found


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """A single picture, upright, of uint8, or uint16 for more than 8 bits. Raises Refusal."""
    found = read_header(file, max_pixels)
    check_density(found.width, found.height, file)
    data = read_all(file, max_pixels)
    array = imagecodecs.jpegxl_decode(data, numthreads=1)  # it turns the picture upright
    if array.ndim == 2:
        array = array[..., None]
    expected = (1 if found.is_grey else 3) + found.alphas
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16) or array.shape[2] < expected:
        raise Refusal("a JPEG XL of several frames or unusual channels cannot be read; export it as PNG")
    array = _to_full_range(array[..., :expected], found.bits)
    notes = _notes(data)
    lost = (f"{found.others} further channels of the JPEG XL (depth, spot colour)",) if found.others else ()
    mode = "grey" if found.is_grey else "rgb"
    return from_stored(array, mode, "JXL", orientation=1, lost=lost, **notes)


def encode(array: np.ndarray, like: Picture) -> bytes:
    """H W C (1 to 4) of uint8 or uint16, lossless, with EXIF and XMP."""
    pixels = array[..., 0] if array.shape[2] == 1 else array
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, effort=EFFORT, usecontainer=True, numthreads=1)
    boxes = dict(_boxes(data))
    notes = {b"Exif": like.exif and bytes(4) + like.exif, b"xml ": like.xmp}
    ordered = {
        b"ftyp": boxes[b"ftyp"],
        LEVEL: boxes.get(LEVEL),
        b"jxlc": with_srgb_curve(boxes[b"jxlc"]),
        **notes,
    }
    return BOXED + b"".join(_box(kind, contents) for kind, contents in ordered.items() if contents)


def _to_full_range(array: np.ndarray, bits: int) -> np.ndarray:
    """Values up to 2 ** bits - 1 -> up to 255 or 65535, as the type of the array has them."""
    full = np.iinfo(array.dtype).max
    peak = (1 << bits) - 1
    if peak == full:
        return np.ascontiguousarray(array)
    return np.rint(array * (full / peak)).astype(array.dtype)


def _box(kind: bytes, contents: bytes) -> bytes:
    size = 8 + len(contents)
    if size < 1 << 32:
        return struct.pack(">I4s", size, kind) + contents
    return struct.pack(">I4sQ", 1, kind, size + 8) + contents


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and contents of each box, the last one as far as it is there."""
    start = len(BOXED)
    for _ in range(MOST_BOXES):
        if start + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= len(data):
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        end = len(data) if size == 0 else start + size
        if end < start + head:
            return
        yield kind, data[start + head : end]
        start = end
    raise Refusal(f"more than {MOST_BOXES} boxes, too many to be safe; export it again")


def _codestream(data: bytes) -> bytes:
    """Its begin, from the begin of a file."""
    if data.startswith(CODESTREAM):
        return data
    parts = (contents if kind == b"jxlc" else contents[4:] for kind, contents in _boxes(data) if kind in CODESTREAMS)
    found = next(parts, b"")
    if not found.startswith(CODESTREAM):
        raise Refusal("not a whole picture (a JPEG XL without pixels at its begin); export or download it again")
    return found


def _notes(data: bytes) -> dict[str, bytes]:
    if data.startswith(CODESTREAM):
        return {}
    notes = {}
    for kind, contents in _boxes(data):
        if kind == b"brob" and len(contents) < MOST_PACKED and contents[:4] in (b"Exif", b"xml "):
            kind, contents = contents[:4], imagecodecs.brotli_decode(contents[4:])
        if kind == b"Exif" and len(contents) > 12:
            block = contents[4 + int.from_bytes(contents[:4], "big") :]
            if block[:2] in (b"II", b"MM"):
                notes.setdefault("exif", bytes(block))
        elif kind == b"xml ":
            notes.setdefault("xmp", bytes(contents))
    return notes
