"""`benchmark.py evaluate`: how long scoring takes, from files to the report."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=100, help="pairs in the set [%(default)s]")
    parser.add_argument("--width", type=int, default=480, help="pixels [%(default)s]")
    parser.add_argument("--height", type=int, default=320, help="pixels [%(default)s]")
    parser.add_argument("--protocol", nargs="+", default=["rain100h", "gopro", "custom"], help="[%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="threads [%(default)s]")


def main(args: argparse.Namespace) -> None:
    """Score restored files from end to end: reading, scores, hashes, CSV, JSON and the HTML report."""
    from mprnet_jax import images
    from mprnet_jax.evaluation import Request, evaluate

    rng = np.random.default_rng(0)
    y, x = np.mgrid[: args.height, : args.width][..., None] / 40
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(args.images):
            target = (
                0.5 + 0.3 * np.sin(x * (1 + i % 7) + np.arange(3)) * np.cos(y) + rng.normal(0, 0.05, (*x.shape[:2], 3))
            )
            for kind, noise in (("target", 0), ("input", 0.1), ("restored", 0.03)):
                images.write(root / kind / f"{i:04d}.png", target + rng.normal(0, 1, target.shape) * noise)
        print(f"{args.images} pairs of {args.width} x {args.height}, from files to the report")
        for protocol in args.protocol:
            for workers in args.workers:
                start = time.perf_counter()
                out = root / f"{protocol}_{workers}"
                evaluate(Request(protocol, root, out, restored=[root / "restored"], workers=workers))
                print(f"{protocol:10} {workers} threads  {time.perf_counter() - start:6.1f} s", flush=True)
