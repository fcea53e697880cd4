"""From a folder's name to what is trained and validated on: pairs, a built dataset or clean photos."""

from collections.abc import Sequence
from pathlib import Path

from mprnet_jax import images
from mprnet_jax.data.sources import built_sets, layouts
from mprnet_jax.data.sources.pairs import Matched, Pair, check_headers, require_partners
from mprnet_jax.data.sources.source import CleanPhotos, Pairs, Source
from mprnet_jax.data.sources.splits import hold_out, split_by_scene
from mprnet_jax.support.errors import UserError


def find_matched(folder: str | Path, splits: Sequence[str] = layouts.TRAINING) -> tuple[str, Matched] | None:
    """How the pairs of a folder are laid out, in words, and the pairs; None if it holds none.

    Of a folder with splits, those of the first of `splits` that it has. Raises UserError if there is no such folder,
    or if it is not clear which folders in it are meant.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one with input/ and target/, or one of clean pictures")
    layout = layouts.find_layout(folder, splits)
    return (layout.what, layout.match()) if layout else None


def find_pairs(folder: str | Path, splits: Sequence[str] = layouts.TRAINING) -> list[Pair]:
    """The pairs of a folder, sorted by name, their sizes compared by what the files' headers say.

    Raises UserError that names the folder, how many files are wrong and the first of them.
    """
    folder = Path(folder)
    found = find_matched(folder, splits)
    if found is None:
        raise UserError(f"{folder}: no pairs in it; {layouts.UNDERSTOOD}")
    return sound_pairs(folder, found[1])


def sound_pairs(folder: Path, matched: Matched) -> list[Pair]:
    """All the pairs. Raises UserError if a picture has no partner, or one of another size by its header."""
    require_partners(folder, matched)
    check_headers(folder, matched.pairs)
    return matched.pairs


def open_source(folder: str | Path, splits: Sequence[str] = layouts.TRAINING, crops: int = 1) -> Source:
    """The pictures of a folder; of one with splits, those of the first of `splits` that it has.

    Raises UserError that says what is wrong.
    """
    folder = Path(folder)
    if found := find_matched(folder, splits):
        return Pairs(sound_pairs(folder, found[1]), crops)
    if dataset := built_sets.find_dataset(folder):
        from mprnet_jax.data.sources.tfds import TfdsPairs  # here, because importing TFDS takes a second

        return TfdsPairs(dataset, built_sets.choose_split(dataset, splits), crops=crops)
    layouts.require_pictures(folder)
    return CleanPhotos(images.find(folder), crops)


def unused_below(folder: Path) -> int:
    """How many pictures lie in the folders of a folder of clean photos: they are not used."""
    try:
        return len(images.find(folder, recursive=True)) - len(images.find(folder))
    except UserError:  # a folder that cannot be searched
        return 0


def open_split(
    folder: str | Path,
    crops: int = 1,
    *,
    held_out: frozenset[str] = frozenset(),
    validation_share: float = 0.0,
    scene_separator: str | None = None,
) -> tuple[Source, Source | None]:
    """What to train on, and what to validate on: pictures held out by name, or a share of the scenes; or None.

    Raises UserError as open_source does, and for a share or names that leave nothing on one side.
    """
    source = open_source(folder, crops=crops)
    if held_out and validation_share:
        raise UserError("pictures are held out by name and by a share of the scenes; choose one of the two")
    if held_out:
        train, validation = hold_out(source.names, held_out, str(folder))
    elif validation_share:
        train, validation = split_by_scene(source.names, validation_share, scene_separator)
    else:
        return source, None
    return source.subset(train), source.subset(validation)
