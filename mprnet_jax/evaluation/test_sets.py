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
from mprnet_jax.data.sources import layouts
from mprnet_jax.data.sources.layouts import Layout
from mprnet_jax.data.sources.pairs import SIDES, Matched, match
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
    found = _find(name, data, below)
    return found.folder if isinstance(found, Layout) else found


def _find(name: str, data: Path, below: bool) -> Path | Layout | None:
    """A folder with the set's own files or with target/; or else the pairs in a layout of others."""
    places = [] if below else [data, data / "test"]
    places += [data / place for place in protocols.named(name).folders]
    folder = next((place for place in places if _holds(name, place)), None)
    if folder is not None or not data.is_dir() or name in ("sidd", "dnd") or (name == "custom" and below):
        return folder
    if name == "custom":
        return layouts.find_layout(data, (*layouts.TEST, *layouts.VALIDATION, *layouts.TRAINING))
    if name in layouts.SETS:
        return layouts.find_set(data, name, "test", below)
    return layouts.find_set(data, "rain13k", f"test/{protocols.named(name).title}", below)


def open_set(name: str, data: Path, below: bool = False) -> TestSet:
    """Find a set's pairs by name. Raises UserError if the set is not there or has nothing that can be scored."""
    protocol = protocols.named(name)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; --data names the folder of the data set")
    folder = _find(name, data, below)
    if folder is None:
        needs = {"sidd": f"it needs {' and '.join(sidd.FILES)}", "dnd": "it needs info.mat and images_srgb/"}
        where = "no pairs here" if name == "custom" else f"{protocol.title} is not here"
        raise UserError(f"{data}: {where}; {needs.get(name, layouts.UNDERSTOOD)}; name their folder with --data")
    if isinstance(folder, Layout):
        return _of_matched(folder.folder, folder.match())
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
    found: dict[str, list[Path]] = {}
    for path in images.find(_not_broken(folder)):
        found.setdefault(path.stem, []).append(path)
    shared = {stem: _shared_line(stem, paths) for stem, paths in found.items() if len(paths) > 1}
    return {stem: paths[0] for stem, paths in found.items() if len(paths) == 1}, shared


def pair_folders(folder: Path) -> TestSet:
    """Pair input/ and target/ by stem; input/ may be missing altogether, as restored images need none.

    Raises UserError if target/ has no pictures or no pair has both partners.
    """
    targets = images.find(_not_broken(folder / "target"))
    if not os.path.lexists(folder / "input"):
        stems, shared = by_stem(folder / "target")
        pairs = [Pair(stem, None, functools.partial(images.read, stems[stem])) for stem in sorted(stems)]
        return TestSet(folder, len(pairs) + len(shared), pairs, list(shared.values()), sorted(stems.values()))
    inputs = images.find(_not_broken(folder / "input"))
    return _of_matched(folder, match(*([(path.stem, path) for path in paths] for paths in (inputs, targets))))


def _not_broken(folder: Path) -> Path:
    """The folder. Raises UserError if it is a link that leads nowhere."""
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder}: a link that leads nowhere; mend or remove it")
    return folder


def _of_matched(folder: Path, matched: Matched) -> TestSet:
    """What can be scored of matched files, and a line for what has no partner. Raises UserError if nothing can."""
    pairs = [
        Pair(pair.name, functools.partial(images.read, pair.input), functools.partial(images.read, pair.target))
        for pair in matched.pairs
    ]
    refused = [_shared_line(name, paths) for name, paths in matched.shared]
    for side, other in (SIDES, SIDES[::-1]):
        for path in matched.alone[side]:
            refused.append(f"{path}: no partner called {path.stem}.* among the {other} images; add it or remove this")
    refused += [f"{folder}: {name} is listed, and not there; complete the download" for name in matched.missing]
    if not pairs:
        raise UserError(
            f"{folder}: not one of {matched.counts['input']} input and {matched.counts['target']} target images has a "
            "partner; partners have the same name up to the ending"
        )
    files = [path for pair in matched.pairs for path in (pair.input, pair.target)]
    names = {name for name, _ in matched.shared}
    lonely = [*matched.alone["input"], *matched.alone["target"]]
    found = len(pairs) + len(names) + len(lonely) + len(matched.missing)
    return TestSet(folder, found, pairs, refused, sorted([*files, *lonely]))


def _shared_line(name: str, paths: Sequence[Path]) -> str:
    files = ", ".join(path.name for path in paths)
    return f"{paths[0]}: {len(paths)} pictures are called {name} ({files}); keep one"


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


def hashes_of_files(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Name -> SHA-256 of the contents, in order of the names.

    Like sha256sum, it has none for a file that cannot be read; scoring its pair says why.
    """
    names = {str(path.relative_to(folder) if path.is_relative_to(folder) else path.name): path for path in files}
    found = {}
    for name in sorted(names, key=os.fsencode):
        with contextlib.suppress(OSError), open(names[name], "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sha256_of_lines(hashes: dict[str, str]) -> str:
    """SHA-256 of the lines that `sha256sum` prints for files."""
    lines = (f"{value}  ".encode() + os.fsencode(name) + b"\n" for name, value in hashes.items())
    return hashlib.sha256(b"".join(lines)).hexdigest()


def sha256_of_files(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over names and contents: of the lines that `sha256sum` prints for the files, in order of their names.

    In a shell, in `folder`: LC_ALL=C ls -d FILES | LC_ALL=C sort | xargs sha256sum | sha256sum
    """
    return sha256_of_lines(hashes_of_files(folder, files))
