"""PPM and PGM of more than 8 bits, which Pillow rounds to 8, in, and all of them out. Source: Netpbm's format pages."""

import re
from typing import BinaryIO

import numpy as np

from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored, read_all

# Kind (2, 3: text; 5, 6: bytes), width, height, maximum.
PNM_HEADER = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d{1,9})" + rb"\s")
GREY, TEXT = (2, 5), (2, 3)
MAX_PEAK = 65535


def decode_deep_pnm(file: BinaryIO, header: re.Match, max_pixels: int) -> Picture:
    """PPM or PGM of more than 8 bits, spread over 16; `header` is a match of PNM_HEADER."""
    kind, width, height, peak = (int(group) for group in header.groups())
    check_size(width, height, max_pixels)
    if peak > MAX_PEAK:
        raise Refusal(f"values up to {peak} are no PPM, which ends at {MAX_PEAK}; export it again")
    file.seek(header.end())
    shape = (height, width, 1 if kind in GREY else 3)
    count = int(np.prod(shape))
    if kind in TEXT:
        values = np.array(read_all(file, max_pixels).split(None, count)[:count], np.int64)
    else:
        values = np.frombuffer(file.read(2 * count), ">u2")
    array = values.reshape(shape)
    if array.min() < 0 or array.max() > peak:
        raise Refusal(f"not a whole picture (values beyond its maximum of {peak}); export it again")
    if peak != MAX_PEAK:
        array = np.rint(array * (MAX_PEAK / peak))
    return from_stored(array.astype(np.uint16), "grey" if kind in GREY else "rgb", "PPM")


def encode_pnm(array: np.ndarray) -> bytes:
    """H W 1 or H W 3 of uint8 or uint16 as PGM or PPM."""
    height, width, channels = array.shape
    header = f"P{5 if channels == 1 else 6}\n{width} {height}\n{np.iinfo(array.dtype).max}\n"
    return header.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes()
