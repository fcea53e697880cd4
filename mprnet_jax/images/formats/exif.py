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

IMAGE_WIDTH, IMAGE_HEIGHT, ORIENTATION = 256, 257, 274
PIXELS_ACROSS, PIXELS_DOWN = 40962, 40963
THUMBNAIL, THUMBNAIL_BYTES = 513, 514  # of the second directory
SUBJECT_PLACES = (37396, 41492)  # area, location: pixels of the picture as it was stored
UNKNOWN_TAG = 65000  # of the private ones
EXIF, GPS, INTEROP = 34665, 34853, 40965
MAKE, MODEL, ISO = 271, 272, 34855
NESTED = {EXIF: {INTEROP: {}}, GPS: {}}  # which tags point to directories, and inside which
# What a TIFF's own directory says about the picture, not about how its pixels are stored: title, description, maker,
# camera, page, software, date, artist, computer, rating (2), copyright, Windows' title, comment, author, keywords,
# subject; then EXIF and GPS.
ABOUT = frozenset((269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096), EXIF, GPS))
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MAX_TAG_BYTES = 1 << 26  # a longer value is damage, not a note
MAX_ENTRIES = 4096  # of a directory; cameras write about 100
EMPTY = b"II*\0\x08\0\0\0"  # a block with no tags


def byte_order(block: bytes) -> str:
    """The struct module's character for the byte order of an EXIF block or a TIFF file."""
    return ">" if block.startswith(b"MM") else "<"


def orientation_of(block: bytes) -> int:
    """How a block says that the stored picture is turned, 1 to 8; 1 (upright) if it says nothing or is damaged."""
    order = byte_order(block)
    try:
        entry = _entries(block, order, struct.unpack_from(order + "I", block, 4)[0]).get(ORIENTATION)
        orientation = _number(block, order, entry) if entry is not None else 1
    except struct.error:
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def settle(block: bytes, width: int, height: int) -> bytes:
    """The block of a picture that now is upright, has this size in pixels, and looks otherwise than before.

    The orientation becomes 1, sizes are mended where they are told, and the thumbnail is taken out; the place of the
    subject in the picture is forgotten if that was turned. All else stays at its byte, which maker notes depend on. A
    damaged block is kept as it is.
    """
    turned = orientation_of(block) != 1
    order, settled = byte_order(block), bytearray(block)
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        entries = _entries(block, order, start)
        _set_numbers(settled, order, entries, {IMAGE_WIDTH: width, IMAGE_HEIGHT: height, ORIENTATION: 1})
        if EXIF in entries:
            details = _entries(block, order, _number(block, order, entries[EXIF]))
            _set_numbers(settled, order, details, {PIXELS_ACROSS: width, PIXELS_DOWN: height})
            for tag in SUBJECT_PLACES if turned else ():
                if tag in details:  # a tag that no reader knows: taking it out would move others
                    struct.pack_into(order + "H", settled, details[tag], UNKNOWN_TAG)
        _cut_thumbnail(settled, order, start + 2 + 12 * struct.unpack_from(order + "H", block, start)[0])
    except struct.error:
        pass
    return bytes(settled)


def _set_numbers(block: bytearray, order: str, entries: dict[int, int], values: dict[int, int]) -> None:
    """Set those of the tags that are there, in their type if it holds the value."""
    for tag, value in values.items():
        if tag in entries:
            short = struct.unpack_from(order + "H", block, entries[tag] + 2)[0] == 3 and value < 1 << 16
            numbers = (3, 1, value, 0) if short else (4, 1, value)
            struct.pack_into(order + ("HIHH" if short else "HII"), block, entries[tag] + 2, *numbers)


def _cut_thumbnail(block: bytearray, order: str, link: int) -> None:
    """Unlink the second directory, whose position stands at byte `link`, and blank the picture that it points to."""
    (second,) = struct.unpack_from(order + "I", block, link)
    if not second:
        return
    struct.pack_into(order + "I", block, link, 0)
    entries = _entries(block, order, second)
    if THUMBNAIL in entries and THUMBNAIL_BYTES in entries:
        begin, size = (_number(block, order, entries[tag]) for tag in (THUMBNAIL, THUMBNAIL_BYTES))
        end = begin + size
        if block[begin : begin + 2] == b"\xff\xd8" and end <= len(block):  # only a JPEG: offsets may be damaged
            block[begin:end] = bytes(size)
            if end == len(block):
                del block[begin:]


def _entries(block: bytes, order: str, start: int) -> dict[int, int]:
    """Tag -> where its entry of 12 bytes begins, of the directory at `start`."""
    (count,) = struct.unpack_from(order + "H", block, start)
    places = range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12)
    return {struct.unpack_from(order + "H", block, place)[0]: place for place in places}


def _number(block: bytes, order: str, entry: int) -> int:
    """The value of an entry that is one whole number, 0 if it is not."""
    (kind,) = struct.unpack_from(order + "H", block, entry + 2)
    form = {3: "H", 4: "I", 13: "I"}.get(kind)
    return struct.unpack_from(order + form, block, entry + 8)[0] if form else 0


def settle_xmp(xmp: bytes, width: int, height: int) -> bytes:
    """XMP's copies of orientation and size set to upright and this size, and its thumbnails taken out."""
    xmp = re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>\s*))[2-8]", rb"\g<1>1", xmp)
    for names, value in (
        (b"tiff:ImageWidth|exif:PixelXDimension", width),
        (b"tiff:ImageLength|exif:PixelYDimension", height),
    ):
        xmp = re.sub(rb"((?:%s)\s*(?:=\s*[\"']|>\s*))\d+" % names, rb"\g<1>%d" % value, xmp)
    while 0 <= (start := xmp.find(b"<xmp:Thumbnails")) < (end := xmp.find(b"</xmp:Thumbnails>", start)):
        xmp = xmp[:start] + xmp[end + len(b"</xmp:Thumbnails>") :]
    return xmp


def read_directory(
    file: BinaryIO, start: int, order: str, *, big: bool = False, nested: dict = NESTED, only: frozenset | None = None
) -> Directory:
    """The tags (`only` those, if given) of the directory at `start`; `big` for BigTIFF. Damaged tags are left out."""
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    number = struct.Struct(order + ("Q" if big else "I"))
    count = struct.Struct(order + ("Q" if big else "H"))
    file.seek(start)
    (entries,) = count.unpack(file.read(count.size))
    entries = min(entries, MAX_ENTRIES)
    found: Directory = {}
    budget = MAX_TAG_BYTES  # of all values together: thousands of tags may point to the same bytes
    for tag, kind, length, value in entry.iter_unpack(file.read(entries * entry.size)):
        size = TYPE_SIZES.get(kind, 0) * length
        if (only is not None and tag not in only) or not 0 < size <= budget or tag in found:
            continue
        budget -= size
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


def shot_with(block: bytes) -> str:
    """Camera and sensitivity, in words: "Nikon Z 6, ISO 6400"; empty if the block names neither."""
    tags = read_block(block)
    details = tags.get(EXIF) if isinstance(tags.get(EXIF), dict) else {}
    make, model = (_text(tags.get(tag)) for tag in (MAKE, MODEL))
    iso = details.get(ISO)
    known = isinstance(iso, tuple) and iso[0] in (3, 4)
    number = (
        int.from_bytes(iso[2][: TYPE_SIZES[iso[0]]], "big" if byte_order(block) == ">" else "little") if known else 0
    )
    return name_of_shot(make, model, number)


def name_of_shot(make: str, model: str, iso: int) -> str:
    """The maker is named unless the model begins with it, as it often does."""
    repeated = make.split() and model.lower().startswith(make.split()[0].lower())
    camera = model if repeated else f"{make} {model}".strip()
    return ", ".join(part for part in (camera, f"ISO {iso}" if iso else "") if part)


def _text(entry: "tuple[int, int, bytes] | Directory | None") -> str:
    return entry[2].partition(b"\0")[0].decode("utf-8", "replace").strip() if isinstance(entry, tuple) else ""


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
