"""`benchmark.py start`: how soon the command that restores a photo is done with the first one."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report, timing
from mprnet_jax import images
from mprnet_jax.infer import SAMPLES
from mprnet_jax.restoring.options import DTYPES, ENGINES
from mprnet_jax.support.errors import UserError

COMPILED = "Finished XLA compilation"  # what JAX logs for each program
FROM_CACHE = "Persistent compilation cache hit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="denoising", help="whose shipped weights [%(default)s]")
    parser.add_argument("--input", type=Path, help="a picture [the task's first sample]")
    parser.add_argument("--starts", type=int, default=4, help="times the command runs [%(default)s]")
    parser.add_argument(
        "--sizes", type=int, default=100, help="pictures of a folder, each of its own size [%(default)s]"
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="of the command [%(default)s]")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="of the command [%(default)s]")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write JSON")


def main(args: argparse.Namespace) -> None:
    """Time of `python -m mprnet_jax.infer` on one photo, from an empty compile cache on, and of its import; then on a
    folder of small pictures that are all of different sizes.

    CPU s is what the process and its threads computed; on a busy machine the wall time is longer. programs: those that
    XLA compiled, and those that came from the cache.
    """
    samples = SAMPLES / args.task / "input"
    picture = args.input or next(iter(sorted(samples.glob("*"))), None)
    if picture is None:
        raise UserError(f"{samples}: no sample; name a picture with --input")
    rows, how = [], ["--engine", args.engine, "--dtype", args.dtype]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache", "JAX_LOG_COMPILES": "1"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        for number in range(args.starts):
            output = f"{folder}/{number}"
            command = [sys.executable, "-m", "mprnet_jax.infer", "--task", args.task, "--input", str(picture), *how]
            rows.append({"name": f"start {number + 1}", **run_command([*command, "--output", output], environment)})
            rows.append(
                {"name": "  import", **run_command([sys.executable, "-c", "import mprnet_jax.infer"], environment)}
            )
        sizes = _folder_of_sizes(Path(folder) / "sizes", args.sizes)
        # After one stage: as many programs as for three, which would only take longer.
        command = [sys.executable, "-m", "mprnet_jax.infer", "--task", args.task, "--input", str(sizes), "--stage", "1"]
        command += how
        rows.append(
            {"name": f"{args.sizes} sizes", **run_command([*command, "--output", f"{folder}/sized"], environment)}
        )
    cells = [
        [row["name"], f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}", str(row["compiled"]), str(row["from_cache"])]
        for row in rows
    ]
    print(report.table(["", "wall s", "CPU s", "programs compiled", "from the cache"], cells))
    if args.output:
        machine = report.machine(timing.use_threads(None))
        report.save(args.output, {"command": {"what": "start"}, "machine": machine, "results": rows})


def _folder_of_sizes(folder: Path, count: int) -> Path:
    """Pictures of 48 pixels a side and more, no two of one height or width."""
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(zip(*rng.permuted([range(48, 48 + count)] * 2, axis=1), strict=True)):
        images.write(folder / f"{number:03d}.png", rng.integers(0, 256, (height, width, 3), np.uint8))
    return folder


def run_command(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Wall and CPU seconds of a command from its start to its end, and the programs of XLA that its log tells of.

    Raises UserError if it fails.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed: {done.stderr.strip().splitlines()[-1]}")
    from_cache = done.stderr.count(FROM_CACHE)
    return {
        "wall_s": wall,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "compiled": max(0, done.stderr.count(COMPILED) - from_cache),
        "from_cache": from_cache,
    }
