"""What is kept on disk, through Orbax: bundles for restoring, and the checkpoints of a training run.

A bundle is a folder that knows everything needed to restore: parameters, the network's sizes, where the parameters
come from, and the SHA-256 of its files. `--checkpoint` of every command takes one. A training checkpoint holds all of
TrainState, so that a run goes on exactly where it stopped.
"""

import dataclasses
import hashlib
import shutil
import uuid
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mprnet_jax.errors import UserError
from mprnet_jax.model import MPRNetConfig, Params, abstract_params

SUMS = "SHA256SUMS"
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


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _check_sums(folder: Path) -> None:
    """Compare every file with SHA256SUMS, before Orbax meets it: it loads flipped bits without a word."""
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


def save_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle to a new folder, with a SHA256SUMS of its files (`sha256sum -c` reads it).

    The folder appears whole or not at all. Raises UserError if it exists (a bundle is never overwritten) or cannot be
    written.
    """
    path = Path(path).absolute()
    if path.exists():
        raise UserError(f"{path} exists; choose another folder or remove it first")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    params = jax.tree.map(np.asarray, bundle.params)
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(
                temporary,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    config=ocp.args.JsonSave(dataclasses.asdict(bundle.config)),
                    provenance=ocp.args.JsonSave(bundle.provenance),
                ),
            )
        # Orbax notes the folder's path of the moment, which is nobody's business where the bundle goes next.
        for note in temporary.rglob("commit_success.txt"):
            note.unlink()
        _write_sums(temporary)
        temporary.rename(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); check the folder and the space left") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle in place of the one that is there; at every moment one of the two is whole, there or at
    `<path>.old` or `<path>.new`."""
    path = Path(path).absolute()
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


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle whose files are as they were saved; parameters come as NumPy arrays.

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
    _check_sums(path)
    read_json = ocp.args.JsonRestore
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            about = checkpointer.restore(path, args=ocp.args.Composite(config=read_json(), provenance=read_json()))
            config = MPRNetConfig(**about.config)
            # A NumPy target needs no device of the kind that the parameters were saved from.
            target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract_params(config))
            params = checkpointer.restore(path, args=ocp.args.Composite(params=ocp.args.StandardRestore(target))).params
    except Exception as error:  # whole files can still be no network of ours; Orbax raises a dozen types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: damaged bundle ({reason[:200]}); copy or convert it again") from error
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
