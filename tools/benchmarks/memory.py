"""`benchmark.py memory`: memory and time to restore photos of 1 to 100 megapixels."""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report, timing
from mprnet_jax.support.errors import UserError

ASPECT = 3 / 2  # of the photos
TEXTURE = 64  # pixels, side of the noise that they repeat


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sizes = [1, 4, 12, 24, 50, 100]
    parser.add_argument("--megapixels", nargs="+", type=float, default=sizes, metavar="MP", help="[%(default)s]")
    parser.add_argument("--checkpoint", default="denoising", help="task or bundle [%(default)s]")
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=3, help="after which to stop [%(default)s]")
    parser.add_argument("--tile", default="auto", help="as in mprnet_jax.infer [%(default)s]")
    parser.add_argument("--alone", action="store_true", help="one size, in this process, as a line of JSON")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write JSON, and a plot FILE.svg beside it")


def main(args: argparse.Namespace) -> None:
    """Peak memory (of a process for each size) and time of Restorer on photos of many sizes, 8 bits, in memory.

    The photo and its restored copy are in it, 3 bytes a pixel each; a file's decoder and encoder are not.
    """
    if min(args.megapixels) <= 0:
        raise UserError("--megapixels must be positive")
    if args.alone:
        print(json.dumps(_alone(args, args.megapixels[0])))
        return
    rows = []
    for megapixels in args.megapixels:
        command = [sys.executable, sys.argv[0], "memory", "--alone", "--megapixels", str(megapixels)]
        command += ["--checkpoint", args.checkpoint, "--stage", str(args.stage), "--tile", args.tile]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{megapixels:g} MP failed: {(done.stderr.strip().splitlines() or ['killed'])[-1]}", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        tiles = f"tiles {row['tiles']:4d} of {row['tile']:5d}"
        seconds = f"{row['seconds']:7.1f} s  CPU {row['cpu_s']:7.1f} s"
        size = f"{row['megapixels']:6.1f} MP  {row['width']} x {row['height']}"
        print(f"{size}  {tiles}  {row['peak_bytes'] / 1e9:6.2f} GB  {seconds}", flush=True)
    if args.output and rows:
        machine = report.machine(timing.use_threads(None))
        command = {"what": "memory", "checkpoint": args.checkpoint, "stage": args.stage, "tile": args.tile}
        report.save(args.output, {"command": command, "machine": machine, "results": rows})
        _plot(args.output.with_suffix(".svg"), rows, f"{args.checkpoint}, {args.stage} stages: {machine['processor']}")


def _alone(args: argparse.Namespace, megapixels: float) -> dict[str, Any]:
    from mprnet_jax.restoring import Restorer

    height = round(math.sqrt(megapixels * 1e6 / ASPECT))
    width = round(height * ASPECT)
    texture = np.random.default_rng(0).integers(0, 256, (TEXTURE, TEXTURE, 3), np.uint8)
    photo = np.tile(texture, (height // TEXTURE + 1, width // TEXTURE + 1, 1))[:height, :width].copy()
    restorer = Restorer.from_pretrained(
        args.checkpoint, stages=args.stage, tile=int(args.tile) if args.tile.isdecimal() else args.tile
    )
    start, cpu = time.perf_counter(), time.process_time()
    restored = restorer(photo)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if restored.shape != photo.shape:
        raise AssertionError(f"{restored.shape} restored from {photo.shape}")
    tiles = restorer.plan(height, width)
    return {
        "megapixels": height * width / 1e6,
        "height": height,
        "width": width,
        "tiles": len(tiles),
        "tile": tiles.tile,
        "peak_bytes": timing.host_peak_bytes(),
        "seconds": seconds,
        "cpu_s": cpu,
    }


def _plot(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    figure = report.new_figure(8, 3.2)
    kinds = {"whole": [row for row in rows if row["tiles"] == 1], "in tiles": [row for row in rows if row["tiles"] > 1]}
    for ax, key, scale, label in zip(
        figure.subplots(1, 2), ("peak_bytes", "seconds"), (1e9, 1), ("peak memory, GB", "seconds"), strict=True
    ):
        for kind, some in kinds.items():
            ax.plot([row["megapixels"] for row in some], [row[key] / scale for row in some], marker="o", label=kind)
        ax.set(xlabel="megapixels", ylabel=label, ylim=(0, None))
        ax.grid(alpha=0.3)
        ax.legend()
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
