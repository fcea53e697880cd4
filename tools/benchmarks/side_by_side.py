"""What `restore` and `train` share: their options, contestants in turns, peak memory in processes of their own."""

import argparse
import importlib
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import report, timing
from mprnet_jax.model import PRESETS
from mprnet_jax.runtime.devices import make_devices_of_cores
from mprnet_jax.support.errors import UserError

OURS = "mprnet_jax"
REFERENCE = "PyTorch eager"
LIBRARIES = ("torch", "onnx", "onnxruntime", "openvino")
Builders = dict[str, Callable[[], timing.Contestant]]

Size = tuple[int, int]  # height and width

Prepared = tuple[Builders, float | None]  # contestants by name, and the operations of one run if they can be counted
Prepare = Callable[[argparse.Namespace, str, Size], Prepared]  # of a preset at a size


def parse_size(text: str) -> Size:
    """Height and width of "256", a square, or of "1280x720", a width and a height."""
    width, _, height = text.partition("x")
    return int(height or width), int(width)


def add_arguments(parser: argparse.ArgumentParser, sizes: list[str], batch: int, presets: list[str]) -> None:
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=presets, help=f"[{' '.join(presets)}]")
    parser.add_argument(
        "--size",
        nargs="+",
        type=parse_size,
        default=[parse_size(size) for size in sizes],
        metavar="PIXELS",
        help=f"side of a square, or width and height as 1280x720 [{' '.join(sizes)}]",
    )
    parser.add_argument("--batch", type=int, default=batch, help="images at once [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each contestant [%(default)s]")
    parser.add_argument("--threads", type=int, help="cores to use [all]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contestants alone, by (part of) their names")
    parser.add_argument("--no-memory", action="store_true", help="measure no peak memory; it takes a process for each")
    parser.add_argument("--alone", metavar="NAME", help="print the memory in bytes that this contestant takes, no more")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write JSON, and a plot FILE.svg beside it")


def run(args: argparse.Namespace, what: str, prepare: Prepare) -> None:
    """Measure every preset at every size, print a table for each, and write the files."""
    if args.rounds < 1 or args.batch < 1 or any(side < 8 or side % 8 for size in args.size for side in size):
        raise UserError("--rounds and --batch must be at least 1, and the sides of --size multiples of 8")
    threads = timing.use_threads(args.threads)
    make_devices_of_cores(math.gcd(args.batch, threads))  # as our commands do
    if args.alone:
        return _print_own_memory(args, prepare)
    about = report.machine(threads)
    print(f"{about['processor']}, {threads} cores, {', '.join(about['devices'])}")
    load = os.getloadavg()[0]
    if load > threads / 4:
        print(
            f"the machine is busy (load {load:.1f}): runs on several cores wait for each other then, PyTorch's most; "
            "take --threads 1 and the CPU ratio, or measure again when it is idle"
        )
    peak = timing.peak_flops()
    print(f"large product of matrices: {peak / 1e9:.0f} GFLOP/s in {timing.peak_product()[1]}")
    groups: dict[str, list[dict[str, Any]]] = {}
    for preset in args.preset:
        for size in args.size:
            builders, flops = prepare(args, preset, size)
            chosen = _chosen(builders, args.only)
            with tqdm(bar_format="{desc}", leave=False, disable=None) as line:
                results = timing.interleave(chosen, args.rounds, line.set_description_str)
            for result in results:
                if not args.no_memory and not result.missing and set(about["devices"]) == {"cpu"}:
                    result.peak_bytes = _memory_alone(args, what, preset, size, result.name)
            height, width = size
            title = f"{preset}, {args.batch} x {height} x {width}"
            rows = groups[title] = report.summary(results, OURS, REFERENCE, flops, peak)
            print(f"\n{title}" + (f", {flops / 1e9:.0f} GFLOP" if flops else ""))
            report.print_rows(rows, OURS)
    if args.output:
        command = {"what": what, "rounds": args.rounds, "batch": args.batch}
        content = {
            "command": command,
            "machine": about,
            "load": load,
            "peak_gflops_per_s": peak / 1e9,
            "results": groups,
        }
        report.save(args.output, content)
        title = f"{what}: {about['processor']}, {threads} cores"
        report.plot_bars(args.output.with_suffix(".svg"), groups, OURS, title)


def _chosen(builders: Builders, only: list[str] | None) -> Builders:
    if not only:
        return builders
    chosen = {name: build for name, build in builders.items() if any(part.lower() in name.lower() for part in only)}
    if not chosen:
        raise UserError(f"--only names none of the contestants; they are {', '.join(builders)}")
    return chosen


def _memory_alone(args: argparse.Namespace, what: str, preset: str, size: Size, name: str) -> int | None:
    """The host's memory that one contestant takes in a process of its own; None if it fails."""
    command = [sys.executable, sys.argv[0], what, "--preset", preset, "--size", f"{size[1]}x{size[0]}", "--alone", name]
    command += ["--batch", str(args.batch)]
    command += ["--threads", str(args.threads)] if args.threads else []
    for option in ("dtype", "compile", "bfloat16", "remat"):  # those that decide who takes part
        value = getattr(args, option, None)
        if value:
            command += [f"--{option}", *(value if isinstance(value, list) else ())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else int(done.stdout.splitlines()[-1])


def _print_own_memory(args: argparse.Namespace, prepare: Prepare) -> None:
    """Print the peak of this process over what it held with all libraries loaded: everybody's are, so that nobody is
    charged for them."""
    for module in LIBRARIES:
        if importlib.util.find_spec(module):
            importlib.import_module(module)
    builders, _ = prepare(args, args.preset[0], args.size[0])
    before = timing.host_bytes()
    timing.interleave({args.alone: builders[args.alone]}, rounds=1)
    print(timing.host_peak_bytes() - before)
