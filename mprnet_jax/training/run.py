"""A training run from its recipe to its bundle: set up, take the steps, write the bundle. Recipes of several parts."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import SUMS, Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import TASKS, bundle_path
from mprnet_jax.checkpoints.provenance import ORIENTATION_SETS
from mprnet_jax.data.sources import open_folder
from mprnet_jax.data.sources.layouts import UNDERSTOOD
from mprnet_jax.data.sources.source import CleanPhotos, Source, length, read_names
from mprnet_jax.images.headers import header_of
from mprnet_jax.model import Params, count_parameters, init_params
from mprnet_jax.runtime.processes import check_alike, is_lead, raise_on_all_processes, stop_requests
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path
from mprnet_jax.support.words import counted
from mprnet_jax.training import validation
from mprnet_jax.training.checkpoints import TrainingCheckpoints
from mprnet_jax.training.config import LENGTHS, TrainConfig, to_json, with_types
from mprnet_jax.training.loop import Loop, explaining_out_of_memory
from mprnet_jax.training.schedule import Clock, Timeline
from mprnet_jax.training.validation import HELD_OUT, ValidationSet
from mprnet_jax.training.workdir import keep_config, keep_record, owning

COMMAND = "mprnet_jax.train"
DRY_STEPS = 2  # of a dry run: the second goes on with what the first left


def train(
    config: TrainConfig,
    workdir: str | Path,
    command: str = COMMAND,
    *,
    resume: bool = False,
    start: Path | None = None,
    accept_other_data: bool = False,
    seconds_before: float = 0.0,
) -> Path | None:
    """Run a recipe to its end, from the latest checkpoint in the workdir if there is one (`resume`: there must be one).

    `start`: a bundle to start from where the recipe names none, as the parts of a recipe do. `accept_other_data`: go
    on although the pictures are others than those that the run was started with. `seconds_before`: of a time budget,
    what was used before this call.

    Returns the bundle's folder, or None if Ctrl-C or SIGTERM stopped the run (after saving). In a run of several
    processes all call this, and see the same workdir; each gets what process 0 wrote.
    Raises UserError for data or a workdir that cannot be used, and when the loss stays not finite.
    """
    workdir = Path(workdir)
    bundle_folder, checkpoints_folder = workdir / "bundle", workdir / "checkpoints"
    clock = Clock(config.minutes)
    clock.add(seconds_before)
    with raise_on_all_processes():
        if resume and not any(checkpoints_folder.glob("*")):
            raise UserError(f"{workdir}: no checkpoint to go on from; correct --workdir, or leave out --resume")
        start_bundle = load_start(config, start)
        config = completed(config, start_bundle)
        source, sets = open_data(config)
        timeline = Timeline(config, length(source), jax.device_count() * config.accumulate)
    check_alike("recipes", fingerprint(to_json(config)))
    check_alike("pictures", fingerprint([list(source.names), *(list(each.source.names) for each in sets)]))

    with contextlib.ExitStack() as owned:
        other_validation = False
        with raise_on_all_processes():
            if is_lead():
                owned.enter_context(owning(workdir))
                keep_config(workdir, config)
                by_name = {"training": source, **{each.name: each.source for each in sets}}
                other_validation = keep_record(workdir, by_name, accept_other_data)
        with raise_on_all_processes():
            if not (workdir / "config.json").exists():
                raise UserError(
                    f"{workdir} is not the folder that process 0 writes to; choose one that all processes share"
                )
        if bundle_folder.exists():
            say(f"{workdir}: this run had ended before")
            return bundle_folder

        make_bundle = functools.partial(bundle_of, config, command)
        loop = Loop(config, workdir, source, sets, timeline, clock, make_bundle)
        with (
            explaining_out_of_memory(),
            TrainingCheckpoints(checkpoints_folder, config.checkpoints_kept, config.best_kept) as checkpoints,
        ):
            state = loop.first_or_latest_state(checkpoints, first_params(config, start_bundle), other_validation)
            step = int(state.step)
            say(describe(config, timeline, step, count_parameters(state.params), source, sets))
            for line in notices(config, timeline, source):
                say(line)
            if is_lead() and not loop.draws_curves:
                say("no curves.png: it needs matplotlib (pip install 'mprnet_jax[curves]')")
            with stop_requests() as stop:
                state, ended = loop.run(state, checkpoints, stop)
            if not ended:
                say(f"\nstopped at step {int(state.step)} and saved; the same command goes on from here")
                return None
            with raise_on_all_processes():
                if is_lead():
                    save_bundle(bundle_folder, make_bundle(state.ema, step=int(state.step)))
    return bundle_folder


def check_part(parts: Sequence[TrainConfig], part: int | None) -> None:
    """Raise UserError for the number of a part that there is not; 1 is the first, None all of them."""
    if part is not None and not 1 <= part <= len(parts):
        raise UserError(f"--part must be in 1..{len(parts)}, got {part}: that is how many parts the recipe has")


def devices_that_share(parts: Sequence[TrainConfig], cores: int) -> int:
    """How many devices, of so many cores, can share the batches of all parts."""
    return math.gcd(cores, *(part.batch_size // part.accumulate for part in parts))


def train_parts(
    parts: Sequence[TrainConfig], workdir: str | Path, command: str = COMMAND, part: int | None = None, **options: Any
) -> Path | None:
    """Train the parts of a recipe in order, in workdir/part1, part2 ..., each from the bundle of the one before.

    A recipe of one part is trained in the workdir itself. `part`: this one alone, 1 is the first. `options`: see train.
    Returns the last bundle's folder, or None if the run was stopped. Raises UserError as train does, and for a part
    that there is not or whose start is missing.
    """
    workdir = Path(workdir)
    check_part(parts, part)
    if len(parts) == 1:
        bundle = train(parts[0], workdir, command, **options)
        if bundle is not None:
            say(f"done: {bundle}")
        return bundle
    bundle = None
    for number in range(1, len(parts) + 1) if part is None else (part,):
        before = workdir / f"part{number - 1}" / "bundle" if number > 1 else None
        if before is not None and parts[number - 1].init_from is None and not before.is_dir():
            raise UserError(
                f"{before}: part {number} starts from this bundle, which is not there; train part {number - 1} first, "
                f"or name another start (--init-from)"
            )
        say(f"part {number} of {len(parts)}: {workdir / f'part{number}'}")
        bundle = train(parts[number - 1], workdir / f"part{number}", command, start=before, **options)
        if bundle is None:
            return None
        say(f"done: {bundle}")
        options.pop("seconds_before", None)  # of the first part
    return bundle


def dry_run(config: TrainConfig, command: str = COMMAND, start: Path | None = None) -> None:
    """Do all that a run does for a few steps, in a temporary workdir: open, compile, step, validate, save, write.

    Raises UserError for whatever would stop the run.
    """
    length_of_two = {**dict.fromkeys(LENGTHS), "steps": DRY_STEPS}
    short = dataclasses.replace(config, **length_of_two, patch_sizes=(), patch_size=config.last_patch_size)
    with tempfile.TemporaryDirectory(prefix="mprnet_jax_dry_run_") as folder:
        train(short, folder, command, start=start)
    say(f"dry run: {DRY_STEPS} steps, validation and bundle work; nothing was kept")


# What a run starts from


def load_start(config: TrainConfig, start: Path | None = None) -> Bundle | None:
    """The bundle that a run starts from: the one that the recipe names, or else `start`.

    Raises UserError if it is not the one whose SHA-256 the recipe gives.
    """
    if config.init_from is None and start is None:
        return None
    path = bundle_path(config.init_from or start)
    bundle = load_bundle(path)
    if config.init_from_sha256:
        found = hashlib.sha256((path / SUMS).read_bytes()).hexdigest()
        if found != config.init_from_sha256:
            raise UserError(
                f"{path}: not the bundle that this recipe starts from (SHA-256 of its {SUMS}: {found[:12]}..., the "
                f"recipe's: {config.init_from_sha256[:12]}...); its result will be another; name the right one "
                "(--init-from), or accept any with --init-from-sha256 None"
            )
    return bundle


def completed(config: TrainConfig, start: Bundle | None) -> TrainConfig:
    """The config with what it leaves to the bundle that it starts from: sizes, task, orientations.

    Raises UserError if the bundle holds a network of other sizes than the config.
    """
    if start is None:
        return dataclasses.replace(config, orientations=config.orientations or "all")
    if config.model is not None and start.config != config.model:
        sizes = {field: (theirs, getattr(config.model, field)) for field, theirs in vars(start.config).items()}
        differing = {field: pair for field, pair in sizes.items() if pair[0] != pair[1]}
        options = " ".join(f"--model.{field.replace('_', '-')} {pair[0]}" for field, pair in differing.items())
        raise UserError(
            f"{config.init_from or 'the start'} holds a network of other sizes than the config ("
            f"{', '.join(f'{field} {theirs}, not {ours}' for field, (theirs, ours) in differing.items())}); "
            f"add {options}, or start from another bundle"
        )
    task, unchanged = start.provenance.task, set(start.provenance.unchanged_under)
    inherited = next((word for word, names in ORIENTATION_SETS.items() if set(names) == unchanged), "none")
    return dataclasses.replace(
        config,
        model=start.config,
        task=config.task or (task if task in TASKS else None),
        orientations=config.orientations or inherited,
    )


def first_params(config: TrainConfig, start: Bundle | None) -> Callable[[], Params]:
    """What makes the parameters of the first step: those of the start bundle, or random ones."""
    return lambda: start.params if start is not None else init_params(config.model, config.seed)


# Data


def open_data(config: TrainConfig) -> tuple[Source, list[ValidationSet]]:
    """What to train on, and what to validate on: pictures kept out of it, and the sets of validation_data.

    Raises UserError that says what is wrong with a folder, or what is missing and where to get it.
    """
    folder = as_path(config.data)
    if not folder.is_dir():
        raise UserError(missing_data(config))
    source, held_out = open_folder.open_split(
        folder,
        crops=config.crops,
        held_out=read_names(as_path(config.held_out)) if config.held_out else frozenset(),
        validation_share=config.validation_share,
        scene_separator=config.scene_separator,
    )
    sources = {HELD_OUT: held_out} if held_out is not None else {}
    for name, other in validation.named_folders(config.validation_data).items():
        sources[name] = validation.open_validation(other)
    if config.degradation is None:
        for name, each in {str(config.data): source, **sources}.items():
            if not each.paired:
                raise UserError(
                    f"{name}: clean pictures only, and the recipe makes no input of them; name a folder of pairs "
                    "(input/, target/), or take a recipe with a degradation, for example configs/clean_photos.py"
                )
    return source, [validation.make_set(name, each, config.degradation) for name, each in sources.items()]


def missing_data(config: TrainConfig) -> str:
    """What to say of a data folder that is not there: what is needed, in which layouts, what builds and checks it."""
    needed = f"; this recipe needs {config.data_source}" if config.data_source else ""
    clean = "clean photos (JPEG, PNG ...), of which the recipe makes the input; or " if config.degradation else ""
    taken = f"{clean}{UNDERSTOOD}; or a download as its authors lay it out, or built by python -m mprnet_jax.data.build"
    return (
        f"{config.data}: no such folder{needed}. Layouts: {taken}. python tools/check_data.py FOLDER checks it; "
        "--data FOLDER names another"
    )


# What is said


def say(text: str) -> None:
    """Print a line, in the lead only."""
    if is_lead():
        print(text, flush=True)


def describe(
    config: TrainConfig, timeline: Timeline, step: int, parameters: int, source: Source, sets: list[ValidationSet]
) -> str:
    """The line that a run starts with."""
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    if jax.process_count() > 1:
        devices += f" in {jax.process_count()} processes"
    total = f"of {timeline.total_steps}" if timeline.total_steps else f"in {config.minutes:g} minutes"
    pictures = f"{counted(len(source.names), 'pair' if source.paired else 'clean photo')} to train on"
    if source.crops > 1:
        pictures += f" ({source.crops} crops each per epoch)"
    held_out = ", ".join(f"{len(each.pairs)} {each.name}" for each in sets) or "nothing"
    dtype = config.dtype
    if dtype == "bfloat16" and jax.default_backend() == "cpu":
        dtype += " through oneDNN" if dispatch.has_onednn_convolutions() else " (this jaxlib has no oneDNN for it)"
    return (
        f"{'Resumed at' if step else 'Starting:'} step {step} {total} ({timeline.phases[0].steps_per_epoch} "
        f"an epoch), {parameters:,} parameters in {dtype}, {pictures}, validation on {held_out}, devices: {devices}"
    )


def notices(config: TrainConfig, timeline: Timeline, source: Source) -> list[str]:
    """What of a run is probably not as it was meant, each in a line."""
    lines = []
    if config.cosine_epochs and timeline.last_rate() > config.learning_rate / 2:
        lines.append(
            f"the learning rate ends at {timeline.last_rate():.2g}, near its peak of {config.learning_rate:.2g}: "
            "cosine_epochs is longer than the run"
        )
    if isinstance(source, CleanPhotos) and (below := open_folder.unused_below(as_path(config.data))):
        lines.append(f"{config.data}: {counted(below, 'picture')} in folders below: not used; move them up to use them")
    side = max(phase.patch_size for phase in timeline.phases)
    small = []
    paths = [pair.target for pair in getattr(source, "pairs", ())] or getattr(source, "paths", ())
    for path in paths:
        with contextlib.suppress(UserError):  # damaged: that is said, or skipped, when it is read
            header = header_of(path)
            if min(header.width, header.height) < side:
                small.append(f"{path.name}, {header.width} x {header.height}")
    if small:
        lines.append(
            f"{len(small)} of {len(paths)} pictures are smaller than the patches of {side} pixels, first {small[0]}: "
            "they are mirrored at their borders; a smaller --patch-size would not"
        )
    return lines


def bundle_of(config: TrainConfig, command: str, params: Params, **reached: Any) -> Bundle:
    """The parameters with what made them, and what they `reached` at which step."""
    provenance = {
        "source": "trained by mprnet_jax.train",
        "command": command,
        "task": config.task,
        "orientations": config.orientations,
        "patch_size": config.last_patch_size,
        "degradation": with_types(config.degradation),
        "config": to_json(config),
        "version": importlib.metadata.version("mprnet_jax"),
    }
    return Bundle(config.model, jax.device_get(params), {**provenance, **reached})


def fingerprint(content: Any) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
