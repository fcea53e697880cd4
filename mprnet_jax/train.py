"""Training: `python -m mprnet_jax.train --config configs/denoise.py`.

The workdir (runs/denoise unless --workdir names another) gets config.json, log.jsonl, curves.png, checkpoints/ (a run
that stopped goes on by itself when the command is given again), best/ (the bundle with the best validation so far) and,
at the end, bundle/. Both are what `python -m mprnet_jax.infer --checkpoint` takes.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import UserError, exit_on_user_error
from mprnet_jax.support.interrupts import ending_at_once, hold

COMMAND = "mprnet_jax.train"
EPILOG = f"""examples:
  train the published denoising network on your photos, of which a twentieth is kept to validate on:
    python -m {COMMAND} --config configs/clean_photos.py --data PHOTOS --validation-share 0.05
  the same in an hour, whatever the machine:
    python -m {COMMAND} --config configs/clean_photos.py --data PHOTOS --minutes 60
  two machines, the first of which is called a.local:
    python -m {COMMAND} ... --coordinator a.local:1234 --processes 2 --process 0    (on the other: --process 1)
  whatever SLURM or a TPU pod starts:
    python -m {COMMAND} ... --distributed

Every field of a recipe is an option, too: --config FILE --help lists them.
A run that stopped, for whatever reason, goes on when the same command is given again.
exit code: 0 if the run ended, or was stopped by Ctrl-C or SIGTERM and has saved where it was (only a run that ended has
bundle/ in its workdir); 2 for what you can mend; 130 if Ctrl-C stopped it before its first step, or a second one at
once"""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command itself; the fields of the recipe come on top."""
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
        "--workdir",
        metavar="DIR",
        type=path_option,
        help="folder for logs, checkpoints and the bundle (default: runs/ and the recipe)",
    )
    parser.add_argument("--resume", action="store_true", help="fail unless there is a checkpoint to go on from")
    parser.add_argument("--part", type=int, metavar="N", help="of a recipe in parts, train this one alone")
    parser.add_argument("--dry-run", action="store_true", help="two steps and a validation; nothing is kept")
    parser.add_argument(
        "--accept-other-data", action="store_true", help="go on with other pictures than the run was started with"
    )
    add_cache_option(parser)
    several = parser.add_argument_group("several processes, which share the folders; each runs this command")
    several.add_argument(
        "--distributed", action="store_true", help="let JAX find the others: SLURM, TPU pods, Open MPI"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0 on")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and train."""
    begun = time.monotonic()
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    own, overrides = parser.parse_known_args(argv)
    asks_for_help = bool({"-h", "--help"} & set(overrides))
    with exit_on_user_error(COMMAND):
        if asks_for_help:
            parser.print_help()
        if asks_for_help and own.config is None:
            return
        # Here: they import JAX, and Ctrl-C meanwhile must not be a traceback, nor --help wait for it.
        from mprnet_jax.checkpoints import orbax_errors
        from mprnet_jax.runtime import compile_cache, devices, jax_settings, processes
        from mprnet_jax.training import recipes, run

        recipes.check_spelling(overrides, ["--help", *(f"--{name.replace('_', '-')}" for name in vars(own))])
        if not own.config:
            raise UserError("name a recipe, for example --config configs/denoise.py; configs/README.md lists them")
        several = own.distributed or (own.coordinator, own.processes, own.process) != (None, None, None)
        if several and not asks_for_help:
            processes.start(own.coordinator, own.processes, own.process)
        orbax_errors.stay_quiet()
        if not own.no_compile_cache:
            compile_cache.use_compile_cache()
        with jax_settings.missing_devices_told(), processes.raise_on_all_processes():
            parts, notes = recipes.override_recipe(recipes.load_recipe(own.config), overrides, own.part, own.config)
            run.check_part(parts, own.part)
            if not several:  # before this block ends, which asks JAX for the processes, and so for its devices
                devices.make_devices_of_cores(run.devices_that_share(parts, devices.cores()))
        command = " ".join([f"python -m {COMMAND}", *argv])
        if own.dry_run:
            run.dry_run(parts[(own.part or 1) - 1], command)
            return
        workdir = own.workdir or Path("runs") / Path(own.config).stem
        for line in [*([] if own.workdir else [f"workdir: {workdir}"]), *notes]:
            run.say(line)
        options = {"resume": own.resume, "accept_other_data": own.accept_other_data}
        with jax_settings.standard_settings():
            run.train_parts(parts, workdir, command, own.part, seconds_before=time.monotonic() - begun, **options)


if __name__ == "__main__":
    hold()  # Ctrl-C while Python starts a second time
    from mprnet_jax.runtime.huge_pages import restart_with_huge_pages

    restart_with_huge_pages()
    with ending_at_once(COMMAND):
        main()
