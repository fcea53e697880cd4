"""PNG: pixels through libpng, the chunks that hold notes by hand, because libpng's wrapper embeds none.

A file is a signature and chunks: length, kind, contents, checksum. Source: PNG specification, third edition.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored, refuse_frames

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 3  # of 9: a third of the time of zlib's usual 6, for files 1 % larger
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks libpng gets; others would make it print warnings
KEPT = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")  # as they are
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
METRE = 0.0254  # of an inch


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """Any kind of PNG; APNG only if it has one frame."""
    head = file.read(24)
    if len(head) == 24:
        check_size(*struct.unpack_from(">II", head, 16), max_pixels)
    pixels, extra, notes, orientation = [SIGNATURE], [], {}, 1
    for kind, contents, chunk in _chunks(memoryview(head + file.read())):
        if kind in PIXELS:
            pixels.append(chunk)
        elif kind == b"acTL" and len(contents) == 8:
            refuse_frames(struct.unpack(">II", contents)[0])
        elif kind == b"eXIf":
            notes["exif"], orientation = exif.turn_upright(bytes(contents))
        elif kind == b"iCCP":
            notes["icc"] = _inflate(bytes(contents).partition(b"\0")[2][1:])
        elif kind == b"pHYs" and len(contents) == 9 and contents[8] == 1:
            notes["dpi"] = tuple(dots * METRE for dots in struct.unpack(">II", contents[:8]))
        elif kind == b"iTXt" and bytes(contents).startswith(XMP_KEYWORD):
            notes["xmp"] = _international_text(bytes(contents))
        elif kind in KEPT:
            extra.append((kind, bytes(contents)))
    array = imagecodecs.png_decode(b"".join(pixels))
    mode = "grey" if array.ndim == 2 or array.shape[2] < 3 else "rgb"
    return from_stored(array, mode, "PNG", orientation, extra=tuple(extra), **notes)


def encode(array: np.ndarray, like: Picture, icc: bytes | None, extra: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """H W C of uint8 or uint16, with the notes of `like`."""
    chunks = list(extra)
    if icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if like.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(dots / METRE) for dots in like.dpi), 1)))
    if like.exif:
        chunks.append((b"eXIf", like.exif))
    if like.xmp:
        chunks.append((b"iTXt", XMP_KEYWORD + bytes(4) + like.xmp))  # not compressed, no language, no translation
    # Sides of length 1 may have any stride in NumPy, which imagecodecs refuses; reshaping sets the usual ones.
    data = imagecodecs.png_encode(array.ravel().reshape(array.shape), level=LEVEL)
    first = len(SIGNATURE) + 25  # behind IHDR, before the pixels
    return b"".join((data[:first], *(_chunk(*chunk) for chunk in chunks), data[first:]))


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Kind, contents and the whole of each chunk, to the end mark."""
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, start) if start + 8 <= len(data) else (0, b"")
        chunk = data[start : start + length + 12]
        if not kind or len(chunk) < length + 12:
            raise Refusal("not a whole picture (it ends too early); export or download it again")
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise Refusal(f"not a whole picture (wrong checksum of chunk {kind!r}); export or download it again")
        yield kind, chunk[8:-4], chunk
        start += len(chunk)


def _chunk(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents), kind) + contents + struct.pack(">I", zlib.crc32(kind + contents))


def _international_text(contents: bytes) -> bytes | None:
    _, _, rest = contents.partition(b"\0")  # keyword
    text = rest[2:].split(b"\0", 2)[-1]  # behind language and translated keyword
    return _inflate(text) if rest[:1] == b"\1" else text


def _inflate(data: bytes) -> bytes | None:
    """Unpacked, or None if that fails or the result would be absurdly large."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, exif.MAX_TAG_BYTES)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
