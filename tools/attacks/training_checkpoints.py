"""Checkpoints of a training run, damaged: the newest that is whole comes back, and each that is not is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attacks.cases import Case
from attacks.mutations import damage, flip
from mprnet_jax.training.checkpoints import TrainingCheckpoints

STEPS = (10, 20)


def state_at(step: int) -> dict[str, np.ndarray]:
    """What was saved at a step: known, so that another state is told from it."""
    numbers = np.random.default_rng(step)
    return {
        "params": numbers.standard_normal((5, 7)).astype(np.float32),
        "moments": numbers.standard_normal(300),
        "step": np.array(step),
    }


def cases(count: int, seed: int, made: Path) -> Iterator[Case]:
    """So many runs of two checkpoints: one file of the newest in turn has a flipped bit, or every third more damage."""
    saved = made / "checkpoints"
    with TrainingCheckpoints(saved) as checkpoints:
        for step in STEPS:
            checkpoints.save(step, state_at(step), {"note": step}, score=float(step))
    newest = saved / str(STEPS[-1])
    files = sorted(path.relative_to(saved) for path in newest.rglob("*") if path.is_file())
    for number in range(count):
        file, worse = files[number % len(files)], number % 3 == 2

        def make(folder: Path, file: Path = file, number: int = number, worse: bool = worse) -> Path:
            path = shutil.copytree(saved, folder / "checkpoints")
            data, rng = (path / file).read_bytes(), np.random.default_rng([seed, number])
            (path / file).write_bytes(damage(data, rng) if worse and data else flip(data, rng))
            return path

        kind = "damaged" if worse else "a bit flipped"
        yield Case(kind, f"{kind}: {file} ({number})", make)
