"""Restore a folder or a bucket of pictures on a Ray cluster: every GPU of it, or every machine's cores.

python tools/restore_with_ray.py --task denoising --input /shared/photos --output /shared/restored
python tools/restore_with_ray.py --task denoising --address auto --input s3://photos --list names.txt --output s3://restored

Results keep their place below --output, and the input's name, format, bit depth, colour profile and EXIF. What is
there already is kept, so the same command goes on after a stop. A picture that cannot be restored is named, with the
reason, and the others are done; the exit code is then 2. Needs: pip install "mprnet_jax[ray]" on every machine.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from mprnet_jax.batch import ray_workers, settings_record
from mprnet_jax.batch.run import Summary
from mprnet_jax.batch.storage import Folder, place
from mprnet_jax.checkpoints.pretrained import TASKS, bundle_path
from mprnet_jax.infer import make_folder
from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.support.command_line import TILE_HELP, Parser, tile_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, exit_on_user_error, one_line
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.support.progress import Meter, say

COMMAND = "restore_with_ray"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    weights.add_argument(
        "--checkpoint", metavar="DIR", help="use the weights of this bundle; this machine alone reads it"
    )
    parser.add_argument("--input", metavar="DIR|URI", type=place, required=True, help="where the pictures are")
    parser.add_argument(
        "--list", metavar="FILE", type=Path, help="restore these alone: a name below --input on each line"
    )
    parser.add_argument("--output", metavar="DIR|URI", type=place, required=True, help="where the results go")
    parser.add_argument("--format", choices=("png", "jpg", "tif", "webp"), help="of all results (default: the input's)")
    parser.add_argument("--quality", type=int, default=95, help="of JPEGs, 1 to 100 (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="restore again what is there already")
    parser.add_argument("--tile", default="auto", metavar="auto|whole|N", type=tile_option, help=TILE_HELP)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=3, help="stop after this stage")
    parser.add_argument("--tlc", action="store_true", help="local means in the channel attention")
    parser.add_argument(
        "--patch-size", type=int, metavar="N", help="training patch for --tlc, if the bundle names none"
    )
    parser.add_argument("--self-ensemble", action="store_true", help="mean over 8 flips and rotations; 8 times slower")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="default: %(default)s")
    parser.add_argument(
        "--address", help="the cluster; auto: that of this machine (default: RAY_ADDRESS, or a new one)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="at most (default: as many as the cluster holds now)")
    parser.add_argument("--cpus-per-worker", type=int, metavar="N", help="cores of each (default: all of a machine)")
    parser.add_argument("--no-compile-cache", action="store_true", help="keep no compiled programs for the next start")
    args = parser.parse_args(argv)
    for name in ("workers", "cpus_per_worker", "quality"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= (100 if name == "quality" else value):
            parser.error(f"--{name.replace('_', '-')} {value}: out of range")
    return args


def listed(path: Path) -> list[str]:
    """The names in a text file, one on each line."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--list {path}: cannot be read ({error}); name a text file with a name on each line"
        ) from error


def join_cluster(address: str | None) -> None:
    ray = import_extra("ray", "ray", "ray")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's own advice against its warning
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a new cluster would send statistics to its makers
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--address {address}: no cluster there ({error}); start one with: ray start --head") from error


def note_settings(
    restorer: Restorer, bundle: Path, work: ray_workers.Work, waiting: list[str], there: list[str]
) -> None:
    """In a folder: say if results that stay were made with other options, and note those of the ones to come."""
    if not isinstance(work.target, Folder):
        return
    folder, settings = work.target.root, settings_record.settings_of(restorer, bundle)
    other = settings_record.other_settings(folder, settings)
    if there and other:
        kept = f"some of the {len(there)} results that are there already may be made with other options"
        say(f"{COMMAND}: note: {kept} ({one_line(other)}); --overwrite restores them again")
    if waiting:
        make_folder(folder)
        settings_record.record(folder, settings, replace=not there)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        work = ray_workers.Work(args.input, args.output, f".{args.format}" if args.format else None, args.quality)
        bundle = bundle_path(args.checkpoint or args.task)
        names = listed(args.list) if args.list else args.input.names()
        waiting, there, refused = ray_workers.to_do(work, names, args.overwrite)
        summary = Summary(COMMAND, skipped=len(there))
        for error in refused:
            summary.fail(error)
        if waiting:
            # The GPU of this machine is for a worker: whoever comes first takes most of its memory.
            jax.config.update("jax_platforms", "cpu")
            join_cluster(args.address)  # before JAX starts its threads, which do not go with a fork
        restorer = Restorer.from_pretrained(
            bundle,
            dtype=args.dtype,
            stages=args.stage,
            tlc=args.tlc,
            patch_size=args.patch_size,
            self_ensemble=args.self_ensemble,
            tile=args.tile,
        )
        note_settings(restorer, bundle, work, waiting, there)
        workers = restore(restorer, work, waiting, args, summary) if waiting else set()
        by = f", by {len(workers)} workers" if workers else ""
        print(f"{summary}{by}; results are in {args.output}")
        if summary.failed:
            sys.exit(EXIT_USER_ERROR)


def restore(
    restorer: Restorer, work: ray_workers.Work, names: list[str], args: argparse.Namespace, summary: Summary
) -> set[str]:
    """Restore the pictures on the cluster, note in the summary what becomes of each, and return who did it."""
    resources = ray_workers.resources_of(import_extra("ray", "ray", "ray").nodes(), args.cpus_per_worker, args.workers)
    workers = set()
    with Meter(len(names), "picture") as meter:
        for outcome in ray_workers.restore_all(restorer, work, names, resources, not args.no_compile_cache):
            if outcome.error:
                summary.fail(UserError(outcome.error))
            else:
                summary.restored += 1
                workers.add(outcome.worker)
            meter.end()
    return workers


if __name__ == "__main__":
    main()
