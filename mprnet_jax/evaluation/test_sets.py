"""A test set on disk: its folder, its pairs by name, the restored images that belong to them, and hashes of all."""

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.evaluation import dnd, protocols, sidd
from mprnet_jax.support.errors import UserError


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
    found: int  # pairs that the folder names, whether they can be scored or not
    pairs: list[Pair]
    refused: list[str]
    files: list[Path]


def _holds(name: str, folder: Path) -> bool:
    """Whether a folder looks like the set: enough to choose between places, not a check of its content."""
    files = {"sidd": sidd.FILES, "dnd": ("info.mat", "images_srgb")}.get(name, ("target",))
    return any(os.path.lexists(folder / file) for file in files)  # a link to nowhere counts: it is to be mended


def find_folder(name: str, data: Path, below: bool = False) -> Path | None:
    """The set's folder: `data` itself, its test/, or a usual place below it (`below`: only those); None if nowhere.

    Raises UserError for an unknown name.
    """
    places = [] if below else [data, data / "test"]
    places += [data / place for place in protocols.named(name).folders]
    return next((place for place in places if _holds(name, place)), None)


def open_set(name: str, data: Path, below: bool = False) -> TestSet:
    """Find a set's pairs by name. Raises UserError if the set is not there or has nothing that can be scored."""
    protocol = protocols.named(name)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; --data names the folder of the data set")
    folder = find_folder(name, data, below)
    if folder is None:
        needs = {"sidd": " and ".join(sidd.FILES), "dnd": "info.mat and images_srgb/"}.get(
            name, "input/ and target/ with pictures of the same names"
        )
        raise UserError(f"{data}: {protocol.title} is not here; it needs {needs}, in this folder or in its test/")
    if name == "sidd":
        blocks = sidd.open_blocks(folder)
        pairs = [
            Pair(key, functools.partial(blocks.noisy, key), functools.partial(blocks.truth, key)) for key in blocks.keys
        ]
        return TestSet(folder, len(pairs), pairs, [], blocks.files)
    if name == "dnd":
        crops, refused, files = dnd.open_crops(folder)
        found = len(crops) + dnd.BOXES * len(refused)  # a refusal is of an image
        return TestSet(folder, found, [Pair(key, crop, None) for key, crop in crops.items()], refused, files)
    return pair_folders(folder)


def by_stem(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The pictures of a folder by stem, and a line for each stem that several files share: none of them is taken.

    Raises UserError if there are none.
    """
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder}: a link that leads nowhere; mend or remove it")
    found: dict[str, list[Path]] = {}
    for path in images.find(folder):
        found.setdefault(path.stem, []).append(path)
    shared = {
        stem: f"{paths[0]}: {len(paths)} pictures are called {stem} ({', '.join(p.name for p in paths)}); keep one"
        for stem, paths in found.items()
        if len(paths) > 1
    }
    return {stem: paths[0] for stem, paths in found.items() if len(paths) == 1}, shared


def pair_folders(folder: Path) -> TestSet:
    """Pair input/ and target/ by stem; input/ may be missing altogether, as restored images need none.

    Raises UserError if target/ has no pictures or no pair has both partners.
    """
    targets, shared = by_stem(folder / "target")
    has_input = os.path.lexists(folder / "input")
    inputs, shared_inputs = by_stem(folder / "input") if has_input else ({}, {})
    shared = shared_inputs | shared
    pairs, refused = [], list(shared.values())
    stems = sorted(targets.keys() | inputs.keys() | shared.keys())
    for stem in stems:
        if stem in shared:
            continue
        if stem not in targets:
            refused.append(f"{inputs[stem]}: no partner called {stem}.* in {folder / 'target'}; add it or remove this")
        elif has_input and stem not in inputs:
            refused.append(f"{targets[stem]}: no partner called {stem}.* in {folder / 'input'}; add it or remove this")
        else:
            read_input = functools.partial(images.read, inputs[stem]) if has_input else None
            pairs.append(Pair(stem, read_input, functools.partial(images.read, targets[stem])))
    if not pairs:
        raise UserError(
            f"{folder}: not one of {len(inputs)} pictures in input/ and {len(targets)} in target/ has a partner; "
            "partners have the same name up to the ending"
        )
    return TestSet(folder, len(stems), pairs, refused, sorted([*inputs.values(), *targets.values()]))


def restored_reader(name: str, folder: Path) -> tuple[Callable[[Pair], np.ndarray], list[Path]]:
    """How a folder of restored images is read, a pair at a time, and its files.

    Pictures are found by stem; a folder (or file) with SIDD's Idenoised.mat is read as that. Raises UserError for an
    empty folder; the reader raises it for a pair that has no restored image.
    """
    mat = folder if folder.suffix == ".mat" else folder / "Idenoised.mat"
    if name == "sidd" and mat.is_file():
        blocks = sidd.open_restored(mat)
        return lambda pair: blocks.block(pair.name), [mat]
    paths, shared = by_stem(folder)

    def read(pair: Pair) -> np.ndarray:
        if pair.name not in paths:
            missing = f"{folder}: no restored picture called {pair.name}.*; restore it or remove the pair"
            raise UserError(shared.get(pair.name, missing))
        return images.read(paths[pair.name])

    return read, sorted(paths.values())


def restored_folder(name: str, root: Path) -> Path:
    """Where a root with the restored images of several sets keeps those of one: by folder name, title or protocol."""
    protocol = protocols.named(name)
    choices = list(dict.fromkeys([*(Path(place).name for place in protocol.folders), protocol.title, name]))
    choices = [choice for choice in choices if choice != "test"]
    for choice in choices:
        if (root / choice).is_dir():
            return root / choice
    raise UserError(f"{root}: no restored images of {protocol.title}; looked for {', '.join(choices)}")


def sha256_of_files(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over names and contents: of the lines that `sha256sum` prints for the files, in order of their names.

    In a shell, in `folder`: LC_ALL=C ls -d FILES | LC_ALL=C sort | xargs sha256sum | sha256sum
    Like sha256sum, it has no line for a file that cannot be read; scoring its pair says why.
    """
    names = {str(path.relative_to(folder) if path.is_relative_to(folder) else path.name): path for path in files}
    total = hashlib.sha256()
    for name in sorted(names, key=os.fsencode):
        with contextlib.suppress(OSError), open(names[name], "rb") as file:
            total.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  ".encode() + os.fsencode(name) + b"\n")
    return total.hexdigest()
