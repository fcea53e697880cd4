"""The test sets by name: where they lie on disk, how they are scored and what the paper got.

Published numbers: Zamir et al., CVPR 2021 (arXiv:2102.02808), tables 1 to 4 and the authors' release; with TLC,
Chu et al., ECCV 2022 (arXiv:2112.04491). Each is the mean of per-image scores over all pairs of its set.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax import images, metrics
from mprnet_jax.evaluation import matlab, realblur
from mprnet_jax.support.errors import UserError

Scores = dict[str, float]  # by the names in LABELS; PSNR comes first, then SSIM
Score = Callable[[np.ndarray, np.ndarray], Scores]  # restored, target: H W 3

LABELS = {
    "psnr": "PSNR (RGB), dB",
    "psnr_y": "PSNR (Y), dB",
    "psnr_aligned": "PSNR (aligned), dB",
    "ssim_matlab_rgb": "SSIM (MATLAB, RGB volume)",
    "ssim_per_channel": "SSIM (per channel)",
    "ssim_index_y": "SSIM (SSIM_index, Y)",
    "ssim_aligned": "SSIM (aligned)",
    "input_psnr": "PSNR of the input, dB",
    "gain": "gain in PSNR, dB",
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """One image of a set; what it is made of is read when it is asked for."""

    name: str
    read_input: Callable[[], np.ndarray] | None  # None: only restored images and truth are there
    read_target: Callable[[], np.ndarray] | None  # None: the benchmark's server keeps the truth


@dataclasses.dataclass(frozen=True)
class TestSet:
    """The pairs of a set that can be scored, a line for each that cannot, and the files behind them."""

    folder: Path
    pairs: list[Pair]
    refused: list[str]
    files: list[Path]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How one set is scored. Only `custom` has no published numbers and no expected count."""

    title: str
    folders: tuple[str, ...]  # where the set lies below a root with several sets
    score: Score | None  # None: scored by the benchmark's server
    input_psnr: Callable[[np.ndarray, np.ndarray], float] | None  # the first of the scores, alone
    columns: tuple[str, ...]  # names of the scores
    published: tuple[float, float] | None  # PSNR, SSIM
    pairs: int | None  # in the whole set
    task: str | None  # whose weights the paper used
    published_tlc: tuple[float, float] | None = None
    unrounded: bool = False  # floats in [0, 1] all the way, never rounded to uint8


def _by_name(**functions: Callable[[np.ndarray, np.ndarray], float]) -> dict:
    """Fields of a Protocol whose scores do not depend on one another."""

    def score(restored: np.ndarray, target: np.ndarray) -> Scores:
        return {name: function(restored, target) for name, function in functions.items()}

    return {"score": score, "input_psnr": next(iter(functions.values())), "columns": tuple(functions)}


RGB = _by_name(psnr=metrics.psnr, ssim_matlab_rgb=metrics.ssim_matlab_rgb)
RGB_FLOAT = _by_name(
    psnr=functools.partial(metrics.psnr, peak=1.0), ssim_matlab_rgb=functools.partial(metrics.ssim_matlab_rgb, peak=1.0)
)
LUMA = _by_name(psnr_y=metrics.psnr_y, ssim_index_y=metrics.ssim_index_y)
EVERYTHING = _by_name(
    psnr=metrics.psnr,
    ssim_matlab_rgb=metrics.ssim_matlab_rgb,
    ssim_per_channel=metrics.ssim_per_channel,
    psnr_y=metrics.psnr_y,
    ssim_index_y=metrics.ssim_index_y,
)
ALIGNED = {"score": realblur.score, "input_psnr": realblur.psnr_aligned, "columns": realblur.COLUMNS}
BY_SERVER = {"score": None, "input_psnr": None, "columns": ()}


def _deblurring(title: str, folder: str, pairs: int, published: tuple[float, float], **fields) -> Protocol:
    folders = (f"{folder}/test", folder)
    return Protocol(title, folders, pairs=pairs, published=published, task="deblurring", **fields)


def _deraining(title: str, pairs: int, published: tuple[float, float]) -> Protocol:
    folders = (f"test/{title}", title, f"Rain13K/test/{title}", f"Deraining/test/{title}")
    return Protocol(title, folders, pairs=pairs, published=published, task="deraining", **LUMA)


def _denoising(title: str, pairs: int, published: tuple[float, float], **fields) -> Protocol:
    folders = (f"{title}/test", title)
    return Protocol(title, folders, pairs=pairs, published=published, task="denoising", unrounded=True, **fields)


PROTOCOLS = {
    "gopro": _deblurring("GoPro", "GoPro", 1111, (32.66, 0.959), published_tlc=(33.31, 0.964), **RGB),
    "hide": _deblurring("HIDE", "HIDE", 2025, (30.96, 0.939), published_tlc=(31.19, 0.942), **RGB),
    "realblur_j": _deblurring("RealBlur-J", "RealBlur_J", 980, (28.70, 0.873), **ALIGNED),
    "realblur_r": _deblurring("RealBlur-R", "RealBlur_R", 980, (35.99, 0.952), **ALIGNED),
    "sidd": _denoising("SIDD", 1280, (39.71, 0.958), **RGB_FLOAT),
    "dnd": _denoising("DND", 1000, (39.80, 0.954), **BY_SERVER),
    "test100": _deraining("Test100", 100, (30.27, 0.897)),
    "rain100h": _deraining("Rain100H", 100, (30.41, 0.890)),
    "rain100l": _deraining("Rain100L", 100, (36.40, 0.965)),
    "test2800": _deraining("Test2800", 2800, (33.64, 0.938)),
    "test1200": _deraining("Test1200", 1200, (32.91, 0.916)),
    "custom": Protocol("custom", (), published=None, pairs=None, task=None, **EVERYTHING),
}
DERAINING_MEAN = (32.73, 0.921)  # published mean of the five deraining sets


def named(name: str) -> Protocol:
    """The protocol of that name; raises UserError that lists the choices."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}, all")
    return PROTOCOLS[name]


def _holds(name: str, folder: Path) -> bool:
    """Whether a folder looks like the set: enough to choose between places, not a check of its content."""
    if name == "sidd":
        return any((folder / file).is_file() for file in matlab.SIDD_FILES)
    if name == "dnd":
        return (folder / "info.mat").is_file() or (folder / "images_srgb").is_dir()
    return (folder / "target").is_dir()


def find_folder(name: str, data: Path, below: bool = False) -> Path | None:
    """The set's folder: `data` itself, its test/, or a usual place below it (`below`: only those); None if nowhere."""
    places = [] if below else [data, data / "test"]
    places += [data / place for place in PROTOCOLS[name].folders]
    return next((place for place in places if _holds(name, place)), None)


def open_set(name: str, data: Path, below: bool = False) -> TestSet:
    """Find a set's pairs by name. Raises UserError if the set is not there or has nothing that can be scored."""
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; --data names the folder of the data set")
    folder = find_folder(name, data, below)
    if folder is None:
        needs = {"sidd": " and ".join(matlab.SIDD_FILES), "dnd": "info.mat and images_srgb/"}.get(
            name, "input/ and target/ with pictures of the same names"
        )
        raise UserError(f"{data}: {named(name).title} is not here; it needs {needs}, in this folder or in its test/")
    if name == "sidd":
        blocks = matlab.open_sidd(folder)
        pairs = [
            Pair(key, functools.partial(blocks.noisy, key), functools.partial(blocks.truth, key)) for key in blocks.keys
        ]
        return TestSet(folder, pairs, [], blocks.files)
    if name == "dnd":
        crops, refused, files = matlab.open_dnd(folder)
        return TestSet(folder, [Pair(key, crop, None) for key, crop in crops.items()], refused, files)
    return pair_folders(folder)


def by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The pictures of a folder by stem, and a line for each stem that two files share (neither is taken)."""
    found: dict[str, list[Path]] = {}
    for path in images.find(folder):
        found.setdefault(path.stem, []).append(path)
    refused = [
        f"{paths[0]}: {len(paths)} pictures are called {stem} ({', '.join(path.name for path in paths)}); keep one"
        for stem, paths in found.items()
        if len(paths) > 1
    ]
    return {stem: paths[0] for stem, paths in found.items() if len(paths) == 1}, refused


def pair_folders(folder: Path) -> TestSet:
    """Pair input/ and target/ by stem; input/ may be missing altogether, as restored images need none.

    Raises UserError if target/ has no pictures or no pair has both partners.
    """
    targets, refused = by_stem(folder / "target")
    has_input = (folder / "input").is_dir()
    inputs, more = by_stem(folder / "input") if has_input else ({}, [])
    refused += more
    pairs = []
    for stem in sorted(targets.keys() | inputs.keys()):
        if stem not in targets:
            refused.append(f"{inputs[stem]}: no partner called {stem}.* in {folder / 'target'}; add it or remove this")
        elif has_input and stem not in inputs:
            refused.append(f"{targets[stem]}: no partner called {stem}.* in {folder / 'input'}; add it or remove this")
        else:
            reads = [functools.partial(images.read, path) for path in (inputs.get(stem), targets[stem]) if path]
            pairs.append(Pair(stem, reads[0] if has_input else None, reads[-1]))
    if not pairs:
        raise UserError(
            f"{folder}: not one of {len(inputs)} pictures in input/ and {len(targets)} in target/ has a partner; "
            "partners have the same name up to the ending"
        )
    return TestSet(folder, pairs, refused, sorted([*inputs.values(), *targets.values()]))


def restored_reader(name: str, folder: Path) -> tuple[Callable[[Pair], np.ndarray], list[Path]]:
    """How a folder of restored images is read, a pair at a time, and its files.

    Pictures are found by stem; a folder (or file) with SIDD's Idenoised.mat is read as that. Raises UserError for an
    empty folder; the reader raises it for a pair that has no restored image.
    """
    mat = folder if folder.suffix == ".mat" else folder / "Idenoised.mat"
    if name == "sidd" and mat.is_file():
        blocks = matlab.open_restored_sidd(mat)
        return lambda pair: blocks.block(pair.name), [mat]
    paths, ambiguous = by_stem(folder)

    def read(pair: Pair) -> np.ndarray:
        if pair.name not in paths:
            shared = next((line for line in ambiguous if f" called {pair.name} " in line), None)
            raise UserError(
                shared or f"{folder}: no restored picture called {pair.name}.*; restore it or remove the pair"
            )
        return images.read(paths[pair.name])

    return read, sorted(paths.values())


def restored_folder(name: str, root: Path) -> Path:
    """Where a root with the restored images of several sets keeps those of one: by folder name, title or protocol."""
    protocol = PROTOCOLS[name]
    choices = list(dict.fromkeys([*(Path(place).name for place in protocol.folders), protocol.title, name]))
    choices = [choice for choice in choices if choice != "test"]
    for choice in choices:
        if (root / choice).is_dir():
            return root / choice
    raise UserError(f"{root}: no restored images of {protocol.title}; looked for {', '.join(choices)}")


def sha256_of_files(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over names and contents: of the lines that `sha256sum` prints for the files, in order of their names.

    In a shell, in `folder`: LC_ALL=C ls -d FILES | LC_ALL=C sort | xargs sha256sum | sha256sum
    """
    names = {str(path.relative_to(folder) if path.is_relative_to(folder) else path.name): path for path in files}
    total = hashlib.sha256()
    for name in sorted(names, key=str.encode):
        with open(names[name], "rb") as file:
            total.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
    return total.hexdigest()
