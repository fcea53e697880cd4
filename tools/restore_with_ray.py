"""Restore a folder or a bucket of pictures on a Ray cluster: every GPU of it, or every machine's cores.

python tools/restore_with_ray.py --task denoising --input /shared/photos --output /shared/restored
python tools/restore_with_ray.py --task denoising --address auto --input s3://photos --list names.txt --output s3://restored

Results keep their place below --output, and the input's name, format, bit depth, colour profile and EXIF. What is
existing is kept, so the same command goes on after a stop. A picture that cannot be restored is named, with the
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
from mprnet_jax.batch.run import Summary, make_folder
from mprnet_jax.batch.storage import Folder, open_storage
from mprnet_jax.checkpoints.pretrained import TASKS, bundle_path
from mprnet_jax.restoring import QUALITY, Restorer, add_restore_options, restore_options
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, exit_on_user_error
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.support.progress import Meter, say

COMMAND = "restore_with_ray"
# All but devices: a worker has one.
OPTIONS = ("tile", "overlap", "stages", "tlc", "patch_size", "self_ensemble", "dtype", "engine", "halo", "batch")
OPTIONS += ("strength", "strength_colour", "guard")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    weights.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=path_option,
        help="use the weights of this bundle; this machine alone reads it",
    )
    parser.add_argument("--input", metavar="DIR|URI", type=open_storage, required=True, help="where the pictures are")
    parser.add_argument(
        "--list", metavar="FILE", type=path_option, help="restore these alone: a name below --input on each line"
    )
    parser.add_argument("--output", metavar="DIR|URI", type=open_storage, required=True, help="where the results go")
    parser.add_argument("--format", choices=("png", "jpg", "tif", "webp"), help="of all results (default: the input's)")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of JPEGs, 1 to 100 (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="restore existing results again")
    add_restore_options(parser.add_argument_group("how weights are used"), OPTIONS)
    parser.add_argument(
        "--address", help="the cluster; auto: that of this machine (default: RAY_ADDRESS, or a new one)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="at most (default: as many as the cluster holds now)")
    parser.add_argument("--cpus-per-worker", type=int, metavar="N", help="cores of each (default: all of a machine)")
    add_cache_option(parser)
    args = parser.parse_args(argv)
    args.options = restore_options(parser, args)
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
    restorer: Restorer, bundle: Path, work: ray_workers.Work, waiting: list[str], existing: list[str], summary: Summary
) -> None:
    """In a folder: say if results that stay were made with other options, and note those of the ones to come."""
    if not isinstance(work.target, Folder):
        return
    folder, settings = work.target.root, settings_record.settings_of(restorer, bundle)
    if note := settings_record.note_of_others(folder, settings, len(existing)):
        say(f"{COMMAND}: note: {note}")
    if waiting:
        make_folder(folder)
        try:
            settings_record.record(folder, settings, replace=not existing)
        except UserError as error:
            summary.fail(error)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        ending = f".{args.format}" if args.format else None
        work = ray_workers.Work(args.input, args.output, ending, args.quality, args.overwrite)
        bundle = bundle_path(args.checkpoint or args.task)
        names = listed(args.list) if args.list else args.input.names()
        waiting, existing, failures = ray_workers.to_do(work, names)
        summary = Summary(COMMAND, skipped=len(existing))
        for error in failures:
            summary.fail(error)
        if waiting:
            # The GPU of this machine is for a worker: whoever comes first takes most of its memory.
            jax.config.update("jax_platforms", "cpu")
            join_cluster(args.address)  # before JAX starts its threads, which do not go with a fork
        restorer = Restorer.from_pretrained(bundle, args.options)
        note_settings(restorer, bundle, work, waiting, existing, summary)
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
    workers, record = set(), work.record()
    with Meter(len(names), "picture") as meter:
        for outcome in ray_workers.restore_all(restorer, work, names, resources, not args.no_compile_cache):
            if outcome.error:
                summary.fail(UserError(outcome.error))
            else:
                summary.restored += 1
                workers.add(outcome.worker)
                if record is not None:
                    try:
                        record.add(work.target.root / work.result(outcome.name), outcome.origin)
                    except OSError as error:
                        say(f"{COMMAND}: note: {outcome.name} is restored, but not recorded ({error})")
            meter.end()
    return workers


if __name__ == "__main__":
    main()
