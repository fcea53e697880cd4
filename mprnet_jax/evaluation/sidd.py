"""SIDD's validation blocks, noisy and clean, and blocks that were restored elsewhere.

ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat hold one variable each, 40 x 32 x 256 x 256 x 3 uint8.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mprnet_jax.evaluation.matlab import read_variable, shape_text
from mprnet_jax.support.errors import UserError

FILES = ("ValidationNoisyBlocksSrgb.mat", "ValidationGtBlocksSrgb.mat")
VARIABLES = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
SHAPE = (40, 32, 256, 256, 3)


def _blocks(path: Path, variable: str, dtypes: tuple[type, ...]) -> np.ndarray:
    """A variable whose shape is SHAPE, or that has fewer blocks."""
    needs = f"{path}: needs blocks of {shape_text(SHAPE)} {' or '.join(np.dtype(kind).name for kind in dtypes)}"
    remedy = "use the sRGB blocks of SIDD's validation set"

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) != 5 or shape[2:] != SHAPE[2:] or not 0 < shape[0] * shape[1] <= SHAPE[0] * SHAPE[1]:
            raise UserError(f"{needs}, got {shape_text(shape)}; {remedy}")

    blocks = read_variable(path, variable, check)
    if blocks.dtype not in dtypes:
        raise UserError(f"{needs}, got {shape_text(blocks.shape)} {blocks.dtype}; {remedy}")
    return blocks


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A 5-D array of blocks, by names like 0040_32: row and column, counted from 1."""

    array: np.ndarray

    @property
    def keys(self) -> list[str]:
        """The names of all blocks, row by row."""
        rows, columns = self.array.shape[:2]
        return [f"{row + 1:04d}_{column + 1:02d}" for row in range(rows) for column in range(columns)]

    def block(self, key: str) -> np.ndarray:
        """256 256 3, by its name; raises UserError if the array has no such block, or it holds NaN."""
        row, column = (int(part) - 1 for part in key.split("_"))
        if row >= self.array.shape[0] or column >= self.array.shape[1]:
            raise UserError(
                f"restored blocks: no block {key} among {shape_text(self.array.shape)}; restore all of them"
            )
        block = self.array[row, column]
        if not np.isfinite(block).all():
            raise UserError(f"restored blocks: block {key} has pixels that are not finite numbers; restore it again")
        return block


@dataclasses.dataclass(frozen=True)
class ValidationBlocks:
    """Both halves of the set, by the names of the blocks."""

    keys: list[str]
    noisy: Callable[[str], np.ndarray]  # key -> 256 256 3 uint8
    truth: Callable[[str], np.ndarray]
    files: list[Path]


def open_blocks(folder: Path) -> ValidationBlocks:
    """Both files of the set; raises UserError if one cannot be read, or for another shape or type than SHAPE uint8."""
    files = [folder / name for name in FILES]
    noisy, truth = (_blocks(path, variable, (np.uint8,)) for path, variable in zip(files, VARIABLES, strict=True))
    if noisy.shape != truth.shape:
        raise UserError(
            f"{files[0]}: {shape_text(noisy.shape)}, but {files[1].name} has {shape_text(truth.shape)}; "
            "download both again"
        )
    return ValidationBlocks(Blocks(noisy).keys, Blocks(noisy).block, Blocks(truth).block, files)


def open_restored(path: Path) -> Blocks:
    """`Idenoised` as the official test writes it: floats in [0, 1], of the shape of the noisy blocks."""
    return Blocks(_blocks(path, "Idenoised", (np.float32, np.float64)))
