"""The steps of a training run: what they are made of, and what is written down on the way."""

import contextlib
import functools
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tqdm import tqdm

from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import TrainingCheckpoints, replace_bundle
from mprnet_jax.checkpoints.pretrained import bundle_path
from mprnet_jax.data import pipeline, sources
from mprnet_jax.model import MPRNet, Params, abstract_params, init_params
from mprnet_jax.runtime import memory
from mprnet_jax.runtime.processes import Crew, failing_together, is_lead, raise_together
from mprnet_jax.support.errors import UserError
from mprnet_jax.training import curves
from mprnet_jax.training.config import TrainConfig, to_json
from mprnet_jax.training.log import JsonLines, Log, Pace, TensorBoard
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.optimizer import make_optimizer, make_schedule
from mprnet_jax.training.step import TrainState, init_state, make_train_step
from mprnet_jax.training.validation import input_psnr, make_predict, validate

CURVES_EVERY = 60  # seconds at least between two drawings, each of which takes one or two from the training
FORECAST_AFTER = 20  # steps: then it is said how long the run is going to take
LESS_MEMORY = "raise --accumulate, or lower --batch-size or --patch-size; --remat and --dtype bfloat16 help on GPUs"


def first_params(config: TrainConfig) -> Params:
    """What a run starts from: random parameters, or those of the bundle that the config names.

    Raises UserError if the bundle holds a network of other sizes.
    """
    if config.init_from is None:
        return init_params(config.model, config.seed)
    bundle = load_bundle(bundle_path(config.init_from))
    if bundle.config != config.model:
        sizes = {field: (theirs, getattr(config.model, field)) for field, theirs in vars(bundle.config).items()}
        differing = {field: pair for field, pair in sizes.items() if pair[0] != pair[1]}
        options = " ".join(f"--model.{field.replace('_', '-')} {pair[0]}" for field, pair in differing.items())
        raise UserError(
            f"{config.init_from} holds a network of other sizes than the config ("
            f"{', '.join(f'{field} {theirs}, not {ours}' for field, (theirs, ours) in differing.items())}); "
            f"add {options}, or start from another bundle"
        )
    return bundle.params


def check_skipped(step: int, skipped: int, measured: dict[str, float], limit: int, last_saved: int) -> str | None:
    """What to say of steps that were not finite since `skipped` were counted; None if there was none.

    Raises UserError after `limit` in a row.
    """
    if measured["skipped_in_row"] >= limit:
        raise UserError(
            f"the loss or its gradient was not finite {measured['skipped_in_row']} steps in a row, up to step {step}; "
            f"the last checkpoint is of step {last_saved}. Lower learning_rate or set clip_norm, in a new --workdir"
        )
    new = measured["skipped"] - skipped
    return f"step {step}: {new} steps were not finite and left no trace" if new else None


def make_bundle(config: TrainConfig, command: str, params: Params, **reached: float) -> Bundle:
    """The parameters with what made them, and what they `reached` at which step."""
    provenance = {
        "source": "trained by mprnet_jax.train",
        "command": command,
        "patch_size": config.patch_size,
        "config": to_json(config),
        "version": importlib.metadata.version("mprnet_jax"),
    }
    return Bundle(config.model, jax.device_get(params), {**provenance, **reached})


@contextlib.contextmanager
def out_of_memory_is_told() -> Iterator[None]:
    """Turn what JAX raises when memory does not suffice into a UserError with the remedies."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"the memory does not suffice for a step; {LESS_MEMORY}, in a new --workdir") from error


class Run:
    """One recipe in one workdir: what does not change from its first step to its last."""

    def __init__(self, config: TrainConfig, workdir: Path, source: sources.Source, pairs: list, command: str) -> None:
        self.config, self.workdir, self.source, self.pairs = config, workdir, source, pairs
        self.bundle = functools.partial(make_bundle, config, command)
        self.steps_per_epoch = pipeline.steps_per_epoch(source, config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.replicated, self.sharded = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
        self.crew = Crew(mesh)
        self.schedule = make_schedule(config, self.steps_per_epoch)
        self.optimizer = make_optimizer(config, self.schedule)
        model = MPRNet(config.model, dtype=jnp.dtype(config.dtype), remat=config.remat)
        self.predict = make_predict(model)
        self.train_step = make_train_step(
            model,
            self.optimizer,
            stages_loss(config.loss, config.clip_before_loss),
            ema_decay=config.ema_decay,
            accumulate=config.accumulate,
            mixup_from_step=config.mixup_from_epoch and (config.mixup_from_epoch - 1) * self.steps_per_epoch,
            seed=config.seed,
            mesh=mesh,
        )
        self.best = 0.0  # validation PSNR in dB
        self.draws_curves = is_lead() and curves.can_draw()
        self.drawn = time.monotonic()  # when curves were drawn last

    def first_or_latest_state(self, checkpoints: TrainingCheckpoints) -> TrainState:
        """The state that the run begins with or goes on from, on all devices."""
        init = functools.partial(init_state, optimizer=self.optimizer)
        restored = checkpoints.restore_latest(
            jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.replicated),
                jax.eval_shape(init, abstract_params(self.config.model)),
            )
        )
        if restored is None:
            with failing_together():
                params = first_params(self.config)
            return jax.jit(init, out_shardings=self.replicated)(params)  # as one program, not one for every shape
        state, about, passed_over = restored
        self.best = about["best_psnr"]
        for line in passed_over if is_lead() else ():
            print(f"{line}; going on from the one before", file=sys.stderr)
        return state

    def describe(self, start: int, parameters: int) -> str:
        devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        if jax.process_count() > 1:
            devices += f" in {jax.process_count()} processes"
        return (
            f"{'Resumed at' if start else 'Starting:'} step {start} of {self.total_steps} ({self.steps_per_epoch} "
            f"an epoch), {parameters:,} parameters, {self.source!r} to train on, {len(self.pairs)} held out, "
            f"devices: {devices}"
        )

    def compile(self, state: TrainState) -> tuple[Callable, str]:
        """The compiled step, and what it takes of the memory that there is."""
        shape = (self.config.batch_size, self.config.patch_size, self.config.patch_size, 3)
        image = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=self.sharded)
        compiled = dispatch.compile_with_options(self.train_step.lower(state, {"input": image, "target": image}))
        memory.forget_traces()
        needed, free = memory.needed_bytes(compiled), memory.available_bytes()
        if jax.local_devices()[0].platform == "cpu":  # virtual devices share the machine's
            needed *= jax.local_device_count()
        line = f"a step takes about {needed / 1e9:.2g} GB of memory, {free / 1e9:.3g} GB are free"
        return compiled, line if needed < free else f"{line}: too little, it may fail; {LESS_MEMORY}"

    def batches(self, start: int) -> pipeline.Batches:
        """This process's part of every batch, from the step on that the run goes on from."""
        return pipeline.batches(
            self.source,
            self.config.degradation,
            self.config.patch_size,
            self.config.batch_size,
            self.config.seed,
            start_step=start,
            saturation=self.config.saturation,
            on_damage=self.config.on_damage,
            cache_bytes=int(self.config.cache_gb * 1e9),
            workers=self.config.workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def open_log(self, bar: tqdm, start: int) -> Log:
        """The log of the lead; the other processes have one that goes nowhere."""
        sinks = []
        with failing_together():
            if is_lead():
                sinks.append(JsonLines(self.workdir, start))
                if self.config.tensorboard:
                    sinks.append(TensorBoard(self.workdir, start))
        return Log(bar, sinks)

    def next_batch(self, pace: Pace, batches: pipeline.Batches, running: jax.Array | None) -> dict[str, jax.Array]:
        """The next batch, on the devices."""
        # With NaN a process that failed takes part until all know: the guard of the step leaves the state as it is.
        shape = (self.config.batch_size // jax.process_count(), self.config.patch_size, self.config.patch_size, 3)
        batch = dict.fromkeys(("input", "target"), np.broadcast_to(np.float32(np.nan), shape))
        with self.crew.keeping_error():
            batch = pace.fetch(batches, running)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(self.sharded, a), batch)

    def validate(self, state: TrainState, step: int, log: Log) -> float:
        """Score the averaged parameters, and keep them if they are the best so far."""
        score, strips = validate(self.predict, state.ema, self.pairs)
        with self.crew.keeping_error():
            log.write(step=step, validation_psnr=score)
            log.show(step, strips)
            if score > self.best and is_lead():
                replace_bundle(self.workdir / "best", self.bundle(state.ema, step=step, validation_psnr=score))
            if time.monotonic() > self.drawn + CURVES_EVERY:
                self.draw()
        return score

    def draw(self) -> None:
        if self.draws_curves:
            curves.draw(self.workdir)
            self.drawn = time.monotonic()

    def bar(self, start: int) -> tqdm:
        """A progress bar, in the lead only."""
        return tqdm(
            total=self.total_steps,
            initial=start,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 30,  # seconds; a file needs no more
            disable=not is_lead(),
        )

    def steps(
        self, compiled: Callable, state: TrainState, checkpoints: TrainingCheckpoints, bar: tqdm, stop: list[int]
    ) -> TrainState:
        """The steps from the state's to the last, or to the one at which any process is asked to stop."""
        config, start, skipped = self.config, int(state.step), int(state.skipped)
        measured: dict[str, jax.Array] = {}
        with contextlib.closing(self.batches(start)) as batches, self.open_log(bar, start) as log:
            if start == 0 and self.pairs:
                log.write(step=0, validation_input_psnr=input_psnr(self.pairs))
            pace = Pace(config.batch_size)
            for step in range(start + 1, self.total_steps + 1):
                state, measured = compiled(state, self.next_batch(pace, batches, measured.get("loss")))
                self.crew.tell(bool(stop))
                bar.update()
                last = step == self.total_steps
                logs = step % config.log_every == 0 or last
                validates = bool(self.pairs) and (step % config.validate_every == 0 or last)
                saves = step % config.save_every == 0 or last
                # Reading a value waits for the step: not at every one, but as often as the guard must look.
                reads = logs or step % config.stop_after_skipped == 0
                stopping = self.crew.hear(latest=reads or validates or saves)
                if reads:
                    numbers = {name: value.item() for name, value in jax.device_get(measured).items()}
                    last_saved = max(checkpoints.steps(), default=0)
                    notice = check_skipped(step, skipped, numbers, config.stop_after_skipped, last_saved)
                    if notice and is_lead():
                        bar.write(notice)
                    skipped = numbers["skipped"]
                if logs:
                    passed_over = {"passed_over": batches.passed_over.total()} if batches.passed_over else {}
                    with self.crew.keeping_error():
                        lr = float(self.schedule(step - 1))
                        log.write(step=step, lr=lr, **numbers, **pace.measured(), **passed_over)
                if step == start + FORECAST_AFTER and not last and is_lead():
                    jax.block_until_ready(measured)
                    bar.write(pace.forecast(self.total_steps - step))
                score = self.validate(state, step, log) if validates else None
                better = score is not None and score > self.best
                self.best = max(self.best, score or 0.0)
                if stopping or saves or (better and config.best_kept):
                    about = {"config": to_json(config), "best_psnr": self.best}
                    checkpoints.save(step, state, about, score)
                if stopping:
                    break
            with self.crew.keeping_error():
                self.draw()
        raise_together(self.crew.error)
        return state
