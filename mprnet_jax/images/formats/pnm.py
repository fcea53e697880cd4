"""PPM and PGM: of 16 bits, which Pillow rounds to 8, in, and all of them out."""

import re
from typing import BinaryIO

import numpy as np

from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored

PNM_HEADER = re.compile(rb"P([56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d{1,9})" + rb"\s")  # kind, width, height, maximum


def decode_deep_pnm(file: BinaryIO, header: re.Match, max_pixels: int) -> Picture:
    """PPM or PGM of 16 bits; `header` is a match of PNM_HEADER."""
    kind, width, height, peak = (int(group) for group in header.groups())
    check_size(width, height, max_pixels)
    if peak != 65535:
        raise Refusal(f"values up to {peak} cannot be read; save it with values up to 255 or 65535")
    file.seek(header.end())
    shape = (height, width, 1 if kind == 5 else 3)
    array = np.frombuffer(file.read(2 * int(np.prod(shape))), ">u2").reshape(shape).astype(np.uint16)
    return from_stored(array, "grey" if kind == 5 else "rgb", "PPM")


def encode_pnm(array: np.ndarray) -> bytes:
    """H W 1 or H W 3 of uint8 or uint16 as PGM or PPM."""
    height, width, channels = array.shape
    header = f"P{5 if channels == 1 else 6}\n{width} {height}\n{np.iinfo(array.dtype).max}\n"
    return header.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes()
