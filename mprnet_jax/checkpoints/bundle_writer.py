"""What is kept on disk, through Orbax: bundles for restoring (bundles.py reads them), and the checkpoints of a run.

A training checkpoint holds all of TrainState, so that a run goes on exactly where it stopped.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mprnet_jax.checkpoints.bundle import SUMS, Bundle
from mprnet_jax.checkpoints.orbax_errors import quiet_orbax, system_error
from mprnet_jax.runtime.processes import failing_together, raise_together
from mprnet_jax.support.errors import UserError

SCORE = "psnr"  # under which a training checkpoint's validation PSNR is kept


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


@functools.cache
def _quiet_orbax() -> contextlib.AbstractContextManager[None]:
    """For TrainingCheckpoints, which write in the background."""
    quiet = quiet_orbax()
    quiet.__enter__()
    return quiet


_system_error = system_error


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
    path = Path(os.path.realpath(path))  # TensorStore writes to no path with .. in it
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
    path = Path(os.path.realpath(path))
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


class TrainingCheckpoints:
    """The checkpoints of one run in `directory`; saving goes on in the background.

    The `latest` newest are kept (more than one, in case the newest is damaged), and the `best` ones by the score that
    they were saved with. In a run of several processes all must call every method, and see the same folder.
    """

    def __init__(self, directory: str | Path, latest: int = 2, best: int = 0) -> None:
        self.directory = Path(directory).absolute()
        score = lambda metrics: metrics[SCORE]
        kept = [checkpoint_managers.LatestN(latest)]
        if best:
            by_score = checkpoint_managers.BestN(get_metric_fn=score, n=best, keep_checkpoints_without_metrics=False)
            kept.append(by_score)
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            best_fn=score,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(kept),
        )
        _quiet_orbax()
        with self._writing():
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """Steps that a checkpoint was saved at, in order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, about: dict[str, Any], score: float | None = None) -> None:
        """Save the state at a step, with what JSON can hold beside it, and the score by which the best are kept.

        Raises UserError if this checkpoint or the one before, which was written in the background, cannot be written.
        """
        if step in self.steps():
            return
        about = {**about, "crc32": checksums(jax.device_get(state))}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        metrics = None if score is None else {SCORE: score}
        with failing_together(), self._writing():
            self._manager.save(step, args=args, metrics=metrics, force=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what a full disk makes Orbax raise, of half a dozen types, into a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            reason = _system_error(error)
            if reason is None:
                raise
            last = max((int(path.name) for path in self.directory.glob("*") if path.name.isdecimal()), default=None)
            goes_on = "the same command starts again" if last is None else f"the same command goes on from step {last}"
            raise UserError(
                f"{self.directory}: a checkpoint cannot be written ({reason}); make room there, then {goes_on}"
            ) from error

    def restore_latest(self, abstract_state: Any) -> tuple[Any, dict[str, Any], list[str]] | None:
        """The newest whole checkpoint: state, what was saved beside it, and a line for each damaged one passed over.

        `abstract_state` holds jax.ShapeDtypeStruct leaves with shardings; the devices may be others than those of the
        run that saved it. A damaged checkpoint is put aside, as damaged-<step>, once an older one proved whole. None if
        there is no checkpoint at all. Raises UserError if there are checkpoints and none is whole.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                with failing_together():
                    restored = self._restore(step, abstract_state)
            except UserError as error:
                damaged[step] = f"checkpoint {step} in {self.directory} cannot be read ({error})"
                continue
            self._put_aside(damaged)
            return *restored, list(damaged.values())
        if damaged:
            raise UserError("; ".join(damaged.values()) + "; start again in a new --workdir")
        return None

    def _restore(self, step: int, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state), about=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=args)
            _check(jax.device_get(restored.state), restored.about["crc32"], self.directory / str(step))
        except Exception as error:  # whatever is wrong with this one, the one before may be whole
            raise UserError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from error
        return restored.state, restored.about

    def _put_aside(self, steps: Iterable[int]) -> None:
        """Rename damaged checkpoints: left in place, they would keep new ones of their steps from being saved."""
        if not steps:
            return
        if jax.process_index() == 0:
            for step in steps:
                aside = self.directory / f"damaged-{step}"
                shutil.rmtree(aside, ignore_errors=True)
                (self.directory / str(step)).rename(aside)
        raise_together(None)  # the others wait until it is done
        self._manager.reload()

    def close(self) -> None:
        """Wait for the save under way, then let go of the folder. Raises UserError if that save failed."""
        try:
            with failing_together(), self._writing():
                self._manager.wait_until_finished()
        finally:
            with contextlib.suppress(Exception):  # a save that failed is told above, and again here
                self._manager.close()

    def __enter__(self) -> "TrainingCheckpoints":
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        try:
            self.close()
        except UserError:
            if error_type is None:  # else the error under way comes first, and is most likely the same
                raise
