"""The checkpoints of a training run, through Orbax: all of its state, so that it goes on exactly where it stopped."""

import contextlib
import json
import math
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mprnet_jax.checkpoints.orbax_errors import quiet_orbax, system_error
from mprnet_jax.runtime.processes import is_lead, raise_on_all_processes, raise_together
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import real

SCORE = "gain"  # under which a checkpoint's validation score is kept


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


class TrainingCheckpoints:
    """The checkpoints of one run in `directory`; saving goes on in the background.

    The `latest` newest are kept (more than one, in case the newest is damaged), and the `best` ones by the score that
    they were saved with. In a run of several processes all must call every method, and see the same folder.
    """

    def __init__(self, directory: str | Path, latest: int = 2, best: int = 0) -> None:
        self.directory = real(directory)
        score = lambda metrics: metrics.get(SCORE, -math.inf)  # older runs kept it under another name
        kept = [checkpoint_managers.LatestN(latest)]
        if best:
            by_score = checkpoint_managers.BestN(get_metric_fn=score, n=best, keep_checkpoints_without_metrics=False)
            kept.append(by_score)
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            best_fn=score,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(kept),
        )
        self._quiet = contextlib.ExitStack()  # until close: saving goes on in the background
        self._quiet.enter_context(quiet_orbax())
        self._remove_damaged_scores()
        with self._writing():
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    def _remove_damaged_scores(self) -> None:
        """Orbax reads the scores of all checkpoints at once, and stops at the first that it cannot read."""
        if is_lead():
            for folder in self.directory.glob("[0-9]*/metrics"):
                try:
                    metrics = json.loads((folder / "metrics").read_text(encoding="utf-8"))
                    whole = all(isinstance(value, int | float) and math.isfinite(value) for value in metrics.values())
                except (OSError, ValueError, AttributeError):
                    whole = False
                if not whole:
                    shutil.rmtree(folder, ignore_errors=True)
        raise_together(None)  # the others wait until it is done

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
        with raise_on_all_processes(), self._writing():
            self._manager.save(step, args=args, metrics=metrics, force=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what a full disk makes Orbax raise, of half a dozen types, into a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            reason = system_error(error)
            if reason is None:
                raise
            last = max((int(path.name) for path in self.directory.glob("*") if path.name.isdecimal()), default=None)
            goes_on = "the same command starts again" if last is None else f"the same command goes on from step {last}"
            raise UserError(
                f"{self.directory}: a checkpoint cannot be written ({reason}); make room there, then {goes_on}"
            ) from error

    def restore_latest(self, abstract_state: Any) -> tuple[Any, dict[str, Any], list[str]] | None:
        """The newest whole checkpoint: state, what was saved beside it, and a line for each damaged one skipped.

        `abstract_state` holds jax.ShapeDtypeStruct leaves with shardings; the devices may be others than those of the
        run that saved it. A damaged checkpoint is put aside, as damaged-<step>, once an older one proved whole. None if
        there is no checkpoint at all. Raises UserError if there are checkpoints and none is whole.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                with raise_on_all_processes():
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
            with raise_on_all_processes(), self._writing():
                self._manager.wait_until_finished()
        finally:
            with contextlib.suppress(Exception):  # a save that failed is told above, and again here
                self._manager.close()
            self._quiet.close()

    def __enter__(self) -> "TrainingCheckpoints":
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        try:
            self.close()
        except UserError:
            if error_type is None:  # else the error under way comes first, and is most likely the same
                raise
