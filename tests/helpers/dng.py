"""Camera raw files for tests: linear DNGs with a Bayer mosaic, written with tifffile. Source: DNG 1.4."""

import io
import struct

import numpy as np
import tifffile

# XYZ of D65 -> the colours of a camera that does not exist.
MATRIX = np.array([[0.9, -0.3, -0.05], [-0.4, 1.2, 0.2], [-0.05, 0.15, 0.6]])
BLACK, WHITE = 512, 15000
CFA, EXIF = 32803, 34665
STAND_IN, LATER = 34664, 0xEDCBA987  # tifffile writes no EXIF tag, and the place is known later


def mosaic(colours):
    """H W 3 of camera colours in 0..1 -> what a sensor with RGGB filters stores, H W of uint16."""
    values = np.rint(BLACK + np.asarray(colours) * (WHITE - BLACK)).astype(np.uint16)
    raw = values[..., 1].copy()
    raw[::2, ::2], raw[1::2, 1::2] = values[::2, ::2, 0], values[1::2, 1::2, 2]
    return raw


def dng(raw, neutral=(0.5, 1, 0.7), orientation=1, order="<", iso=800, compression=None):
    """The bytes of a DNG with camera, white balance and EXIF; `neutral` are the camera's colours of white."""
    rational = lambda values: [int(part) for value in values for part in (round(value * 10_000), 10_000)]
    tags = [
        (271, "s", 0, "Mirror Works", True),
        (272, "s", 0, "Mirror One", True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),  # RGGB
        (STAND_IN, "I", 1, LATER, True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50707, "B", 4, bytes([1, 1, 0, 0]), True),
        (50708, "s", 0, "Mirror One", True),
        (50714, "H", 1, BLACK, True),
        (50717, "H", 1, WHITE, True),
        (50721, 10, 9, rational(MATRIX.ravel()), True),
        (50728, 5, 3, rational(neutral), True),
        (50778, "H", 1, 21, True),  # D65
    ]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        raw,
        photometric=CFA,
        byteorder=order,
        extratags=tags,
        metadata=None,
        software=False,
        compression=compression,
    )
    start = file.seek(0, 2) + file.tell() % 2
    file.write(bytes(start - file.tell()) + _exif(order, iso, start))
    entry = lambda tag, place: struct.pack(order + "HHII", tag, 4, 1, place)
    return file.getvalue().replace(entry(STAND_IN, LATER), entry(EXIF, start), 1)


def _exif(order, iso, start):
    """A directory with exposure time 1/125, the ISO, a date, and a maker note."""
    name = {"<": "little", ">": "big"}[order]
    number = lambda value, size: value.to_bytes(size, name)
    long = {
        33434: (5, 1, number(1, 4) + number(125, 4)),
        36867: (2, 20, b"2026:05:01 12:00:00\0"),
        37500: (7, 6, b"secret"),
    }
    tags = {**long, 34855: (3, 1, number(iso, 2) + bytes(2))}
    position, entries, behind = start + 2 + 12 * len(tags) + 4, b"", b""
    for tag, (kind, count, value) in sorted(tags.items()):
        if len(value) > 4:
            place, behind = number(position + len(behind), 4), behind + value
        else:
            place = value
        entries += number(tag, 2) + number(kind, 2) + number(count, 4) + place
    return number(len(tags), 2) + entries + bytes(4) + behind
