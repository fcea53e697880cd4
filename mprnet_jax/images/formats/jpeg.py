"""The structure of a JPEG file: where its first picture ends, what lies behind it, and whether it is whole.

Decoders accept a file that was cut off and got an end mark: they show grey for what is missing, and Pillow does not
pass their warning on. Source: ITU-T T.81, annex B.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mprnet_jax.images.formats.picture import Refusal, check_size

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
START_OF_SCAN, RESTART_INTERVAL = 0xDA, 0xDD
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # SOF: the size is in them
DECODED = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
JPEG_LS = 0xF7  # the frame of another standard, ITU-T T.87
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
MAX_SCANS = 100  # encoders write about 10
MAX_SCANNED_PIXELS = 4_000_000_000  # over all scans: each scan of a progressive picture goes through all of it
MAX_SEGMENTS = 5_000  # 256 of a colour profile, and as many of long XMP, are the most that are usual
BLOCK = 8  # pixels a side of what is coded together
MID_GREY = 128  # what decoders show where data are missing: all coefficients 0
PAST_SCAN_DATA = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # a marker that is neither a stuffed 0 nor a restart
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Bits of no meaning, none of which looks like a marker.
FILLING = np.random.default_rng(0).integers(0, 255, 1 << 14, np.uint8).tobytes()


class Layout(NamedTuple):
    """What the markers of a file say."""

    width: int  # pixels
    height: int
    progressive: bool
    complete: bool  # every component has a scan, and in a progressive picture what was begun is finished
    scans: int
    restarts_missing: bool
    entropy_end: int  # byte behind the data of the last scan
    end: int  # byte behind the end mark, or the length of the file if there is none
    has_end_mark: bool


def layout(data: bytes, max_pixels: int) -> Layout:
    """Walk through the markers. Raises Refusal for too many pixels, scans or segments, and for no scan at all."""
    width = height = interval = blocks_wide = 0
    progressive, components, scans, segments, missing = False, {}, 0, 0, False
    position, entropy_end = 2, 0
    while True:
        position = data.find(b"\xff", position)
        while 0 <= position < len(data) - 1 and data[position + 1] == 0xFF:  # fill bytes
            position += 1
        if position < 0 or position + 4 > len(data) or data[position + 1] == END[1]:
            break
        marker = data[position + 1]
        if marker == 0 or marker == 1 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        contents = data[position + 4 : position + 2 + length]
        segments += 1
        if marker == JPEG_LS and not components:
            raise Refusal("a JPEG-LS picture cannot be read; convert it to PNG or TIFF")
        if marker in FRAMES and len(contents) >= 6 and not components:
            precision, height, width, count = struct.unpack_from(">BHHB", contents)
            if precision != 8 or marker not in DECODED:
                kind = f"of {precision} bits a channel" if precision != 8 else "that is lossless or hierarchical"
                raise Refusal(f"a JPEG {kind} cannot be read; convert it to PNG or TIFF of 16 bits")
            check_size(width, height, max_pixels)
            _check_density(width, height, len(data))
            progressive = marker in PROGRESSIVE
            components = {contents[i]: contents[i + 1] for i in range(6, min(len(contents) - 1, 6 + 3 * count), 3)}
            sent = {name: np.full(64, -1) for name in components}
            wide = max((sampling >> 4 for sampling in components.values()), default=1) or 1
            tall = max((sampling & 15 for sampling in components.values()), default=1) or 1
            blocks_wide = math.ceil(width / (BLOCK * wide)) * math.ceil(height / (BLOCK * tall))
        elif marker == RESTART_INTERVAL and len(contents) >= 2:
            (interval,) = struct.unpack_from(">H", contents)
        position += 2 + length
        if segments > MAX_SEGMENTS:
            raise Refusal(f"more than {MAX_SEGMENTS} segments, which no camera or program writes; export it again")
        if marker != START_OF_SCAN:
            continue
        scans += 1
        if scans > MAX_SCANS or scans * width * height > MAX_SCANNED_PIXELS:
            raise Refusal(f"a JPEG of {scans} scans or more, too many to be safe; export it again")
        found = PAST_SCAN_DATA.search(data, position)
        entropy_end = found.start() if found else len(data)
        if components and contents:
            names = contents[1 : 1 + 2 * contents[0] : 2]
            first, last, bits = contents[-3:] if len(contents) >= 4 + 2 * contents[0] else (0, 63, 0)
            for name in names:
                if name in sent:
                    sent[name][first : last + 1] = bits & 15
            if interval and len(names) == len(components):
                restarts = sum(1 for _ in RESTART.finditer(data, position, entropy_end))
                missing |= restarts < math.ceil(blocks_wide / interval) - 1
        position = entropy_end
    if not scans or not components:
        raise Refusal("not a whole picture (a JPEG without pixels); export or download it again")
    # AC coefficients may be left out altogether, but what was begun must be finished.
    whole = [(kept[0] == 0 and (kept <= 0).all()) if progressive else kept[0] >= 0 for kept in sent.values()]
    has_end_mark = position >= 0 and data[position : position + 2] == END
    end = position + 2 if has_end_mark else len(data)
    return Layout(width, height, progressive, all(whole), scans, missing, entropy_end, end, has_end_mark)


def _check_density(width: int, height: int, size: int) -> None:
    """Each block of a component takes a bit at the least."""
    if math.ceil(width / (2 * BLOCK)) * math.ceil(height / (2 * BLOCK)) > 8 * size:
        raise Refusal(f"not a whole picture ({size} bytes for {width}x{height} pixels); export or download it again")


def segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, contents and the whole of each segment before the first scan of a file that layout() took."""
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 3:
        marker = data[position + 1]
        if marker in (0, 1, 0xFF) or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (START_OF_SCAN, END[1]):
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + length], data[position : position + 2 + length]
        position += 2 + length


def check_whole(data: bytes, about: Layout, pixels: np.ndarray, decode: Callable[[bytes], np.ndarray]) -> None:
    """Raise Refusal if pixels are missing: `pixels` H W or H W C as `decode` gives them for `data`.

    A decoder of whole data does not look at what follows them, so that more bits change nothing. If they do change the
    picture, they stand where others are missing. Only files that could be cut off are decoded a second time: those that
    end in the grey of missing data, or without an end mark, or in which scans follow each other.
    """
    if not about.complete or about.restarts_missing:
        raise Refusal("not a whole picture (parts of it are missing); export or download it again")
    several = about.progressive or about.scans > 1
    corner = pixels[-1, -1]
    grey = bool(np.all(np.abs(corner.astype(int) - MID_GREY) <= 1)) or (pixels.ndim == 3 and pixels.shape[2] == 4)
    if about.has_end_mark and not several and not grey:
        return
    longer = data[: about.entropy_end] + FILLING + END
    if not np.array_equal(decode(longer), pixels):
        raise Refusal("not a whole picture (it ends too early); export or download it again")
