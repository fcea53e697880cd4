"""One hostile input: how it is made, and what must come of it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """One input of an attack."""

    group: str  # its line of the summary
    name: str
    make: Callable[[Path], Path]  # writes it into an empty folder; gives what is to be read
    detected: bool = False  # damage that must be told; other damage may also be read, as a picture of other colours


def file_case(group: str, name: str, file: str, data: Callable[[], bytes]) -> Case:
    """A case of one file."""

    def make(folder: Path) -> Path:
        (folder / file).write_bytes(data())
        return folder / file

    return Case(group, name, make)


def some(built: Sequence[Case], count: int, seed: int) -> list[Case]:
    """The cases that are built by hand, as many of them as half of `count`."""
    order = np.random.default_rng(seed).permutation(len(built))
    return [built[index] for index in order[: count // 2]]
