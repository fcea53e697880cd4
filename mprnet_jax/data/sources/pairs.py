"""Pairs of files: the degraded picture and the clean one, matched by name up to the ending, never by position.

The official loader sorts both lists and pairs them by position, so that one missing file silently shifts all that
follow. Here what has no partner, or one of another size, is refused. Where the files lie is known to layouts.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from mprnet_jax import images
from mprnet_jax.images.headers import Header, header_of
from mprnet_jax.support.errors import UserError

SIDES = ("input", "target")
# What people call the folder of one side, or write into its files' names. First the names that this project uses.
SIDE_NAMES = {
    "input": (
        *("input", "inputs", "lq", "blur", "blurred", "blurry", "noisy", "noise", "rain", "rainy", "hazy", "haze"),
        *("low", "degraded", "distorted", "corrupted", "compressed"),
    ),
    "target": (
        *("target", "targets", "gt", "groundtruth", "sharp", "clean", "clear", "norain", "hq", "high", "label"),
        *("labels", "reference"),
    ),
}
_WORDS = "|".join(sorted((name for names in SIDE_NAMES.values() for name in names), key=len, reverse=True))
SIDE_WORD = re.compile(rf"(?<![a-z])(?:{_WORDS})(?![a-z])[\W_]*", re.IGNORECASE)

T = TypeVar("T")
Named = tuple[str, Path]  # name of a picture (its stem, in front of it perhaps the scene's) and its file


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two files of the same picture; a `Path`, or what behaves as one in a zip archive."""

    name: str  # stem of both
    input: Path
    target: Path


@dataclasses.dataclass(frozen=True)
class Matched:
    """Pairs, and what is none."""

    pairs: list[Pair]  # sorted by name
    counts: dict[str, int]  # side -> pictures in it
    alone: dict[str, list[Path]]  # side -> those without a partner on the other
    shared: list[tuple[str, list[Path]]] = dataclasses.field(default_factory=list)  # a name, the files that share it
    missing: list[str] = dataclasses.field(default_factory=list)  # pairs of a list of which neither file is there


def key_of(name: str) -> str:
    """A picture's name without the words that only tell the side.

    >>> key_of("norain-001"), key_of("blur_7"), key_of("0001_NOISY_SRGB_010"), key_of("GOPR0372-000047"), key_of("gt")
    ('001', '7', '0001_SRGB_010', 'GOPR0372-000047', 'gt')
    """
    return SIDE_WORD.sub("", name).strip("-_. ") or name


def match(inputs: Iterable[Named], targets: Iterable[Named]) -> Matched:
    """Match the files of both sides by name; what then has no partner, by its name without the words of the sides.

    A name that two files of one side have is no pair: it is not clear which one is meant.

    >>> files = lambda *names: [(name, Path(f"{name}.png")) for name in names]
    >>> [pair.name for pair in match(files("a", "blur_2", "c"), files("a", "gt_2")).pairs]
    ['2', 'a']
    """
    (left, shared), (right, shared_targets) = _by_name(inputs), _by_name(targets)
    counts = {
        "input": len(left) + sum(map(len, shared.values())),
        "target": len(right) + sum(map(len, shared_targets.values())),
    }
    for name in {*shared, *shared_targets}:
        left.pop(name, None)
        right.pop(name, None)
    pairs = [Pair(name, left.pop(name), right.pop(name)) for name in sorted(left.keys() & right.keys())]
    taken = {pair.name for pair in pairs}
    inputs_by_key, targets_by_key = (_by_name((key_of(name), name) for name in files)[0] for files in (left, right))
    for key in (inputs_by_key.keys() & targets_by_key.keys()) - taken:
        pairs.append(Pair(key, left.pop(inputs_by_key[key]), right.pop(targets_by_key[key])))
    alone = {side: [files[name] for name in sorted(files)] for side, files in (("input", left), ("target", right))}
    return Matched(sorted(pairs, key=lambda pair: pair.name), counts, alone, [*shared.items(), *shared_targets.items()])


def _by_name(items: Iterable[tuple[str, T]]) -> tuple[dict[str, T], dict[str, list[T]]]:
    """What has a name of its own, and what there is of each name that several have."""
    found: dict[str, list[T]] = {}
    for name, item in items:
        found.setdefault(name, []).append(item)
    several = {name: values for name, values in found.items() if len(values) > 1}
    return {name: values[0] for name, values in found.items() if len(values) == 1}, several


def shown(path: Path) -> str:
    """A file as messages name it: with its folder, which tells the side."""
    return f"{path.parent.name}/{path.name}"


def headers(pair: Pair) -> tuple[Header, Header]:
    """Of input and target. Raises UserError if one cannot be read or their sizes differ."""
    of_input, of_target = header_of(pair.input), header_of(pair.target)
    if of_input.size != of_target.size:
        raise UserError(f"{pair.input.name}: {sizes_differ(of_input.size, of_target.size)}")
    return of_input, of_target


def sizes_differ(of_input: str, of_target: str) -> str:
    """What is wrong with a pair of two sizes, such as 1280x720."""
    return f"input is {of_input}, target {of_target}; both must be of one size"


def require_partners(folder: Path, matched: Matched) -> None:
    """Raise UserError, with the first of them, if any picture has no partner or shares its name."""
    for _, paths in matched.shared:
        raise UserError(
            f"{folder}: {' and '.join(map(shown, paths))} have the same name before the ending, "
            "so their partner is not clear; remove or rename one"
        )
    for side, other in (SIDES, SIDES[::-1]):
        if matched.alone[side]:
            raise UserError(
                f"{folder}: {len(matched.alone[side])} of {matched.counts[side]} {side} images have no partner among "
                f"the {other} images, first {shown(matched.alone[side][0])}; add the missing files, or remove these "
                "(tools/check_data.py lists them all)"
            )
    if matched.missing:
        raise UserError(
            f"{folder}: {len(matched.missing)} of the pairs listed for it are not there, first {matched.missing[0]}; "
            "complete the download"
        )


def check_headers(folder: Path, pairs: Sequence[Pair]) -> None:
    """Raise UserError if any pair cannot be read, or is of two sizes."""
    wrong = []
    for pair in pairs:
        try:
            headers(pair)
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(
            f"{folder}: {len(wrong)} of {len(pairs)} pairs cannot be used, first {wrong[0]} "
            "(tools/check_data.py lists them all)"
        )


def list_pictures(folder: Path, below: bool = False) -> list[Named]:
    """Picture files of a folder (or of one in a zip archive) by their stems; hidden ones are left out.

    If there are none right in it, and `below`, those of its folders; their names have the folder's in front. Links to
    nothing are listed, for their reader to say so. Raises UserError if the folder cannot be listed.

    The order is that of the names.
    """
    try:
        entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda p: p.name)
        files = [path for path in entries if _is_picture(path)]
        if files or not below:
            return [(Path(path.name).stem, path) for path in files]
        folders = [path for path in entries if path.is_dir() and not is_link(path)]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    return [(f"{part.name}-{name}", path) for part in folders for name, path in list_pictures(part, below)]


def is_link(path: Path) -> bool:
    """Whether a path is a link; files in archives are none."""
    return isinstance(path, Path) and path.is_symlink()


def _is_picture(path: Path) -> bool:
    if Path(path.name).suffix.lower() not in images.SUFFIXES:
        return False
    return path.is_file() or (is_link(path) and not path.exists())
