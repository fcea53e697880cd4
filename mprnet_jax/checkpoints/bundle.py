"""Bundles: folders that know everything needed to restore, as `--checkpoint` of every command takes them.

A bundle holds parameters, the network's sizes, where the parameters come from, and the SHA-256 of its files. Orbax
writes it (bundle_writer.py). To read it needs no more than the store that Orbax keeps arrays in: a command that
restores a photo starts without Orbax.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore

from mprnet_jax.model import MPRNetConfig, Params, abstract_params
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import real

SUMS = "SHA256SUMS"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Everything that restoring needs, and where it comes from."""

    config: MPRNetConfig
    params: Params  # NumPy leaves, float32
    provenance: dict[str, Any]  # what JSON can hold: source, licence, training command, scores ...


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle whose files are as they were saved; parameters come as NumPy arrays.

    Raises UserError if there is no bundle or if it is damaged.
    """
    path = real(path)  # the array store takes neither .. nor links
    if not path.is_dir():
        raise UserError(
            f"{path}: no such folder; a checkpoint is a folder written by mprnet_jax.train or "
            "tools/convert_torch_ckpt.py (which also reads the official .pth files)"
        )
    if not (path / "config").is_dir() or not (path / "params").is_dir():
        raise UserError(
            f"{path}: not a checkpoint bundle (no config/ and params/ in it); name the folder that "
            "mprnet_jax.train or tools/convert_torch_ckpt.py wrote"
        )
    _check_sums(path)
    try:
        config = MPRNetConfig(**_read_json(path, "config"))
        params = _read_arrays(path / "params", abstract_params(config))
        return Bundle(config, params, _read_json(path, "provenance"))
    except Exception as error:  # whole files can still be no network of ours; what is wrong then has a dozen types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: damaged bundle ({reason[:200]}); copy or convert it again") from error


def _check_sums(folder: Path) -> None:
    """Compare every file with SHA256SUMS, before it is read: the array store loads flipped bits without a word."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        for expected, name in (line.split("  ", 1) for line in lines):
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
                raise UserError(f"{folder}: damaged bundle ({name} is not what was saved); copy or convert it again")
    except ValueError as error:
        raise UserError(f"{folder}: damaged bundle ({SUMS} is not what was saved); copy or convert it again") from error
    except OSError as error:
        raise UserError(
            f"{folder}: damaged bundle ({error.filename}: {error.strerror}); copy or convert it again"
        ) from error


def _read_json(folder: Path, item: str) -> dict[str, Any]:
    return json.loads((folder / item / "metadata").read_text(encoding="utf-8"))


def _read_arrays(folder: Path, expected: Params) -> Params:
    """The arrays of an Orbax PyTree: one array of Zarr a leaf, all in one OCDBT key-value store.

    Raises ValueError if the leaves' names or shapes are not the expected ones.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(expected)
    names = [".".join(key.key for key in path) for path, _ in leaves]
    notes = json.loads((folder / "_METADATA").read_text(encoding="utf-8"))["tree_metadata"].values()
    stored = {".".join(key["key"] for key in note["key_metadata"]) for note in notes}
    if stored != set(names):
        name = min(stored ^ set(names))
        raise ValueError(f"{name} is {'not in the network' if name in stored else 'missing'}")
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}
    opening = [
        tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}}, open=True, read=True)
        for name in names
    ]
    reading = [array.result().read() for array in opening]
    arrays = [np.asarray(array.result(), leaf.dtype) for array, (_, leaf) in zip(reading, leaves, strict=True)]
    for name, array, (_, leaf) in zip(names, arrays, leaves, strict=True):
        if array.shape != leaf.shape:
            raise ValueError(f"{name} has shape {array.shape} instead of {leaf.shape}")
    return jax.tree.unflatten(tree, arrays)
