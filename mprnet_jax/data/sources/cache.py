"""Between a source and the augmentation: pictures kept in memory, and what happens when one cannot be read."""

import sys
from typing import Literal

import numpy as np

from mprnet_jax.data.sources.source import Example, Source, length
from mprnet_jax.support.errors import UserError

OnDamage = Literal["stop", "skip"]
REPLACEMENTS = 16  # neighbours that are tried in place of a damaged picture
NOTHING_PASSED_OVER = -1


class Reader:
    """Random access to the crops of an epoch, for Grain: the example, and under "passed_over" what was damaged.

    Decoded pictures stay in memory until `cache_bytes` are full, and those stay to the end: an epoch meets every
    picture as often as any other, so making room for a new one would only throw away what is needed as soon.
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

    def __getitem__(self, index: int) -> Example:
        picture = int(index) % self._count
        for candidate in range(picture, picture + REPLACEMENTS):
            try:
                example = self._read(candidate % self._count)
            except UserError as error:
                if self.on_damage == "stop":
                    raise
                damage = error
                continue
            replaced = NOTHING_PASSED_OVER if candidate == picture else picture
            return {**example, "passed_over": np.int64(replaced)}
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
                print(f"passed over: {error}", file=sys.stderr)
            raise
        size = sum(image.nbytes for image in example.values())
        if self._bytes + size <= self.cache_bytes:  # two threads may overstep by a picture: not worth a lock
            self._kept[picture] = example
            self._bytes += size
        return example

    def __repr__(self) -> str:
        return f"Reader({self.source!r})"
