"""Between a source and the augmentation: pictures kept in memory, and what happens when one cannot be read."""

import sys
from typing import Literal, NamedTuple

import numpy as np

from mprnet_jax.data.sources.source import Example, Source, length
from mprnet_jax.support.errors import UserError, one_line

OnDamage = Literal["stop", "skip"]
REPLACEMENTS = 16  # neighbours that are tried in place of a damaged picture
NOT_SKIPPED = -1


class Drawn(NamedTuple):
    """What is drawn for a crop: a picture, and the index of the damaged one that it stands for, or NOT_SKIPPED."""

    example: Example
    skipped: np.int64


class Reader:
    """Random access to the pictures of an epoch's crops, for Grain.

    Decoded pictures are cached until `cache_bytes` are full, first come, and never evicted: all are read equally often,
    so eviction would only thrash.
    """

    def __init__(self, source: Source, cache_bytes: int, on_damage: OnDamage) -> None:
        self.source = source
        self.cache_bytes = cache_bytes
        self.on_damage = on_damage
        self._count = len(source.names)
        self._length = length(source)
        self._kept: dict[int, Example] = {}
        self._bytes = 0
        self._damaged: dict[int, str] = {}  # why; so that a damaged file is not decoded again and again

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Drawn:
        picture = int(index) % self._count
        for candidate in range(picture, picture + REPLACEMENTS):
            try:
                example = self._read(candidate % self._count)
            except UserError as error:
                if self.on_damage == "stop":
                    raise
                damage = error
                continue
            return Drawn(example, np.int64(NOT_SKIPPED if candidate == picture else picture))
        raise UserError(f"{REPLACEMENTS} pictures one after another cannot be used, the last: {damage}")

    def _read(self, picture: int) -> Example:
        if picture in self._kept:
            return self._kept[picture]
        if picture in self._damaged:
            raise UserError(self._damaged[picture])
        try:
            example = self.source.read(picture)
        except UserError as error:
            self._damaged[picture] = str(error)
            if self.on_damage == "skip":
                print(one_line(f"skipped: {error}"), file=sys.stderr)
            raise
        size = sum(image.nbytes for image in example.values())
        if self._bytes + size <= self.cache_bytes:  # two threads may overstep by a picture: not worth a lock
            self._kept[picture] = example
            self._bytes += size
        return example

    def __repr__(self) -> str:
        return f"Reader({self.source!r})"
