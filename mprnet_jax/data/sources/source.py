"""Where pictures to train on come from: random access to {"target"} or {"input", "target"}, H W 3 uint8.

Only where they lie and how they are decoded; what is kept in memory and what is skipped is decided elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mprnet_jax import images
from mprnet_jax.data.sources.pairs import Pair, sizes_differ
from mprnet_jax.support.errors import UserError

Example = dict[str, np.ndarray]  # "target" and, of pairs, "input": H W 3 uint8


class Source(Protocol):
    """What the pipeline needs. `crops`: random crops of each picture an epoch."""

    crops: int
    paired: bool  # whether read() gives an input too

    @property
    def names(self) -> Sequence[str]:
        """Of the pictures, without repetition: stems, which errors and the split by scene use."""

    def read(self, picture: int) -> Example:
        """Decode one picture. Raises UserError that names the file."""

    def subset(self, pictures: Sequence[int]) -> "Source":
        """Some of the pictures."""


def length(source: Source) -> int:
    """Crops an epoch."""
    return len(source.names) * source.crops


def read_names(path: str | Path) -> frozenset[str]:
    """File names from a text file: one a line, blank lines and lines that begin with # left out.

    Raises UserError if it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text in UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); it should list file names, one a line") from None
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


class CleanPhotos:
    """Clean pictures, of which a degradation makes the input."""

    paired = False

    def __init__(self, paths: Sequence[Path], crops: int = 1) -> None:
        self.paths = list(paths)
        self.crops = crops

    @property
    def names(self) -> list[str]:
        """Stems of the files."""
        return [path.stem for path in self.paths]

    def read(self, picture: int) -> Example:
        """{"target"}: H W 3 uint8. Raises UserError that names the file."""
        return {"target": images.read(self.paths[picture])}

    def subset(self, pictures: Sequence[int]) -> "CleanPhotos":
        """Some of the pictures, by their numbers."""
        return CleanPhotos([self.paths[i] for i in pictures], self.crops)

    def __repr__(self) -> str:
        return f"CleanPhotos({len(self.paths)} pictures, {self.crops} crops each)"


class Pairs:
    """Degraded and clean pictures, as they were matched in a folder."""

    paired = True

    def __init__(self, pairs: Sequence[Pair], crops: int = 1) -> None:
        self.pairs = list(pairs)
        self.crops = crops

    @property
    def names(self) -> list[str]:
        """Stems of the pairs."""
        return [pair.name for pair in self.pairs]

    def read(self, picture: int) -> Example:
        """{"input", "target"}: H W 3 uint8 of one size. Raises UserError that names the file."""
        pair = self.pairs[picture]
        return of_one_size({"input": images.read(pair.input), "target": images.read(pair.target)}, str(pair.input))

    def subset(self, pictures: Sequence[int]) -> "Pairs":
        """Some of the pairs, by their numbers."""
        return Pairs([self.pairs[i] for i in pictures], self.crops)

    def __repr__(self) -> str:
        return f"Pairs({len(self.pairs)} pairs, {self.crops} crops each)"


def of_one_size(pair: Example, name: str) -> Example:
    """The pair as it is. Raises UserError if its sizes differ."""
    sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (pair["input"], pair["target"])]
    if sizes[0] != sizes[1]:
        raise UserError(f"{name}: {sizes_differ(*sizes)}")
    return pair
