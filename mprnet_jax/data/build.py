"""Build a dataset once, from what was downloaded by hand; training then reads it without unpacking anything.

python -m mprnet_jax.data.build --dataset gopro --manual-dir downloads/GoPro --data-dir datasets
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from mprnet_jax.data.prepare.tfds_builders import BUILDERS, PairsBuilder
from mprnet_jax.data.sources import built_sets
from mprnet_jax.data.sources.tfds import TfdsPairs
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error, one_line

COMMAND = "mprnet_jax.data.build"


def build(dataset: str, manual_dir: Path, data_dir: Path, any_count: bool = False) -> Path:
    """Write a dataset below `data_dir`, or complete the one there. Returns its folder, which TfdsPairs opens.

    A dataset that is whole, and has all pairs of the downloads, stays as it is; it needs no downloads any more.
    Raises UserError for an unknown name, and if the downloads are not there, not whole or damaged.
    """
    if dataset not in BUILDERS:
        raise UserError(f"unknown dataset {dataset!r}; choose from {', '.join(BUILDERS)}")
    builder_class = BUILDERS[dataset]
    folder = data_dir / dataset / str(builder_class.VERSION)
    there = os.path.lexists(folder)
    if not manual_dir.is_dir() and not there:
        raise UserError(f"{manual_dir}: no such folder\n{builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    found = builder_class.find_splits(manual_dir, any_count) if manual_dir.is_dir() else {}
    if there:
        lacking = _lacking(folder, {split: [pair.name for pair in pairs] for split, pairs in found.items()})
        if not lacking and not any_count:
            lacking = _too_few(folder, builder_class)
        if not lacking:
            return folder
        if not found:
            raise UserError(
                f"{folder}: not whole ({lacking}), and {manual_dir} has no downloads to complete it from; name them "
                "with --manual-dir, or accept fewer pairs with --any-count"
            )
        _require_none_lost(folder, found, manual_dir)
        print(one_line(f"{folder}: not whole ({lacking}); it is built again"))
    elif not found:  # TFDS must not see an empty folder: it raises an AssertionError of its own
        wanted = f"{builder_class.TITLE} in it\n{builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        raise UserError(f"{manual_dir}: nothing of {wanted}")
    _require_room(manual_dir, data_dir)
    try:
        with tempfile.TemporaryDirectory(prefix=".building_", dir=data_dir) as beside:
            builder = builder_class(data_dir=beside, any_count=any_count)
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS names the temporary folder
                builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
            folder.parent.mkdir(exist_ok=True)
            if there:
                folder.rename(Path(beside) / "old")
            Path(builder.data_dir).rename(folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}); make room, or choose another --data-dir") from error
    return folder


def _lacking(folder: Path, found: dict[str, list[str]]) -> str:
    """What a built dataset lacks of the pairs (names) that were found, or of its own files; "" if nothing."""
    try:
        built = {split: TfdsPairs(folder, split).names for split in built_sets.splits_of(folder)}
    except UserError as error:
        return str(error).removeprefix(f"{folder}: ")
    for split, names in found.items():
        if split not in built:
            return f"it has no {split}"
        if missing := sorted(set(names) - set(built[split])):
            return f"{split} has {len(built[split])} pairs, without {missing[0]}"
    return ""


def _too_few(folder: Path, builder_class: type[PairsBuilder]) -> str:
    """Which split of a built dataset, built with --any-count, has not the pairs of the whole set; "" if none."""
    for split in built_sets.splits_of(folder):
        count, whole = len(TfdsPairs(folder, split).names), builder_class.SPLITS[split][1]
        if count != whole:
            return f"{split} has {count} of {whole} pairs"
    return ""


def _require_none_lost(folder: Path, found: Collection[str], manual_dir: Path) -> None:
    """Raise UserError if a split that was built once is not in the downloads any more."""
    try:
        built = built_sets.splits_of(folder)
    except UserError:  # of a damaged info, nothing is known
        return
    if lost := [split for split in built if split not in found]:
        raise UserError(
            f"{folder}: it has {', '.join(lost)}, which {manual_dir} has not; put all downloads into one folder, or "
            "name another --data-dir"
        )


def _require_room(manual_dir: Path, data_dir: Path) -> None:
    """Raise UserError if the disk has less room than the downloads take: the dataset will be as large."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{data_dir}: cannot be made ({error.strerror}); choose another --data-dir") from error
    needed = sum(path.stat().st_size for path in manual_dir.rglob("*") if path.is_file() and not path.is_symlink())
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        raise UserError(
            f"{data_dir}: {free / 1e9:.1f} GB free, and the dataset may take {needed / 1e9:.1f} GB; "
            "make room, or choose another --data-dir"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, then build the data set."""
    parser = Parser(
        prog=f"python -m {COMMAND}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help=f"one of {', '.join(BUILDERS)}")
    parser.add_argument(
        "--manual-dir", type=path_option, required=True, help="folder with the downloads, unpacked or as zip"
    )
    parser.add_argument(
        "--data-dir", type=path_option, default=Path("datasets"), help="where to write (default: %(default)s)"
    )
    parser.add_argument("--any-count", action="store_true", help="accept splits that are not whole")
    args = parser.parse_args(argv)
    with exit_on_user_error(COMMAND):
        folder = build(args.dataset, args.manual_dir, args.data_dir, args.any_count)
        splits = [f"{split} {len(TfdsPairs(folder, split).names)}" for split in built_sets.splits_of(folder)]
        print(f"built: {folder} ({', '.join(splits)} pairs)")


if __name__ == "__main__":
    main()
