"""Build a dataset once, from what was downloaded by hand; training then reads it without unpacking anything.

python -m mprnet_jax.data.build --dataset gopro --manual-dir downloads/GoPro --data-dir datasets
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from mprnet_jax.data.prepare.tfds_builders import BUILDERS
from mprnet_jax.support.command_line import path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error

COMMAND = "mprnet_jax.data.build"


def build(dataset: str, manual_dir: Path, data_dir: Path, any_count: bool = False) -> Path:
    """Write a dataset below `data_dir`, unless it is there. Returns its folder, which TfdsPairs opens.

    Raises UserError for an unknown name, and if the downloads are not there, not whole or damaged.
    """
    if dataset not in BUILDERS:
        raise UserError(f"unknown dataset {dataset!r}; choose from {', '.join(BUILDERS)}")
    builder_class = BUILDERS[dataset]
    builder = builder_class(data_dir=data_dir, any_count=any_count)
    folder = Path(builder.data_dir)
    if folder.is_dir():
        return folder
    if not manual_dir.is_dir():
        raise UserError(f"{manual_dir}: no such folder\n{builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    _require_room(manual_dir, data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return folder


def _require_room(manual_dir: Path, data_dir: Path) -> None:
    """Raise UserError if the disk has less room than the downloads take: the dataset will be as large."""
    data_dir.mkdir(parents=True, exist_ok=True)
    needed = sum(path.stat().st_size for path in manual_dir.rglob("*") if path.is_file())
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        raise UserError(
            f"{data_dir}: {free / 1e9:.1f} GB free, and the dataset may take {needed / 1e9:.1f} GB; "
            "make room, or choose another --data-dir"
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
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
        print(f"built: {folder}")


if __name__ == "__main__":
    main()
