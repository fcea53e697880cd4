"""Whole files made into damaged ones."""

import struct
from collections.abc import Iterator

import numpy as np


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, overwritten, stretched, zeroed, with another number in the header, or with a piece left out."""
    changed, kind = bytearray(data), rng.integers(6)
    start = int(rng.integers(len(changed)))
    if kind == 0:
        return bytes(changed[:start])
    if kind == 1:
        for position in rng.integers(0, len(changed), 5):
            changed[position] ^= int(rng.integers(1, 256))
    elif kind == 2:
        changed[start:start] = rng.bytes(int(rng.integers(1, 50)))
    elif kind == 3:
        changed[start : start + 40] = bytes(len(changed[start : start + 40]))
    elif kind == 4:  # in the header, where sizes and offsets are
        position = int(rng.integers(min(len(changed), 200)))
        number = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, len(changed)])
        changed[position : position + 4] = struct.pack("<I", number)
    else:
        del changed[start : start + int(rng.integers(1, 50))]
    return bytes(changed)


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit is another; of no bytes, one byte too many."""
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A file with bits flipped, bytes overwritten, parts left out, or cut off: mostly in its head."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        changed = bytearray(data)
        where = int(rng.integers(0, min(len(data), 4096 if k % 4 else len(data))))
        match k % 3:
            case 0:
                changed[where] ^= 1 << int(rng.integers(8))
            case 1:
                changed[where : where + 8] = rng.bytes(8)
            case 2:
                del changed[where : where + int(rng.integers(1, 1000))]
        yield bytes(changed[:where]) if k % 7 == 0 else bytes(changed)
