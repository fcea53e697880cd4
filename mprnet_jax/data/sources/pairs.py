"""Pairs in a folder: DIR/input/ and DIR/target/, matched by file stem.

The official loader sorts both lists and pairs them by position, so that one missing file silently shifts all that
follow. Here what has no partner, or one of another size, is refused.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax import images
from mprnet_jax.images.headers import Header, header_of
from mprnet_jax.support.errors import UserError

SIDES = ("input", "target")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two files of the same picture; a `Path`, or what behaves as one in a zip archive."""

    name: str  # stem of both
    input: Path
    target: Path


@dataclasses.dataclass(frozen=True)
class Matched:
    """Pairs of a folder, and the files that have no partner."""

    pairs: list[Pair]
    counts: dict[str, int]  # side -> pictures in it
    alone: dict[str, list[Path]]  # side -> those without a partner on the other


def list_pictures(folder: Path) -> list[Path]:
    """Picture files right in a folder (or in one of a zip archive), sorted by name."""
    files = (path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    return sorted((p for p in files if Path(p.name).suffix.lower() in images.SUFFIXES), key=lambda p: p.name)


def match_by_stem(folder: Path) -> Matched:
    """Match input/ and target/ of a folder. Raises UserError if one is not there, is empty or repeats a stem."""
    found = {}
    for side in SIDES:
        if not (folder / side).is_dir():
            raise UserError(f"{folder}: no folder {side}/ in it; pairs lie in {folder}/input/ and {folder}/target/")
        found[side] = by_stem = {}
        for path in list_pictures(folder / side):
            other = by_stem.setdefault(Path(path.name).stem, path)
            if other is not path:
                raise UserError(
                    f"{folder}: {side}/{other.name} and {side}/{path.name} have the same name before the ending, "
                    "so their partner is not clear; remove or rename one"
                )
        if not by_stem:
            raise UserError(
                f"{folder}: no pictures in {side}/; it needs files that end in {', '.join(images.SUFFIXES)}"
            )
    left, right = (found[side] for side in SIDES)
    pairs = [Pair(stem, left[stem], right[stem]) for stem in sorted(left.keys() & right.keys())]
    alone = {
        "input": [left[stem] for stem in sorted(left.keys() - right.keys())],
        "target": [right[stem] for stem in sorted(right.keys() - left.keys())],
    }
    return Matched(pairs, {side: len(found[side]) for side in SIDES}, alone)


def headers(pair: Pair) -> tuple[Header, Header]:
    """Of input and target. Raises UserError if one cannot be read or their sizes differ."""
    of_input, of_target = header_of(pair.input), header_of(pair.target)
    if of_input.size != of_target.size:
        raise UserError(f"{pair.input.name}: input is {of_input.size}, target {of_target.size}")
    return of_input, of_target


def find_pairs(folder: str | Path) -> list[Pair]:
    """The pairs of a folder, sorted by name, their sizes compared by what the files' headers say.

    Raises UserError that names the folder, how many files are wrong and the first of them.
    """
    folder = Path(folder)
    matched = match_by_stem(folder)
    require_partners(folder, matched)
    check_headers(folder, matched.pairs)
    return matched.pairs


def require_partners(folder: Path, matched: Matched) -> None:
    """Raise UserError if any picture has no partner."""
    for side, other in (SIDES, SIDES[::-1]):
        if matched.alone[side]:
            raise UserError(
                f"{folder}: {len(matched.alone[side])} of {matched.counts[side]} images in {side}/ have no partner in "
                f"{other}/, first {matched.alone[side][0].name}; add the missing files, or remove these "
                "(tools/check_data.py lists them all)"
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
