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

from mprnet_jax import bulk
from mprnet_jax.command_line import TILE_HELP, Parser, tile_option
from mprnet_jax.errors import EXIT_USER_ERROR, UserError, exit_on_user_error
from mprnet_jax.extras import import_extra
from mprnet_jax.places import place
from mprnet_jax.pretrained import TASKS
from mprnet_jax.progress import Progress, say
from mprnet_jax.restore import Restorer

COMMAND = "restore_with_ray"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--task", choices=TASKS, help="use the weights that ship with the package for this task")
    weights.add_argument("--checkpoint", metavar="DIR", help="use the weights of this bundle; this machine alone reads it")
    parser.add_argument("--input", metavar="DIR|URI", type=place, required=True, help="where the pictures are")
    parser.add_argument("--list", metavar="FILE", type=Path, help="restore these alone: a name below --input on each line")
    parser.add_argument("--output", metavar="DIR|URI", type=place, required=True, help="where the results go")
    parser.add_argument("--format", choices=("png", "jpg", "tif", "webp"), help="of all results (default: the input's)")
    parser.add_argument("--quality", type=int, default=95, help="of JPEGs, 1 to 100 (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="restore again what is there already")
    parser.add_argument("--tile", default="auto", metavar="auto|whole|N", type=tile_option, help=TILE_HELP)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=3, help="stop after this stage")
    parser.add_argument("--tlc", action="store_true", help="local means in the channel attention")
    parser.add_argument("--patch-size", type=int, metavar="N", help="training patch for --tlc, if the bundle names none")
    parser.add_argument("--self-ensemble", action="store_true", help="mean over 8 flips and rotations; 8 times slower")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="default: %(default)s")
    parser.add_argument("--address", help="the cluster; auto: that of this machine (default: RAY_ADDRESS, or a new one)")
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
        raise UserError(f"--list {path}: cannot be read ({error}); name a text file with a name on each line") from error


def join_cluster(address: str | None) -> None:
    ray = import_extra("ray", "ray", "ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a new cluster would send statistics to its makers
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--address {address}: no cluster there ({error}); start one with: ray start --head") from error


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # The GPU of this machine is for a worker: whoever comes first takes most of its memory.
    jax.config.update("jax_platforms", "cpu")
    with exit_on_user_error(COMMAND):
        work = bulk.Work(args.input, args.output, f".{args.format}" if args.format else None, args.quality)
        names = listed(args.list) if args.list else args.input.names()
        waiting, there, failed = bulk.to_do(work, names, args.overwrite)
        restorer = Restorer.from_pretrained(
            args.checkpoint or args.task,
            dtype=args.dtype,
            stages=args.stage,
            tlc=args.tlc,
            patch_size=args.patch_size,
            self_ensemble=args.self_ensemble,
            tile=args.tile,
        )
        for line in failed:
            say(f"{COMMAND}: error: {line}")
        workers = set()
        if waiting:
            join_cluster(args.address)
            resources = bulk.resources_of(import_extra("ray", "ray", "ray").nodes(), args.cpus_per_worker, args.workers)
            with Progress(len(waiting), "picture") as progress:
                for row in bulk.restore_all(restorer, work, waiting, resources, not args.no_compile_cache):
                    progress.end()
                    workers.add(row["worker"])
                    if row["error"]:
                        failed.append(row["error"])
                        say(f"{COMMAND}: error: {row['error']}")
        restored = len(waiting) + len(names) - len(names) - sum(1 for _ in ())
        print(restored)


if __name__ == "__main__":
    main()
