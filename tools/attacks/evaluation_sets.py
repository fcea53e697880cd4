"""Data sets and results of an evaluation, damaged: MATLAB files of SIDD and DND, and results.json."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from attacks.benchmark_files import dnd, sidd
from attacks.cases import Case, some
from attacks.mutations import mutations
from mprnet_jax.evaluation import results
from mprnet_jax.evaluation.sidd import FILES, VARIABLES


def a_result(names: Sequence[str]) -> results.Result:
    """Scores of these images."""
    rows = [{"name": name, "psnr": 30.0 - i, "ssim_matlab_rgb": 0.5, "gain": -1.5 - i} for i, name in enumerate(names)]
    by = results.RestoredBy(kind="files", source="x", sha256="0", sha256_of="y", options={"tile": "auto"})
    return results.Result("gopro", "run", len(rows), rows, ["one"], results.Dataset("d", "0", "z"), by, 1.0)


def change_result(change: Callable[[dict], Any], folder: Path) -> None:
    """Another content of results.json."""
    path = folder / results.RESULTS
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _with_score(value: object, content: dict) -> dict:
    content["images"][0]["psnr"] = value
    return content


RESULTS_BUILT = {
    "a list": lambda _: [1],
    "null": lambda _: None,
    "a score of 400 digits": functools.partial(_with_score, 10**400),
    "a score that is a text": functools.partial(_with_score, "much"),
    "a score that is a list": functools.partial(_with_score, [1]),
    "protocol a list": lambda c: {**c, "protocol": ["gopro"]},
    "images a number": lambda c: {**c, "images": 7},
    "a label of control characters": lambda c: {**c, "protocol": "\x1b[31m\n"},
    "seconds of 400 digits": lambda c: {**c, "seconds": 10**400},
    "operations of 400 digits": lambda c: {**c, "restored_by": {**c["restored_by"], "operations": 10**400}},
    "restored_by nothing": lambda c: {**c, "restored_by": None},
}
SIDD_BUILT = {
    "text": "text",
    "a structure": {"a": 1, "b": 2},
    "a cell": np.array([[1, "x"]], dtype=object),
    "complex": np.zeros((1, 1, 256, 256, 3), complex),
    "empty": np.zeros((0, 0, 256, 256, 3), np.uint8),
    "more blocks than there are": np.zeros((40, 33, 1, 1, 1), np.uint8),
}


def _claims_terabytes(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "images_srgb" / "0001.mat", "w") as file:
        file.create_dataset("InoisySRGB", (3, 10**6, 10**6), np.float32, chunks=(1, 100, 100))


def _copied(whole: Path, spoil: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        spoil(shutil.copytree(whole, folder / whole.name))
        return folder / whole.name

    return make


def _built(made: Path) -> Iterator[Case]:
    for name, change in RESULTS_BUILT.items():
        yield Case("results.json", name, _copied(made / "results", functools.partial(change_result, change)))
    for name, value in SIDD_BUILT.items():
        spoil = lambda folder, value=value: scipy.io.savemat(folder / FILES[1], {VARIABLES[1]: value})
        yield Case("SIDD", name, _copied(made / "sidd", spoil))
    yield Case("DND", "12 TB claimed", _copied(made / "dnd", _claims_terabytes))


def cases(count: int, seed: int, made: Path) -> Iterator[Case]:
    """So many sets: the built ones, then damaged files of SIDD (v5), DND (v7.3) and results in turn."""
    for name in ("sidd", "dnd", "results"):
        (made / name).mkdir()
    sidd(made / "sidd", noisy=(1, 1, 256, 256, 3), truth=(1, 1, 256, 256, 3))
    dnd(made / "dnd")
    results.save(made / "results", a_result(["a", "b", "c"]))
    chosen = some(list(_built(made)), count, seed)
    yield from chosen
    targets = [
        ("SIDD", made / "sidd" / FILES[0]),
        ("DND", made / "dnd" / "info.mat"),
        ("DND", made / "dnd" / "images_srgb" / "0001.mat"),
        ("results.json", made / "results" / results.RESULTS),
    ]
    damaged = [mutations(path.read_bytes(), count, seed + place) for place, (_, path) in enumerate(targets)]
    for number in range(count - len(chosen)):
        group, path = targets[number % len(targets)]
        data, whole = next(damaged[number % len(targets)]), made / path.relative_to(made).parts[0]
        file = path.relative_to(whole)

        def spoil(folder: Path, file: Path = file, data: bytes = data) -> None:
            (folder / file).write_bytes(data)

        yield Case(group, f"{group}, damaged {number}: {path.name}", _copied(whole, spoil))
