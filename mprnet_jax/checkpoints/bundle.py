"""Bundles: folders that know everything needed to restore, as `--checkpoint` of every command takes them.

A bundle holds parameters, the network's sizes, where the parameters come from, and the SHA-256 of its files. Orbax
writes it; reading it needs no Orbax, so a command that restores a photo starts without.

A bundle may be a stranger's. Each file is read once, its sum is compared, and the contents come from those bytes;
kinds, counts and sizes are looked at before anything is opened, multiplied or allocated.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mprnet_jax.checkpoints.arrays import parse_json, read_arrays
from mprnet_jax.checkpoints.provenance import Provenance
from mprnet_jax.checkpoints.regular_files import NotPlausible, list_files, open_regular
from mprnet_jax.checkpoints.sizes import MOST_PARAMETERS, plausible_config
from mprnet_jax.model import MPRNetConfig, Params, abstract_params
from mprnet_jax.support.errors import UserError, one_line

SUMS = "SHA256SUMS"
LARGEST = 5 * MOST_PARAMETERS  # bytes of all files together: float32, which hardly compresses, and some text
LARGEST_TEXT = 4_000_000  # bytes of a file of JSON or of sums
SMALL = (SUMS, "config/metadata", "provenance/metadata", "params/_METADATA", "_CHECKPOINT_METADATA")


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Everything that restoring needs, and where it comes from."""

    config: MPRNetConfig
    params: Params  # NumPy leaves, float32
    provenance: Provenance
    """A mapping is taken too, as Provenance.from_json does."""

    def __post_init__(self) -> None:
        if not isinstance(self.provenance, Provenance):
            object.__setattr__(self, "provenance", Provenance.from_json(self.provenance))


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle whose files are as they were saved; parameters come as NumPy arrays.

    Raises UserError if there is no bundle, if it is damaged, and if it holds what no bundle can.
    """
    folder = Path(path)
    shown = one_line(str(folder.absolute()))
    try:
        if not folder.is_dir():
            why = "a file, not a folder" if folder.exists() else "no such folder"
            raise UserError(
                f"{shown}: {why}; a checkpoint is a folder written by mprnet_jax.train or "
                "tools/convert_torch_ckpt.py (which also reads the official .pth files)"
            )
        if not (folder / "config").is_dir() or not (folder / "params").is_dir():
            raise UserError(
                f"{shown}: not a checkpoint bundle (no config/ and params/ in it); name the folder that "
                "mprnet_jax.train or tools/convert_torch_ckpt.py wrote"
            )
        files = _read_files(folder, shown)
    except OSError as error:
        name = f" {one_line(os.fspath(error.filename))}" if error.filename else ""
        raise UserError(f"{shown}: cannot be read ({error.strerror}{name}); check the path and its rights") from error
    except NotPlausible as error:
        raise UserError(f"{shown}: not a checkpoint bundle ({error}); convert it again, or ask its maker") from error
    try:
        config = plausible_config(_parse(files, "config"))
        provenance = Provenance.from_json(_parse(files, "provenance"))
        arrays = {name.removeprefix("params/"): files.pop(name) for name in list(files) if name.startswith("params/")}
        return Bundle(config, read_arrays(arrays, abstract_params(config)), provenance)
    except ValueError as error:
        reason = one_line(str(error))[:300]
        raise UserError(f"{shown}: unusable bundle ({reason}); convert it again, or ask its maker") from error


def _read_files(folder: Path, shown: str) -> dict[str, bytes]:
    """Every file of a bundle but SHA256SUMS, whose sums it has been compared with.

    Raises UserError for a file that is not what was saved, NotPlausible, or OSError.
    """
    sizes = list_files(folder)
    if sum(sizes.values()) > LARGEST:
        raise NotPlausible(f"its files have {sum(sizes.values()):,} bytes, more than any bundle (at most {LARGEST:,})")
    for name in SMALL:
        if sizes.get(name, 0) > LARGEST_TEXT:
            raise NotPlausible(f"{name} has {sizes[name]:,} bytes, which is too many for what it is")
    damaged = lambda what: UserError(f"{shown}: damaged bundle ({one_line(what)}); copy or convert it again")
    if SUMS not in sizes:
        raise damaged(f"{SUMS}: {os.strerror(2)}")
    expected = _parse_sums(_read_file(folder, SUMS))
    if expected is None:
        raise damaged(f"{SUMS} is not what was saved")
    for name in sorted(expected.keys() ^ (sizes.keys() - {SUMS})):
        raise damaged(f"{name} is not in {SUMS}" if name in sizes else f"{name}: {os.strerror(2)}")
    files = {}
    for name, sum_of_name in expected.items():
        files[name] = _read_file(folder, name)
        if hashlib.sha256(files[name]).hexdigest() != sum_of_name:
            raise damaged(f"{name} is not what was saved")
    return files


def _read_file(folder: Path, name: str) -> bytes:
    with open_regular(folder / name, follow=False) as file:
        return file.read(LARGEST)


def _parse_sums(data: bytes) -> dict[str, str] | None:
    """File's name -> SHA-256 in hexadecimal; None if the text is something else."""
    try:
        lines = data.decode("utf-8").removesuffix("\n").split("\n")
        return {name: expected for expected, name in (line.split("  ", 1) for line in lines)}
    except ValueError:
        return None


def _parse(files: Mapping[str, bytes], item: str) -> Any:
    name = f"{item}/metadata"
    if name not in files:
        raise ValueError(f"{name} is missing")
    return parse_json(files[name], name)
