"""The loop of a training run: for each step a batch, the step itself, and what is due after it."""

import contextlib
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tqdm import tqdm

from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import replace_bundle
from mprnet_jax.data import pipeline
from mprnet_jax.data.sources.source import Source
from mprnet_jax.model import MPRNet, Params, abstract_params
from mprnet_jax.runtime import memory
from mprnet_jax.runtime.processes import Agreed, StopFlags, is_lead, raise_on_all_processes, raise_together
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.words import counted
from mprnet_jax.training import curves
from mprnet_jax.training.checkpoints import TrainingCheckpoints
from mprnet_jax.training.config import TrainConfig, to_json
from mprnet_jax.training.log import JsonLines, Log, Pace, TensorBoard
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.optimizer import make_optimizer
from mprnet_jax.training.schedule import Clock, Phase, Position, Timeline
from mprnet_jax.training.step import Measured, TrainState, init_state, make_train_step
from mprnet_jax.training.validation import Score, ValidationSet, make_predict, validate

CURVES_EVERY = 60  # seconds at least between two drawings, each of which takes one or two from the training
FORECAST_AFTER = 20  # steps: then it is said how long the run is going to take
LESS_MEMORY = "raise --accumulate, or lower --batch-size or --patch-size; --remat and --dtype bfloat16 help on GPUs"


class Due(NamedTuple):
    """What is to be done after a step."""

    log: bool
    validate: bool
    save: bool
    read: bool  # look whether the step was finite


def check_skipped(step: int, skipped: int, measured: Measured, limit: int, last_saved: int) -> str | None:
    """What to say of steps that were not finite since `skipped` were counted; None if there was none.

    Raises UserError after `limit` in a row.
    """
    if measured.skipped_in_row >= limit:
        raise UserError(
            f"the loss or its gradient was not finite {measured.skipped_in_row} steps in a row, up to step {step}; "
            f"the last checkpoint is of step {last_saved}. Lower learning_rate or set clip_norm, in a new --workdir"
        )
    new = measured.skipped - skipped
    what = "step was not finite and was skipped", "steps were not finite and were skipped"
    return f"step {step}: {counted(new, *what)}" if new else None


@contextlib.contextmanager
def explaining_out_of_memory() -> Iterator[None]:
    """Turn what JAX raises when memory does not suffice into a UserError with the remedies."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"the memory does not suffice for a step; {LESS_MEMORY}, in a new --workdir") from error


class Loop:
    """The parts of one run: they stay the same from step to step, but for what is marked."""

    def __init__(
        self,
        config: TrainConfig,
        workdir: Path,
        source: Source,
        sets: list[ValidationSet],
        timeline: Timeline,
        clock: Clock,
        make_bundle: Callable[..., Bundle],
    ) -> None:
        """`make_bundle`: (parameters, what they reached as keywords) -> the bundle to write."""
        self.config, self.workdir, self.source, self.sets = config, workdir, source, sets
        self.timeline, self.clock, self.make_bundle = timeline, clock, make_bundle
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.replicated, self.sharded = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
        self.flags = StopFlags(mesh)
        self.optimizer = make_optimizer(config)
        self.compiler_options = dispatch.training_options(config.dtype)
        model = MPRNet(config.model, dtype=jnp.dtype(config.dtype), remat=config.remat)
        self.predict = make_predict(model)
        self.train_step = make_train_step(
            model,
            self.optimizer,
            stages_loss(config.loss, config.clip_before_loss),
            ema_decay=config.ema_decay,
            accumulate=config.accumulate,
            mixup_from_step=config.mixup_from_epoch and timeline.first_step_of(config.mixup_from_epoch - 1) - 1,
            seed=config.seed,
            mesh=mesh,
        )
        self.draws_curves = is_lead() and curves.can_draw()
        clock.at_the_end = (
            "save",
            "bundle",
            *(["validation"] if sets else []),
            *(["curves"] if self.draws_curves else []),
        )
        # These change:
        self.pace = Pace()
        self.best: float | None = None  # mean gain in dB of the best validation
        self.drawn = time.monotonic()  # when curves were drawn last
        self.phase: Phase | None = None  # whose batches are open and whose step is compiled
        self.batches: pipeline.Batches | None = None
        self.compiled: Callable | None = None

    # Before the first step

    def first_or_latest_state(
        self, checkpoints: TrainingCheckpoints, first_params: Callable[[], Params], forget_best: bool = False
    ) -> TrainState:
        """The state that the run begins with or goes on from, on all devices.

        `forget_best`: of a best validation that was on other pictures.
        """
        init = functools.partial(init_state, optimizer=self.optimizer)
        restored = checkpoints.restore_latest(
            jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.replicated),
                jax.eval_shape(init, abstract_params(self.config.model)),
            )
        )
        if restored is None:
            with raise_on_all_processes():
                params = first_params()
            return jax.jit(init, out_shardings=self.replicated)(params)  # as one program, not one for every shape
        state, about, damaged = restored
        self.best = None if forget_best else about.get("best_gain")
        self.clock.add(about.get("seconds", 0.0))
        self.timeline.resume(about.get("phases", ()))
        for line in damaged if is_lead() else ():
            print(f"{line}; going on from the one before", file=sys.stderr)
        return state

    def prepare(self, state: TrainState, at: Position, step: int, say: Callable[[str], None]) -> None:
        """Compile the step of a position's patch size and open its batches, unless that is done."""
        if self.phase == at.phase:
            return
        self.close_batches()
        if is_lead():  # it may take minutes, in which nothing else moves
            say(f"compiling the step for patches of {at.phase.patch_size} pixels")
        with self.clock.measuring("change"):
            self.compiled, memory_line = self.compile(state, at.phase)
        self.batches = self.open_batches(at.phase, step)
        if self.config.patch_sizes:
            memory_line = f"patches of {at.phase.patch_size} pixels, {at.phase.batch_size} a step; {memory_line}"
        self.phase = at.phase
        if is_lead():
            say(memory_line)

    def compile(self, state: TrainState, phase: Phase) -> tuple[Callable, str]:
        """The compiled step, and what it takes of the memory that there is."""
        shape = (phase.batch_size, phase.patch_size, phase.patch_size, 3)
        image = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=self.sharded)
        lowered = self.train_step.lower(state, {"input": image, "target": image}, np.float32(0))
        compiled = dispatch.compile_with_options(lowered, self.compiler_options)
        memory.forget_traces()
        needed, free = memory.needed_bytes(compiled), memory.available_bytes()
        if jax.local_devices()[0].platform == "cpu":  # virtual devices share the machine's
            needed *= jax.local_device_count()
        line = f"a step takes about {needed / 1e9:.2g} GB of memory, {free / 1e9:.3g} GB are free"
        return compiled, line if needed < free else f"{line}: too little, it may fail; {LESS_MEMORY}"

    def open_batches(self, phase: Phase, step: int) -> pipeline.Batches:
        """This process's part of every batch, from a step (1 is the first) on."""
        return pipeline.batches(
            self.source,
            self.config.degradation,
            phase.patch_size,
            phase.batch_size,
            self.config.seed,
            start_step=phase.batch_number(step),
            saturation=self.config.saturation,
            on_damage=self.config.on_damage,
            cache_bytes=int(self.config.cache_gb * 1e9),
            workers=self.config.workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def close_batches(self) -> None:
        """Stop the threads and processes that prepare batches."""
        if self.batches is not None:
            self.batches.close()
            self.batches = None

    def open_log(self, bar: tqdm, start: int) -> Log:
        """The log of the lead; the other processes have one that goes nowhere."""
        sinks = []
        with raise_on_all_processes():
            if is_lead():
                sinks.append(JsonLines(self.workdir, start))
                if self.config.tensorboard:
                    sinks.append(TensorBoard(self.workdir, start))
        return Log(bar, sinks)

    def bar(self, start: int) -> tqdm:
        """A progress bar, in the lead only."""
        return tqdm(
            total=self.timeline.total_steps,
            initial=start,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 30,  # seconds; a file needs no more
            disable=not is_lead(),
        )

    # The steps

    def run(self, state: TrainState, checkpoints: TrainingCheckpoints, stop: list[int]) -> tuple[TrainState, bool]:
        """The steps from the state's to the last, or to the one at which any process is asked to stop.

        Returns the state, and whether the run has come to its end.
        """
        start = int(state.step)
        if self.timeline.total_steps is not None and start >= self.timeline.total_steps:
            return state, True
        skipped, measured, ended = int(state.skipped), None, False
        with contextlib.closing(self), self.bar(start) as bar, self.open_log(bar, start) as log:
            if start == 0 and self.config.minutes is not None:
                self.validate(state, 0, 0.0, log)  # where the run begins, and how long a validation takes
            self.prepare(state, self.timeline.at(start + 1), start + 1, log.say)
            self.pace = Pace()  # of the steps alone
            agreed = self.agree(stop)
            if start == 0 and agreed.progress >= 1:
                raise UserError(f"setting up took {self.clock.seconds:.0f} s, all of the time; give more --minutes")
            for step in itertools.count(start + 1):
                at = self.timeline.at(step, agreed.progress, agreed.change_cost)
                self.prepare(state, at, step, log.say)
                batch = self.next_batch(at.phase, measured)
                state, measured = self.compiled(state, batch, np.float32(at.learning_rate))
                self.pace.count(at.phase.batch_size)
                bar.update()

                self.publish(stop)
                due = self.due(step, at)
                agreed = self.flags.poll(latest=any(due))
                if due.read:
                    numbers = Measured(*(value.item() for value in jax.device_get(measured)))
                    last_saved = max(checkpoints.steps(), default=0)
                    notice = check_skipped(step, skipped, numbers, self.config.stop_after_skipped, last_saved)
                    if notice:
                        log.say(notice)
                    skipped = numbers.skipped
                if due.log:
                    self.log_step(step, at, numbers, agreed, log)
                if step == start + FORECAST_AFTER and self.timeline.total_steps and not at.is_last:
                    jax.block_until_ready(measured)
                    log.say(self.pace.forecast(self.timeline.total_steps - step))
                gain = self.validate(state, step, at.phase.epochs_before(step + 1), log) if due.validate else None
                is_best = gain is not None and gain == self.best and bool(self.config.best_kept)
                if due.save or is_best or agreed.stopping:
                    self.save(state, step, gain, checkpoints)
                ended = at.is_last
                if agreed.stopping or ended:
                    break
            with self.flags.keeping_error():
                self.draw()
        raise_together(self.flags.error)
        return state, ended

    def close(self) -> None:
        """Stop what prepares batches."""
        self.close_batches()

    def agree(self, stop: list[int]) -> Agreed:
        """What all processes know, at once; between the steps it is exchanged behind them."""
        self.publish(stop)
        return self.flags.poll(latest=True)

    def publish(self, stop: list[int]) -> None:
        """Tell the other processes what this one wants, and how late it is."""
        self.flags.publish(bool(stop), self.clock.progress(), self.clock.cost("change"))

    def due(self, step: int, at: Position) -> Due:
        """Whether something that happens every so many steps is due at this one."""
        config = self.config
        logs = step % config.log_every == 0 or at.is_last
        return Due(
            log=logs,
            validate=bool(self.sets) and (step % config.validate_every == 0 or at.is_last),
            save=step % config.save_every == 0 or at.is_last,
            # Reading blocks on the device, so only when logging or as often as the guard must look.
            read=logs or step % config.stop_after_skipped == 0,
        )

    def next_batch(self, phase: Phase, measured: Measured | None) -> dict[str, jax.Array]:
        """The next batch, on the devices; `measured`: of the step under way."""
        # A process whose data failed feeds NaN, so the collective step still runs; the finite check discards it until
        # all processes know.
        shape = (phase.batch_size // jax.process_count(), phase.patch_size, phase.patch_size, 3)
        batch = dict.fromkeys(("input", "target"), np.broadcast_to(np.float32(np.nan), shape))
        with self.flags.keeping_error():
            batch = self.pace.fetch(self.batches, measured and measured.loss)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(self.sharded, a), batch)

    # After a step

    def log_step(self, step: int, at: Position, numbers: Measured, agreed: Agreed, log: Log) -> None:
        """One line of what the step measured."""
        damaged = self.batches.skipped
        extra = {"skipped_pictures": damaged.total()} if damaged else {}
        if self.config.minutes is not None:
            extra["progress"] = agreed.progress
        epoch = round(at.phase.epochs_before(step + 1), 4)
        with self.flags.keeping_error():
            log.write(step=step, epoch=epoch, lr=at.learning_rate, **numbers._asdict(), **self.pace.measured(), **extra)

    def validate(self, state: TrainState, step: int, epoch: float, log: Log) -> float | None:
        """Score the averaged parameters on all sets, and keep them if they are the best so far.

        Returns the mean gain in dB over the untouched inputs; None if there is nothing to validate on.
        """
        if not self.sets:
            return None
        scores: dict[str, Score] = {}
        several = len(self.sets) > 1
        with self.clock.measuring("validation"):
            for name, pairs, _ in self.sets:
                score, strips = validate(self.predict, state.ema, pairs)
                scores[name] = score
                with self.flags.keeping_error():
                    of_set = {"set": name} if several else {}
                    log.write(step=step, epoch=round(epoch, 4), **of_set, **validation_line(score))
                    log.show(step, strips, name if several else "")
                    log.say(f"step {step}, epoch {epoch:.3g}, {name}: {describe(score)}")
        gain = float(np.mean([score.gain for score in scores.values()]))
        if several:
            with self.flags.keeping_error():
                log.write(step=step, validation_mean_gain=gain)
        if self.best is None or gain > self.best:
            self.best = gain
            with self.flags.keeping_error(), self.clock.measuring("bundle"):
                if is_lead():
                    replace_bundle(self.workdir / "best", self.make_bundle(state.ema, step=step, **reached(scores)))
        with self.flags.keeping_error():
            if time.monotonic() > self.drawn + CURVES_EVERY:
                self.draw()
        return gain

    def save(self, state: TrainState, step: int, gain: float | None, checkpoints: TrainingCheckpoints) -> None:
        """Save a checkpoint, in the background."""
        about = {
            "config": to_json(self.config),
            "best_gain": self.best,
            "seconds": self.clock.seconds,
            "phases": self.timeline.to_json(),
        }
        with self.clock.measuring("save"):
            checkpoints.save(step, state, about, gain)

    def draw(self) -> None:
        """Draw curves.png, where matplotlib is there."""
        if self.draws_curves:
            with self.clock.measuring("curves"):
                curves.draw(self.workdir)
            self.drawn = time.monotonic()


def validation_line(score: Score) -> dict[str, float]:
    """A score as the log has it."""
    return {**{f"validation_{name}": value for name, value in score._asdict().items()}, "validation_gain": score.gain}


def describe(score: Score) -> str:
    """A score for the screen: what the input has, what came, and the stages before the last."""
    return (
        f"input {score.input_psnr:.2f} -> {score.psnr:.2f} dB ({score.gain:+.2f}; stages 1 and 2: "
        f"{score.stage1_psnr:.2f}, {score.stage2_psnr:.2f}), SSIM {score.ssim:.4f}"
    )


def reached(scores: dict[str, Score]) -> dict[str, object]:
    """What a bundle says of its validation: the mean PSNR over the sets, and each set's scores."""
    return {
        "validation_psnr": float(np.mean([score.psnr for score in scores.values()])),
        "validation": {name: validation_line(score) for name, score in scores.items()},
    }
