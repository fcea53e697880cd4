"""Where a dataset that mprnet_jax.data.build has written lies, and its splits; TFDS, slow to import, is not needed."""

import json
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax.support.errors import UserError

INFO_FILE = "dataset_info.json"  # what makes a folder a dataset of TFDS
BUILD = "python -m mprnet_jax.data.build"


def find_dataset(folder: str | Path) -> Path | None:
    """The folder of a built dataset: the folder itself, its latest version, or that of the one dataset in it; or None.

    Raises UserError if several datasets are in it.
    """
    folder = Path(folder)
    if (folder / INFO_FILE).is_file():
        return folder
    if version := _latest_version(folder):
        return version
    inside = {part.name: _latest_version(part) for part in sorted(folder.iterdir()) if part.is_dir()}
    found = {name: version for name, version in inside.items() if version}
    if len(found) > 1:
        raise UserError(
            f"{folder}: the built datasets {', '.join(found)} are in it; name one, for example {folder / min(found)}"
        )
    return next(iter(found.values()), None)


def _latest_version(folder: Path) -> Path | None:
    numbers = {}
    for path in folder.glob(f"*/{INFO_FILE}"):
        parts = path.parent.name.split(".")
        if all(part.isdecimal() for part in parts):
            numbers[tuple(map(int, parts))] = path.parent
    return numbers[max(numbers)] if numbers else None


def splits_of(dataset: Path) -> list[str]:
    """The splits of a built dataset, as its info says. Raises UserError if that cannot be read."""
    try:
        info = json.loads((dataset / INFO_FILE).read_text(encoding="utf-8"))
        return [split["name"] for split in info["splits"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{dataset / INFO_FILE}: damaged ({error}); remove {dataset} and build it again with {BUILD}"
        ) from error


def choose_split(dataset: Path, splits: Sequence[str]) -> str:
    """The first of `splits` that a built dataset has. Raises UserError if it has none of them."""
    present = splits_of(dataset)
    chosen = next((split for split in splits if split in present), None)
    if chosen is None:
        raise UserError(
            f"{dataset}: a data set with the splits {', '.join(sorted(present))}, of which none is called "
            f"{', '.join(splits)}; name another folder, or build it with what is missing"
        )
    return chosen
