"""`benchmark.py degradations`: how many training crops a core makes in a second, of each degradation."""

import argparse
import time
from pathlib import Path

import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, help="folder of clean photos (default: the samples that ship)")
    parser.add_argument("--patch-size", type=int, default=128, help="pixels [%(default)s]")
    parser.add_argument("--crops", type=int, default=60, help="of each degradation [%(default)s]")


def main(args: argparse.Namespace) -> None:
    """Crops a second of CPU time in one thread, augmentation included; decoded photos are in memory, as in training."""
    from show_degradations import SHOWN

    from mprnet_jax import images
    from mprnet_jax.checkpoints.pretrained import SAMPLES
    from mprnet_jax.data.pipeline import CropAndAugment

    photos = [images.read(path) for path in images.find(args.photos or SAMPLES / "denoising" / "target")]
    print(f"{args.patch_size} x {args.patch_size}\n\n| degradation | crops a CPU second | ms a crop |\n|---|---|---|")
    for name, degradation in SHOWN.items():
        cut = CropAndAugment(args.patch_size, degradation, saturation=0.0)
        start = time.process_time()
        for seed in range(args.crops):
            cut.random_map({"target": photos[seed % len(photos)]}, np.random.default_rng(seed))
        seconds = (time.process_time() - start) / args.crops
        print(f"| {name} | {1 / seconds:.0f} | {1e3 * seconds:.1f} |", flush=True)
