"""The EXIF of camera raw files, wherever their makers put it.

Sources: TIFF 6.0 (DNG, NEF, ARW and most others); Canon's CR3 as described by L. Delmas; exiftool's notes on RAF.
"""

import struct
from typing import BinaryIO

from mprnet_jax.images.formats import exif, jpeg
from mprnet_jax.images.formats.camera_raw.signatures import TIFF, TIFF_OF_MAKERS

MAKER_NOTE = 37500  # of the EXIF directory: its offsets hold in the raw file only
FUJI, FUJI_PREVIEW = b"FUJIFILM", 84  # where its JPEG begins, 4 bytes, and how long it is
CANON_HEAD = 1 << 20  # bytes in which the boxes with the directories are
CANON_BOXES = ((b"CMT1", None), (b"CMT2", exif.EXIF), (b"CMT4", exif.GPS))
EXIF_HEAD = b"Exif\0\0"


def read_exif(file: BinaryIO) -> bytes | None:
    """What a raw file says about camera, exposure, time and place, as an EXIF block; None if nothing is found."""
    file.seek(0)
    head = file.read(12)
    try:
        if head.startswith((*TIFF, *TIFF_OF_MAKERS)):
            order = exif.byte_order(head)
            tags = _about(file, struct.unpack_from(order + "I", head, 4)[0], order)
        elif head[4:8] == b"ftyp":
            order, tags = _of_boxes(file)
        elif head.startswith(FUJI):
            order, tags = _of_preview(file)
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    if isinstance(tags.get(exif.EXIF), dict):
        tags[exif.EXIF].pop(MAKER_NOTE, None)
    return exif.block_bytes(tags, order) if tags else None


def _about(file: BinaryIO, start: int, order: str) -> exif.Directory:
    return exif.read_directory(file, start, order, only=exif.ABOUT | {exif.ORIENTATION})


def _of_boxes(file: BinaryIO) -> tuple[str, exif.Directory]:
    """Canon's CR3: boxes that each hold one directory as a TIFF file of its own."""
    file.seek(0)
    head = file.read(CANON_HEAD)
    order, tags = "", {}
    for name, place in CANON_BOXES:
        start = head.find(name) + len(name)
        block = head[start : start + int.from_bytes(head[start - 8 : start - 4], "big") - 8]
        if start < 8 or not block.startswith(TIFF) or order not in ("", exif.byte_order(block)):
            continue
        order = exif.byte_order(block)
        if place is None:
            wanted = exif.ABOUT | {exif.ORIENTATION}
            tags |= {tag: value for tag, value in exif.read_block(block).items() if tag in wanted}
        else:
            tags[place] = exif.read_block(block)
    return order, tags


def _of_preview(file: BinaryIO) -> tuple[str, exif.Directory]:
    """Fujifilm's RAF: a JPEG with EXIF lies in the file."""
    file.seek(FUJI_PREVIEW)
    start, size = struct.unpack(">II", file.read(8))
    file.seek(start)
    preview = file.read(min(size, exif.MAX_TAG_BYTES))
    for _, contents, _ in jpeg.segments(preview):
        if contents.startswith(EXIF_HEAD):
            block = contents[len(EXIF_HEAD) :]
            wanted = exif.ABOUT | {exif.ORIENTATION}
            tags = {tag: value for tag, value in exif.read_block(block).items() if tag in wanted}
            return exif.byte_order(block), tags
    return "<", {}
