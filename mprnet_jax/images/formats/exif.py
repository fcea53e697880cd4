"""EXIF moved as bytes, so that nothing is lost on the way: maker notes, unknown tags and types stay as they were.

EXIF is a TIFF file without an image: a header of 8 bytes and directories (IFDs) of tags. JPEG, PNG and WebP carry it as
one block; a TIFF file has the same tags among its own. Sources: TIFF 6.0, EXIF 2.32.
"""

import io
import re
import struct
from typing import BinaryIO

# A directory: tag -> (type, count, value as stored), or -> the directory that the tag points to.
Directory = dict[int, "tuple[int, int, bytes] | Directory"]

ORIENTATION = 274
EXIF, GPS, INTEROP = 34665, 34853, 40965
NESTED = {EXIF: {INTEROP: {}}, GPS: {}}  # which tags point to directories, and inside which
# What a TIFF's own directory says about the picture, not about how its pixels are stored: title, description, maker,
# camera, page, software, date, artist, computer, rating (2), copyright, Windows' title, comment, author, keywords,
# subject; then EXIF and GPS.
ABOUT = frozenset((269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096), EXIF, GPS))
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MAX_TAG_BYTES = 1 << 26  # a longer value is damage, not a note
EMPTY = b"II*\0\x08\0\0\0"  # a block with no tags


def byte_order(block: bytes) -> str:
    """The struct module's character for the byte order of an EXIF block or a TIFF file."""
    return ">" if block.startswith(b"MM") else "<"


def turn_upright(block: bytes) -> tuple[bytes, int]:
    """Set the orientation to 1 (upright), the rest of the block untouched; also return what it was, 1 to 8."""
    order = byte_order(block)
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == ORIENTATION and kind in (3, 4):
                form = order + {3: "H", 4: "I"}[kind]
                (orientation,) = struct.unpack_from(form, block, entry + 8)
                if 1 <= orientation <= 8:
                    upright = bytearray(block)
                    struct.pack_into(form, upright, entry + 8, 1)
                    return bytes(upright), orientation
    except struct.error:  # damaged: kept as it is, and the picture as stored
        pass
    return block, 1


def turn_xmp_upright(xmp: bytes) -> bytes:
    """Set XMP's copy of the orientation, if it has one, to 1."""
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>\s*))[2-8]", rb"\g<1>1", xmp)


def read_directory(
    file: BinaryIO, start: int, order: str, *, big: bool = False, nested: dict = NESTED, only: frozenset | None = None
) -> Directory:
    """The tags (`only` those, if given) of the directory at `start`; `big` for BigTIFF. Damaged tags are left out."""
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    number = struct.Struct(order + ("Q" if big else "I"))
    count = struct.Struct(order + ("Q" if big else "H"))
    file.seek(start)
    (entries,) = count.unpack(file.read(count.size))
    found: Directory = {}
    for tag, kind, length, value in entry.iter_unpack(file.read(entries * entry.size)):
        size = TYPE_SIZES.get(kind, 0) * length
        if (only is not None and tag not in only) or not 0 < size <= MAX_TAG_BYTES:
            continue
        try:
            if tag in nested:
                (pointer,) = struct.unpack_from(order + ("Q" if size == 8 else "I"), value)
                found[tag] = read_directory(file, pointer, order, big=big, nested=nested[tag])
                continue
            if size > len(value):
                file.seek(number.unpack(value)[0])
                value = file.read(size)
        except struct.error:
            continue
        if len(value) >= size:
            found[tag] = (kind, length, value[:size])
    return found


def directory_bytes(directory: Directory, start: int, order: str) -> bytes:
    """The directory as it stands in a file from byte `start` (even) on, what it points to behind it."""
    entries, behind = b"", b""
    behind_start = start + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        position = behind_start + len(behind)
        if isinstance(value, dict):
            kind, length, stored = 4, 1, struct.pack(order + "I", position)
            behind += directory_bytes(value, position, order)
        else:
            kind, length, stored = value
            if len(stored) > 4:
                behind += stored + b"\0" * (len(stored) % 2)
                stored = struct.pack(order + "I", position)
        entries += struct.pack(order + "HHI4s", tag, kind, length, stored)
    return struct.pack(order + "H", len(directory)) + entries + bytes(4) + behind  # 4 zeros: no further directory


def read_block(block: bytes) -> Directory:
    """The directories of an EXIF block; empty if it is damaged."""
    order = byte_order(block)
    try:
        return read_directory(io.BytesIO(block), struct.unpack_from(order + "I", block, 4)[0], order)
    except struct.error:
        return {}


def block_bytes(directory: Directory, order: str) -> bytes:
    """An EXIF block of these tags, whose values are in that byte order."""
    header = b"II*\0" if order == "<" else b"MM\0*"
    return header + struct.pack(order + "I", 8) + directory_bytes(directory, 8, order)


def add_to_tiff(tiff: bytes, added: Directory) -> bytes:
    """A classic TIFF file of one page, with more tags: a longer copy of its directory goes to the end."""
    order = byte_order(tiff)
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    directory = read_directory(io.BytesIO(tiff), start, order) | added
    end = len(tiff) + len(tiff) % 2
    header = tiff[:4] + struct.pack(order + "I", end)
    return b"".join((header, tiff[8:], bytes(end - len(tiff)), directory_bytes(directory, end, order)))
