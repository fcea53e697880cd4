"""Training: `python -m mprnet_jax.train --config configs/denoise.py --workdir runs/denoise`.

The workdir gets config.json, log.jsonl, checkpoints/ (a run that stopped goes on by itself when the command is given
again), best/ (the bundle with the best validation PSNR so far) and, at the end, bundle/. Both are what
`python -m mprnet_jax.infer --checkpoint` takes.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tqdm import tqdm

from mprnet_jax import images, metrics
from mprnet_jax.checkpoint import Bundle, TrainingCheckpoints, load_bundle, replace_bundle, save_bundle
from mprnet_jax.config import WITHOUT_EFFECT, TrainConfig, load_config, to_json
from mprnet_jax.data import opening, pipeline, sources
from mprnet_jax.errors import UserError, exit_on_user_error
from mprnet_jax.losses import stages_loss
from mprnet_jax.model import MPRNet, Params, count_parameters, init_params
from mprnet_jax.optimizer import make_optimizer, make_schedule
from mprnet_jax.train_step import init_state, make_train_step

VALIDATION_CROP = 256  # pixels, side of the centre crop of each held-out picture
COMMAND = "mprnet_jax.train"


def open_data(config: TrainConfig) -> tuple[sources.Source, list[pipeline.Example]]:
    """What to train on, and centre crops of what to validate on (none if the recipe keeps nothing aside).

    Raises UserError that says what is wrong with the folder.
    """
    train, validation = opening.open_split(
        config.data,
        crops=config.crops,
        held_out=sources.read_names(config.held_out) if config.held_out else frozenset(),
        validation_share=config.validation_share,
        scene_separator=config.scene_separator,
    )
    if config.validation_data:
        validation = opening.open_source(config.validation_data, split="validation")
    if validation is None:
        return train, []
    return train, pipeline.validation_pairs(validation, config.degradation, VALIDATION_CROP)


def validate(predict: Callable, params: Params, pairs: Sequence[pipeline.Example]) -> float:
    """Mean PSNR in dB of the restored pairs, rounded to uint8 as a saved picture is."""
    scores = []
    for pair in pairs:
        restored = np.asarray(predict(params, images.to_float(pair["input"])[None]))[0]
        scores.append(metrics.psnr(images.to_uint8(restored), pair["target"]))
    return float(np.mean(scores))


class Log:
    """log.jsonl: a line of JSON for everything that was measured; also what the progress bar shows."""

    def __init__(self, workdir: Path, bar: tqdm, start: int) -> None:
        """`start`: the step that the run goes on from; what a killed run wrote after it is taken out."""
        path, new = workdir / "log.jsonl", workdir / "log.jsonl.new"
        kept = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= start and start]
        new.write_text("".join(kept), encoding="utf-8")
        new.replace(path)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed by __exit__)
        self._bar = bar

    def write(self, **measured: float | str) -> None:
        line = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in measured.items()}
        print(json.dumps({**line, "time": round(time.time(), 1)}), file=self._file, flush=True)
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in line.items() if isinstance(v, float)})

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def refuse_other_config(workdir: Path, config: TrainConfig) -> None:
    """Write config.json, or compare with the one that is there."""
    path, new = workdir / "config.json", to_json(config)
    if not path.exists():
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{workdir}: cannot be made ({error.strerror}); choose another --workdir") from error
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    fields = sorted({*old, *new} - {*WITHOUT_EFFECT})
    differing = [
        f"{field} was {old.get(field)}, is {new.get(field)}" for field in fields if old.get(field) != new.get(field)
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(differing)}); choose another --workdir, "
            "or give the config of that run"
        )


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM (preemption) append to, so that a run can stop between two steps."""
    requests: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda received, _: requests.append(received)) for number in numbers]
    try:
        yield requests
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


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


def train(config: TrainConfig, workdir: str | Path, command: str = COMMAND) -> Path | None:
    """Run a recipe to its end, from the latest checkpoint in the workdir if there is one.

    Returns the bundle's folder, or None if Ctrl-C or SIGTERM stopped the run (after saving).
    Raises UserError for data or a workdir that cannot be used, and when the loss stays not finite.
    """
    workdir = Path(workdir)
    bundle_path = workdir / "bundle"
    source, pairs = open_data(config)
    steps_per_epoch = pipeline.steps_per_epoch(source, config.batch_size)
    total_steps = config.epochs * steps_per_epoch
    if config.batch_size % (jax.device_count() * config.accumulate):
        raise UserError(
            f"batch_size {config.batch_size} cannot be shared by {jax.device_count()} devices "
            f"in {config.accumulate} parts each; make it a multiple of {jax.device_count() * config.accumulate}"
        )
    refuse_other_config(workdir, config)
    if bundle_path.exists():
        print(f"{workdir}: this run has ended; its bundle is {bundle_path}")
        return bundle_path

    model = MPRNet(config.model, dtype=jnp.dtype(config.dtype), remat=config.remat)
    schedule = make_schedule(config, steps_per_epoch)
    optimizer = make_optimizer(config, schedule)
    train_step = make_train_step(
        model,
        optimizer,
        stages_loss(config.loss, config.clip_before_loss),
        ema_decay=config.ema_decay,
        accumulate=config.accumulate,
        mixup_from_step=config.mixup_from_epoch and (config.mixup_from_epoch - 1) * steps_per_epoch,
        seed=config.seed,
    )
    predict = jax.jit(lambda params, image: model.apply({"params": params}, image)[0])
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    replicated, sharded = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    to_devices = functools.partial(jax.tree.map, lambda a: jax.make_array_from_process_local_data(sharded, a))
    state = jax.device_put(init_state(first_params(config), optimizer), replicated)

    bundle = functools.partial(make_bundle, config, command)
    with TrainingCheckpoints(workdir / "checkpoints") as checkpoints:
        start, best, skipped = 0, 0.0, 0  # best: validation PSNR in dB
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated), state)
        restored = checkpoints.restore_latest(abstract)
        if restored is not None:
            state, about, passed_over = restored
            start, best, skipped = int(state.step), about["best_psnr"], int(state.skipped)
            for line in passed_over:
                print(f"{line}; going on from the one before", file=sys.stderr)
        print(
            f"{'Resumed at' if start else 'Starting:'} step {start} of {total_steps} ({steps_per_epoch} an epoch), "
            f"{count_parameters(state.params):,} parameters, {source!r} to train on, "
            f"{len(pairs)} held out, devices: {jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        batches = pipeline.batches(
            source,
            config.degradation,
            config.patch_size,
            config.batch_size,
            config.seed,
            start_step=start,
            saturation=config.saturation,
            on_damage=config.on_damage,
            cache_bytes=int(config.cache_gb * 1e9),
            workers=config.workers,
        )
        with (
            contextlib.closing(batches),
            stop_requests() as stop,
            tqdm(total=total_steps, initial=start, unit="step", dynamic_ncols=True) as bar,
            Log(workdir, bar, start) as log,
        ):
            if start == 0 and pairs:
                noisy = [metrics.psnr(pair["input"], pair["target"]) for pair in pairs]
                log.write(step=0, validation_input_psnr=float(np.mean(noisy)))
            for step in range(start + 1, total_steps + 1):
                state, measured = train_step(state, to_devices(next(batches)))
                bar.update()
                logged = step % config.log_every == 0 or step == total_steps
                # Reading a value waits for the step: not at every one, but as often as the guard must look.
                if logged or step % config.stop_after_skipped == 0:
                    numbers = {name: value.item() for name, value in jax.device_get(measured).items()}
                    if logged:
                        log.write(step=step, lr=float(schedule(step - 1)), **numbers)
                    last_saved = max(checkpoints.steps(), default=0)
                    notice = check_skipped(step, skipped, numbers, config.stop_after_skipped, last_saved)
                    if notice:
                        bar.write(notice)
                    skipped = numbers["skipped"]
                if pairs and (step % config.validate_every == 0 or step == total_steps):
                    score = validate(predict, state.ema, pairs)
                    log.write(step=step, validation_psnr=score)
                    if score > best:
                        best = score
                        replace_bundle(workdir / "best", bundle(state.ema, step=step, validation_psnr=score))
                if stop or step % config.save_every == 0 or step == total_steps:
                    checkpoints.save(step, state, {"config": to_json(config), "best_psnr": best})
                if stop:
                    print(f"\nstopped at step {step} and saved; the same command goes on from here")
                    return None
        save_bundle(bundle_path, bundle(state.ema, step=total_steps))
    print(f"done: {bundle_path}")
    return bundle_path


def first_params(config: TrainConfig) -> Params:
    """What a run starts from: random parameters, or those of the bundle that the config names.

    Raises UserError if the bundle holds a network of other sizes.
    """
    if config.init_from is None:
        return init_params(config.model, config.seed)
    bundle = load_bundle(config.init_from)
    if bundle.config != config.model:
        raise UserError(f"{config.init_from} holds a network of {bundle.config}, the config wants {config.model}")
    return bundle.params


def main(argv: Sequence[str] | None = None) -> None:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog=f"python -m {COMMAND}", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="recipe, for example configs/denoise.py")
    parser.add_argument("--workdir", metavar="DIR", help="folder for logs, checkpoints and the bundle")
    own, overrides = parser.parse_known_args(argv)
    with exit_on_user_error(COMMAND):
        if own.config is None and {"-h", "--help"} & set(overrides):
            parser.print_help()
            print(f"\nevery field of a recipe can be given, too: python -m {COMMAND} --config FILE --help lists them")
            return
        if not own.config or (not own.workdir and not {"-h", "--help"} & set(overrides)):
            parser.print_usage(sys.stderr)
            raise UserError("name a recipe and a folder: --config configs/denoise.py --workdir runs/denoise")
        config = tyro.cli(
            tyro.conf.AvoidSubcommands[TrainConfig],  # --degradation.sigma is of the kind that the file chose
            default=load_config(own.config),
            args=overrides,
            prog=f"python -m {COMMAND} --config FILE --workdir DIR",
            description=f"Train MPRNet. Every field of {own.config} can be overridden here.",
        )
        train(config, own.workdir, command=f"python -m {COMMAND} {' '.join(argv)}")


if __name__ == "__main__":
    main()
