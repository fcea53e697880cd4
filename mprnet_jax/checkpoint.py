"""What is kept on disk, through Orbax: bundles for restoring, and the checkpoints of a training run.

A bundle is a folder that knows everything needed to restore: parameters, the network's sizes, where the parameters
come from and a CRC32 of each. `--checkpoint` of every command takes one. A training checkpoint holds the whole
TrainState, so that a run goes on exactly where it stopped.
"""

import dataclasses
import shutil
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mprnet_jax.errors import UserError
from mprnet_jax.model import MPRNetConfig, Params, abstract_params

CHECKPOINTS_KEPT = 2  # the latest, and the one before in case the latest is damaged


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Everything that restoring needs, and where it comes from."""

    config: MPRNetConfig
    params: Params  # NumPy leaves, float32
    provenance: dict[str, Any]  # what JSON can hold: source, licence, training command, scores ...


def checksums(tree: Any) -> dict[str, int]:
    """CRC32 of every leaf's bytes, by path. Orbax keeps none and loads flipped bits without a word."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): zlib.crc32(np.ascontiguousarray(leaf).tobytes())
        for path, leaf in leaves
    }


def _check(tree: Any, expected: dict[str, int], path: Path) -> None:
    found = checksums(tree)
    damaged = [name for name in found if found[name] != expected.get(name)]
    if damaged:
        raise UserError(
            f"{path}: {len(damaged)} of {len(found)} arrays are damaged (their checksum differs), first "
            f"{damaged[0]}; copy or convert the checkpoint again"
        )


def save_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle to a new folder; nothing is left there if it fails.

    Raises UserError if the folder exists (a bundle is never overwritten).
    """
    path = Path(path).absolute()
    if path.exists():
        raise UserError(f"{path} exists; choose another folder or remove it first")
    params = jax.tree.map(np.asarray, bundle.params)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(  # to a temporary name, then renamed
            path,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                config=ocp.args.JsonSave(dataclasses.asdict(bundle.config)),
                provenance=ocp.args.JsonSave(bundle.provenance),
                crc32=ocp.args.JsonSave(checksums(params)),
            ),
        )
    # Orbax notes the folder's path of the moment, which is nobody's business where the bundle goes next.
    for note in path.rglob("commit_success.txt"):
        note.unlink()


def replace_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle in place of the one that is there; at every moment one of the two is whole, there or at
    `<path>.old` or `<path>.new`."""
    path = Path(path).absolute()
    new, old = (path.with_name(path.name + ending) for ending in (".new", ".old"))
    for leftover in (new, old):  # of a run that was killed here
        shutil.rmtree(leftover, ignore_errors=True)
    save_bundle(new, bundle)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check every array against its checksum; parameters come as NumPy arrays.

    Raises UserError if there is no bundle or if it is damaged.
    """
    path = Path(path).absolute()
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
    read_json = ocp.args.JsonRestore
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            about = checkpointer.restore(
                path, args=ocp.args.Composite(config=read_json(), provenance=read_json(), crc32=read_json())
            )
            config = MPRNetConfig(**about.config)
            # A NumPy target needs no device of the kind that the parameters were saved from.
            target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract_params(config))
            params = checkpointer.restore(path, args=ocp.args.Composite(params=ocp.args.StandardRestore(target))).params
    except Exception as error:  # Orbax, TensorStore and json raise a dozen types for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: damaged bundle ({reason[:200]}); copy or convert it again") from error
    _check(params, about.crc32, path)
    return Bundle(config, params, about.provenance)


class TrainingCheckpoints:
    """The checkpoints of one run in `directory`, newest last; saving goes on in the background."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True, preservation_policy=checkpoint_managers.LatestN(CHECKPOINTS_KEPT)
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """Steps that a checkpoint was saved at, in order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Save the state at a step (every process must call this), with what JSON can hold beside it."""
        if step in self.steps():
            return
        about = {**about, "crc32": checksums(jax.device_get(state))}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        self._manager.save(step, args=args, force=True)

    def restore_latest(self, abstract_state: Any) -> tuple[Any, dict[str, Any], list[str]] | None:
        """The newest whole checkpoint: state, what was saved beside it, and a line for each damaged one passed over.

        `abstract_state` holds jax.ShapeDtypeStruct leaves with shardings. None if there is no checkpoint at all.
        Raises UserError if there are checkpoints and none is whole.
        """
        passed_over: list[str] = []
        for step in reversed(self.steps()):
            try:
                return *self._restore(step, abstract_state), passed_over
            except Exception as error:  # whatever is wrong with this one, the one before may be whole
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                passed_over.append(f"checkpoint {step} in {self.directory} cannot be read ({reason})")
        if passed_over:
            raise UserError("; ".join(passed_over) + "; start again in a new --workdir")
        return None

    def _restore(self, step: int, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state), about=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=args)
        _check(jax.device_get(restored.state), restored.about["crc32"], self.directory / str(step))
        return restored.state, restored.about

    def close(self) -> None:
        """Wait for the save under way, then let go of the folder."""
        self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> "TrainingCheckpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
