"""From a folder's name to what is trained and validated on: pairs, a built dataset or clean photos."""

from pathlib import Path
from typing import Literal

from mprnet_jax import images
from mprnet_jax.data.sources.pairs import find_pairs
from mprnet_jax.data.sources.source import CleanPhotos, Pairs, Source
from mprnet_jax.data.sources.splits import hold_out, split_by_scene
from mprnet_jax.support.errors import UserError

Kind = Literal["pairs", "dataset", "photos"]


def kind_of(folder: str | Path) -> Kind:
    """What a folder holds, by what lies in it. Raises UserError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one with input/ and target/, or one of clean pictures")
    if (folder / "input").is_dir() or (folder / "target").is_dir():
        return "pairs"
    if (folder / "dataset_info.json").is_file() or any(folder.glob("*/dataset_info.json")):
        return "dataset"
    return "photos"


def open_source(folder: str | Path, split: str = "train", crops: int = 1) -> Source:
    """All the pictures of a folder; `split` is of built datasets. Raises UserError that says what is wrong."""
    match kind_of(folder):
        case "pairs":
            return Pairs(find_pairs(folder), crops)
        case "dataset":
            from mprnet_jax.data.sources.tfds import TfdsPairs  # here, because importing TFDS takes a second

            return TfdsPairs(folder, split, crops=crops)
    return CleanPhotos(images.find(folder), crops)


def open_split(
    folder: str | Path,
    split: str = "train",
    crops: int = 1,
    *,
    held_out: frozenset[str] = frozenset(),
    validation_share: float = 0.0,
    scene_separator: str | None = None,
) -> tuple[Source, Source | None]:
    """What to train on, and what to validate on: pictures held out by name, or a share of the scenes; or None."""
    source = open_source(folder, split, crops)
    if held_out and validation_share:
        raise UserError("pictures are held out by name and by a share of the scenes; choose one of the two")
    if held_out:
        train, validation = hold_out(source.names, held_out, str(folder))
    elif validation_share:
        train, validation = split_by_scene(source.names, validation_share, scene_separator)
    else:
        return source, None
    return source.subset(train), source.subset(validation)
