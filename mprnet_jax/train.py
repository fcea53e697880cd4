"""Training: `python -m mprnet_jax.train --config configs/denoise.py --workdir runs/denoise`.

The workdir gets config.json, log.jsonl, curves.png, checkpoints/ (a run that stopped goes on by itself when the command
is given again), best/ (the bundle with the best validation PSNR so far) and, at the end, bundle/. Both are what
`python -m mprnet_jax.infer --checkpoint` takes.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from mprnet_jax.checkpoints.bundle_writer import TrainingCheckpoints, save_bundle
from mprnet_jax.data import pipeline, sources
from mprnet_jax.data.sources import open_folder
from mprnet_jax.model import count_parameters
from mprnet_jax.runtime import processes
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import cores, make_devices_of_cores
from mprnet_jax.runtime.huge_pages import restart_with_huge_pages
from mprnet_jax.runtime.processes import check_alike, failing_together, is_lead, stop_requests
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error
from mprnet_jax.training.config import TrainConfig, keep_config, load_config, to_json
from mprnet_jax.training.loop import Run, out_of_memory_is_told
from mprnet_jax.training.overrides import apply_overrides
from mprnet_jax.training.validation import CROP

COMMAND = "mprnet_jax.train"


def open_data(config: TrainConfig) -> tuple[sources.Source, list[pipeline.Example]]:
    """What to train on, and centre crops of what to validate on (none if the recipe keeps nothing aside).

    Raises UserError that says what is wrong with the folder.
    """
    train, validation = open_folder.open_split(
        config.data,
        crops=config.crops,
        held_out=sources.read_names(config.held_out) if config.held_out else frozenset(),
        validation_share=config.validation_share,
        scene_separator=config.scene_separator,
    )
    if config.validation_data:
        validation = open_folder.open_source(config.validation_data, split="validation")
    if config.degradation is None and not all(source.paired for source in (train, validation) if source is not None):
        raise UserError(
            f"{config.data}: clean pictures only, and the recipe makes no input of them; name a folder of pairs "
            "(input/, target/), or take a recipe with a degradation, for example configs/denoise_photos.py"
        )
    if validation is None:
        return train, []
    return train, pipeline.validation_pairs(validation, config.degradation, CROP)


def train(config: TrainConfig, workdir: str | Path, command: str = COMMAND, resume: bool = False) -> Path | None:
    """Run a recipe to its end, from the latest checkpoint in the workdir if there is one (`resume`: there must be one).

    Returns the bundle's folder, or None if Ctrl-C or SIGTERM stopped the run (after saving). In a run of several
    processes all call this, and see the same workdir; each gets what process 0 wrote.
    Raises UserError for data or a workdir that cannot be used, and when the loss stays not finite.
    """
    workdir = Path(workdir)
    bundle_path, checkpoints_path = workdir / "bundle", workdir / "checkpoints"
    share = jax.device_count() * config.accumulate
    with failing_together():
        if resume and not any(checkpoints_path.glob("*")):
            raise UserError(f"{workdir}: no checkpoint to go on from; correct --workdir, or leave out --resume")
        if config.batch_size % share:
            raise UserError(
                f"batch_size {config.batch_size} cannot be shared by {jax.device_count()} devices "
                f"in {config.accumulate} parts each; make it a multiple of {share}"
            )
        source, pairs = open_data(config)
        run = Run(config, workdir, source, pairs, command)
    check_alike("recipes", fingerprint(to_json(config)))
    check_alike("pictures", fingerprint(list(source.names)))
    with failing_together():
        if is_lead():
            keep_config(workdir, config)
    with failing_together():
        if not (workdir / "config.json").exists():
            raise UserError(
                f"{workdir} is not the folder that process 0 writes to; choose one that all processes share"
            )
    if bundle_path.exists():
        if is_lead():
            print(f"{workdir}: this run has ended; its bundle is {bundle_path}")
        return bundle_path

    with (
        out_of_memory_is_told(),
        TrainingCheckpoints(checkpoints_path, config.checkpoints_kept, config.best_kept) as checkpoints,
    ):
        state = run.first_or_latest_state(checkpoints)
        if is_lead():
            print(run.describe(int(state.step), count_parameters(state.params)), flush=True)
        compiled, memory_line = run.compile(state)
        if is_lead():
            print(memory_line)
            if not run.draws_curves:
                print("no curves.png: it needs matplotlib (pip install 'mprnet_jax[curves]')")
        with stop_requests() as stop, run.bar(int(state.step)) as bar:
            state = run.steps(compiled, state, checkpoints, bar, stop)
        if int(state.step) < run.total_steps:
            if is_lead():
                print(f"\nstopped at step {int(state.step)} and saved; the same command goes on from here")
            return None
        with failing_together():
            if is_lead():
                save_bundle(bundle_path, run.bundle(state.ema, step=run.total_steps))
    if is_lead():
        print(f"done: {bundle_path}")
    return bundle_path


def fingerprint(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


EPILOG = f"""examples:
  train the light denoiser on your photos:
    python -m {COMMAND} --config configs/denoise_light.py --workdir runs/mine --data PHOTOS --held-out None
  two machines, the first of which is called a.local:
    python -m {COMMAND} ... --coordinator a.local:1234 --processes 2 --process 0    (on the other: --process 1)
  whatever SLURM or a TPU pod starts:
    python -m {COMMAND} ... --distributed

Every field of a recipe is an option, too: --config FILE --help lists them.
A run that stopped, for whatever reason, goes on when the same command is given again.
exit code: 0 if the run ended, or was stopped by Ctrl-C or SIGTERM and has saved where it was (only a run that ended has
bundle/ in its workdir); 2 for what you can mend; 130 if a second Ctrl-C stopped it at once"""


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"python -m {COMMAND}",
        add_help=False,  # that of the recipe's fields comes with it
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train MPRNet by a recipe.",
        epilog=EPILOG,
    )
    parser.add_argument("--config", metavar="FILE", type=path_option, help="recipe, for example configs/denoise.py")
    parser.add_argument(
        "--workdir", metavar="DIR", type=path_option, help="folder for logs, checkpoints and the bundle"
    )
    parser.add_argument("--resume", action="store_true", help="fail unless there is a checkpoint to go on from")
    parser.add_argument("--no-compile-cache", action="store_true", help="keep no compiled programs in ~/.cache")
    several = parser.add_argument_group("several processes, which share the folders; each runs this command")
    several.add_argument(
        "--distributed", action="store_true", help="let JAX find the others: SLURM, TPU pods, Open MPI"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0 on")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    own, overrides = parser.parse_known_args(argv)
    asks_for_help = bool({"-h", "--help"} & set(overrides))
    with exit_on_user_error(COMMAND):
        if asks_for_help:
            parser.print_help()
        if asks_for_help and own.config is None:
            return
        if not own.config or (not own.workdir and not asks_for_help):
            raise UserError("name a recipe and a folder: --config configs/denoise.py --workdir runs/denoise")
        several = own.distributed or (own.coordinator, own.processes, own.process) != (None, None, None)
        if several and not asks_for_help:
            processes.start(own.coordinator, own.processes, own.process)
        if not own.no_compile_cache:
            use_compile_cache()
        with failing_together():
            config = apply_overrides(
                load_config(own.config),
                overrides,
                prog=f"python -m {COMMAND} --config {own.config} --workdir DIR",
                description=f"Fields of {own.config}, all of which can be given here:",
            )
            if not several:
                make_devices_of_cores(math.gcd(config.batch_size // config.accumulate, cores()))
        train(config, own.workdir, command=f"python -m {COMMAND} {' '.join(argv)}", resume=own.resume)


if __name__ == "__main__":
    restart_with_huge_pages()
    main()
