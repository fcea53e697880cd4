"""PNG: pixels through libpng, the chunks that hold notes by hand, because libpng's wrapper embeds none.

A file is a signature and chunks: length, kind, contents, checksum. Source: PNG specification, third edition.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np

from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored, read_all, refuse_frames

SIGNATURE = b"\x89PNG\r\n\x1a\n"
INTERLACED_AT = 28  # byte of the file, in the first chunk
LEVEL = 3  # of 9: a third of the time of zlib's usual 6, for files 1 % larger
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks libpng gets; others would make it print warnings
KEPT = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")  # as they are
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values a pixel
MAX_RATIO = 1032  # of deflate: bytes that a byte can stand for
MAX_NOTE = 1 << 24  # bytes of one that is packed
MAX_CHUNKS, USUAL_CHUNK = 10_000, 256  # so many, and one more for each so many bytes of the file
AGAIN = "export or download it again"
METRE = 0.0254  # of an inch


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """Any kind of PNG; APNG only if it has one frame."""
    pixels, extra, notes, packed = [SIGNATURE], [], {}, 0
    header = read_header(file, max_pixels)
    for kind, contents, chunk in _chunks(memoryview(SIGNATURE + read_all(file, max_pixels))):
        if kind in PIXELS:
            if kind == b"IDAT":
                packed += len(contents)
            pixels.append(chunk)
        elif kind == b"acTL" and len(contents) == 8:
            refuse_frames(struct.unpack(">II", contents)[0])
        elif kind == b"eXIf":
            notes.setdefault("exif", bytes(contents))
        elif kind == b"iCCP":
            if "icc" not in notes:
                notes["icc"] = _inflate(bytes(contents).partition(b"\0")[2][1:])
        elif kind == b"pHYs" and len(contents) == 9 and contents[8] == 1:
            notes["dpi"] = tuple(dots * METRE for dots in struct.unpack(">II", contents[:8]))
        elif kind == b"iTXt" and bytes(contents[: len(XMP_KEYWORD)]) == XMP_KEYWORD:
            if "xmp" not in notes:
                notes["xmp"] = _international_text(bytes(contents))
        elif kind in KEPT:
            extra.append((kind, bytes(contents)))
    if packed * MAX_RATIO < header.height * math.ceil(header.width * header.bits * SAMPLES[header.colour] / 8):
        raise Refusal(f"not a whole picture ({packed} bytes for {header.width}x{header.height} pixels); {AGAIN}")
    array = imagecodecs.png_decode(b"".join(pixels))
    mode = "grey" if array.ndim == 2 or array.shape[2] < 3 else "rgb"
    return from_stored(array, mode, "PNG", extra=tuple(extra), **notes)


class Ihdr(NamedTuple):
    """The first chunk's facts."""

    width: int  # pixels
    height: int
    bits: int  # of a channel
    colour: int  # type, a key of SAMPLES


def read_header(file: BinaryIO, max_pixels: int) -> Ihdr:
    """Read the signature and look at the first chunk, which stays to be read. Raises Refusal."""
    head = file.read(33)
    file.seek(len(SIGNATURE))
    if head[12:16] == b"CgBI":
        raise Refusal("a PNG of Apple's own kind (CgBI, from an iOS app), which is no PNG to others; export it again")
    if len(head) < 33 or head[12:16] != b"IHDR" or head[25] not in SAMPLES:
        raise Refusal(f"not a whole picture (no header); {AGAIN}")
    header = Ihdr(*struct.unpack_from(">IIBB", head, 16))
    check_size(header.width, header.height, max_pixels)
    return header


def orientation_and_frames(file: BinaryIO) -> tuple[int, int]:
    """The EXIF orientation of an open PNG, 1 to 8, and how many frames it has, by its chunks alone."""
    file.seek(len(SIGNATURE))
    orientation, frames = None, None
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        length, kind = struct.unpack(">I4s", head)
        end = file.tell() + length + 4
        if kind == b"eXIf" and orientation is None:
            orientation = exif.orientation_of(file.read(min(length, exif.MAX_TAG_BYTES)))
        elif kind == b"acTL" and length == 8 and frames is None:
            frames = int.from_bytes(file.read(4), "big")
        file.seek(end)
    return orientation or 1, 1 if frames is None else frames


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
    """Kind, contents and the whole of each chunk, to the end mark; notes whose checksum is wrong are left out."""
    start, kind, count = len(SIGNATURE), b"", 0
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, start) if start + 8 <= len(data) else (0, b"")
        chunk = data[start : start + length + 12]
        if not kind or len(chunk) < length + 12:
            raise Refusal(f"not a whole picture (it ends too early); {AGAIN}")
        count += 1
        if count > MAX_CHUNKS + len(data) // USUAL_CHUNK:
            raise Refusal(f"more than {count - 1} chunks in {len(data)} bytes, too many to be safe; export it again")
        start += len(chunk)
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            if kind in PIXELS:
                raise Refusal(f"not a whole picture (wrong checksum of chunk {kind!r}); {AGAIN}")
            continue
        yield kind, chunk[8:-4], chunk


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
        unpacked = unpacker.decompress(data, MAX_NOTE)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
