"""Validation within a training run: PSNR and SSIM of restored crops of held-out pictures, and strips to look at.

There may be several named sets. A network is as good as its mean gain over the untouched inputs, over all sets.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from mprnet_jax import images, metrics
from mprnet_jax.data import pipeline
from mprnet_jax.data.pipeline import Example
from mprnet_jax.data.sources import layouts, open_folder
from mprnet_jax.data.sources.source import Source
from mprnet_jax.model import MPRNet, Params
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path

CROP = 256  # pixels, side of the centre crop of each held-out picture
STRIPS = 4  # pictures of a set of which a strip is made
MOST_PSNR = 60.0  # dB; identical pictures have infinitely many, and more than this nobody sees
HELD_OUT = "held out"  # name of the set that is kept out of the training data

Predict = Callable[[Params, np.ndarray], list[jax.Array]]


class ValidationSet(NamedTuple):
    """Pairs to validate on: "input" and "target", each H W 3 uint8 with sides that are multiples of 8."""

    name: str
    pairs: list[Example]
    source: Source


class Score(NamedTuple):
    """Means over the pictures of a set, PSNR in dB of at most 60 each."""

    input_psnr: float  # of the untouched inputs
    stage1_psnr: float
    stage2_psnr: float
    psnr: float  # of the last stage, which is the restored picture
    ssim: float  # of the restored picture, mean over the channels

    @property
    def gain(self) -> float:
        """dB over the untouched inputs."""
        return self.psnr - self.input_psnr


def make_predict(model: MPRNet) -> Predict:
    """A jitted (params, N H W 3) -> the restored images of stages 3, 2 and 1."""
    return jax.jit(lambda params, image: model.apply({"params": params}, image))


def named_folders(entries: Sequence[Path]) -> dict[str, Path]:
    """FOLDER or NAME=FOLDER -> name and folder. Raises UserError if two have one name.

    >>> named_folders([Path("noise=a/b"), Path("rain/val")])
    {'noise': PosixPath('a/b'), 'rain/val': PosixPath('rain/val')}
    """
    found: dict[str, Path] = {}
    for entry in map(str, entries):
        name, separator, folder = entry.partition("=")
        if not separator or Path(entry).exists():
            name, folder = entry, entry
        if not name or not folder:
            raise UserError(f"validation_data: {entry!r} should be FOLDER or NAME=FOLDER")
        if name in found:
            raise UserError(f"validation_data: two sets are called {name}; write NAME=FOLDER, each with its own name")
        found[name] = as_path(folder)
    return found


def open_validation(folder: Path) -> Source:
    """All pictures of a folder to validate on; of one with splits, those of its validation or else its test split.

    Raises UserError that says what is wrong with the folder.
    """
    return open_folder.open_source(folder, (*layouts.VALIDATION, *layouts.TEST))


def make_set(name: str, source: Source, degradation: object) -> ValidationSet:
    """Centre crops of all pictures of a source, degraded where they are clean.

    Raises UserError for pictures without a crop: a side under 8 pixels.
    """
    pairs = pipeline.validation_pairs(source, degradation, CROP)
    tiny = [picture for picture, pair in zip(source.names, pairs, strict=True) if not pair["target"].size]
    if tiny:
        raise UserError(
            f"validation pictures ({name}): {len(tiny)} of {len(pairs)} have a side under 8 pixels, first {tiny[0]}; "
            "remove them, or validate on others"
        )
    return ValidationSet(name, pairs, source)


def _psnr(image: np.ndarray, target: np.ndarray) -> float:
    return min(MOST_PSNR, metrics.psnr(image, target))


def _ssim(image: np.ndarray, target: np.ndarray) -> float:
    # Pictures smaller than SSIM's window of 11 pixels have none.
    return metrics.ssim_per_channel(image, target) if min(image.shape[:2]) > 10 else float("nan")


def _mean(rows: Sequence[Sequence[float]], columns: int) -> np.ndarray:
    """Mean of each column that is not NaN, over all processes; process i holds rows i, i + n, ..."""
    table = np.array(rows, np.float64).reshape(-1, columns)
    total = np.stack([np.nansum(table, axis=0), np.sum(~np.isnan(table), axis=0)])
    if jax.process_count() > 1:
        # Sent as uint32 words: process_allgather would cast float64 to float32.
        words = multihost_utils.process_allgather(np.ascontiguousarray(total).view(np.uint32))
        total = np.ascontiguousarray(words).view(np.float64).reshape(-1, 2, columns).sum(axis=0)
    return total[0] / np.maximum(total[1], 1)


def validate(predict: Predict, params: Params, pairs: Sequence[Example]) -> tuple[Score, list[np.ndarray]]:
    """Mean scores of the restored pairs, rounded to uint8 as a saved picture is; and strips of the first ones.

    A strip is input | stage 1 | stage 2 | stage 3 | target, H 5W 3 uint8. Every process restores its share of the
    pairs, on its first device, and gets the mean over all; `params` are replicated. All processes must call this.
    """
    here = jax.tree.map(lambda leaf: leaf.addressable_data(0), params)
    rows, strips = [], []
    for pair in pairs[jax.process_index() :: jax.process_count()]:
        stages = predict(here, images.to_float(pair["input"])[None])
        restored = [images.to_uint8(np.asarray(stage)[0]) for stage in reversed(stages)]
        scores = [_psnr(image, pair["target"]) for image in (pair["input"], *restored)]
        rows.append([*scores, _ssim(restored[-1], pair["target"])])
        if len(strips) < STRIPS:
            strips.append(np.concatenate([pair["input"], *restored, pair["target"]], axis=1))
    return Score(*map(float, _mean(rows, len(Score._fields)))), strips
