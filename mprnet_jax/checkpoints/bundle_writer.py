"""Bundles written through Orbax (bundle.py reads them): whole folders that appear at once or not at all."""

import dataclasses
import functools
import hashlib
import shutil
import uuid
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from mprnet_jax.checkpoints.bundle import SUMS, Bundle
from mprnet_jax.checkpoints.orbax_errors import quiet_orbax, system_error
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import real


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _alone() -> ocp.Checkpointer:
    """For the bundles, which one process writes or reads: in a run of several, Orbax would wait for the others."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process_{me}"
    )
    json_handler = functools.partial(ocp.JsonCheckpointHandler, multiprocessing_options=alone)
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone),
        params=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        config=json_handler(),
        provenance=json_handler(),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def save_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle to a new folder, with a SHA256SUMS of its files (`sha256sum -c` reads it).

    The folder appears whole or not at all. Raises UserError if it exists (a bundle is never overwritten) or cannot be
    written.
    """
    path = real(path)  # TensorStore writes to no path with .. in it
    if path.exists():
        raise UserError(f"{path} exists; choose another folder or remove it first")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    params = jax.tree.map(np.asarray, bundle.params)
    try:
        with quiet_orbax(), _alone() as checkpointer:
            checkpointer.save(
                temporary,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    config=ocp.args.JsonSave(dataclasses.asdict(bundle.config)),
                    provenance=ocp.args.JsonSave(bundle.provenance.to_json()),
                ),
            )
        # Orbax notes the folder's path of the moment, which is nobody's business where the bundle goes next.
        for note in temporary.rglob("commit_success.txt"):
            note.unlink()
        _write_sums(temporary)
        temporary.rename(path)
    except Exception as error:
        reason = system_error(error)
        if reason is None:
            raise
        raise UserError(f"{path}: cannot be written ({reason}); check the folder and the space left") from error
    finally:
        for left in path.parent.glob(f"{temporary.name}*"):  # Orbax writes under a temporary name of its own
            shutil.rmtree(left, ignore_errors=True)


def replace_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle in place of the one that is there; at every moment one of the two is whole, there or at
    `<path>.old` or `<path>.new`."""
    path = real(path)
    new, old = (path.with_name(path.name + ending) for ending in (".new", ".old"))
    # A run may have been killed between the renames below: the whole bundle that it left goes back to its place first.
    for left in (new, old):
        if left.exists() and not path.exists():
            left.rename(path)
        shutil.rmtree(left, ignore_errors=True)
    save_bundle(new, bundle)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)
