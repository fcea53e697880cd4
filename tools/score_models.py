"""Score the weights of a task on degraded photos beside what people use without a network: PSNR, SSIM, one table.

python tools/score_models.py --task denoising --photos DIR --names configs/shipped/held_out.txt
Each photo is degraded with a seed of its own and rounded to 8 bits, as a file holds it. Denoising and deblurring:
PSNR over RGB and the mean of the channels' SSIM. Deraining: PSNR and SSIM of Y, as the field reports them. A
baseline's strength is chosen for it: the best in mean PSNR over these very photos. Clean photos show what the network
does where nothing is to be done (PSNR over RGB, all tasks).
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from baselines import BASELINES, bm3d
from tqdm import tqdm

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.pretrained import TASKS
from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.data.sources.source import read_names, split_folder
from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.support.errors import exit_on_user_error

# Task -> what is done to the photos. Gaussian noise and blur by one number each, rain by its three usual strengths.
CONDITIONS: dict[str, dict[str, Degradation]] = {
    "denoising": {
        **{f"sigma {sigma}": Noise((sigma, sigma)) for sigma in (15, 25, 50)},
        "50 photons": PoissonNoise((50, 50), (1, 1)),
        "500 photons": PoissonNoise((500, 500), (1, 1)),
    },
    "deraining": {
        "light rain": Rain(density=(0.02, 0.06), brightness=(0.2, 0.4)),
        "medium rain": Rain(density=(0.08, 0.15), brightness=(0.35, 0.55)),
        "heavy rain": Rain(density=(0.2, 0.25), brightness=(0.5, 0.7)),
    },
    "deblurring": {
        f"{low} to {high} px": MotionBlur(size=(low, high)) for low, high in ((3, 5), (5, 10), (10, 15), (15, 25))
    },
}
METRICS: dict[str, tuple[Callable, Callable]] = {
    "denoising": (metrics.psnr, metrics.ssim_per_channel),
    "deraining": (metrics.psnr_y, metrics.ssim_index_y),
    "deblurring": (metrics.psnr, metrics.ssim_per_channel),
}
Score = tuple[float, float]  # PSNR in dB, SSIM


def centre(photo: np.ndarray, size: int) -> np.ndarray:
    """The middle of a photo, `size` pixels wide and high, or what it has."""
    top, left = (max(0, (side - size) // 2) for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def mean_score(task: str, restored: list[np.ndarray], clean: list[np.ndarray]) -> Score:
    pairs = list(zip(restored, clean, strict=True))
    psnr, ssim = ([metric(*pair) for pair in pairs] for metric in METRICS[task])
    return float(np.mean(psnr)), float(np.mean(ssim))


def methods(task: str, restorer: Restorer, condition: str, with_bm3d: bool) -> dict[str, list[Callable]]:
    """Name -> the method at each of the strengths that are tried."""
    found = {"input": [lambda degraded: degraded], "this network": [restorer]}
    for baseline in BASELINES[task]:
        found[baseline.name] = [lambda x, b=baseline, s=s: b.restore(x, s) for s in baseline.strengths]
    if with_bm3d and condition.startswith("sigma "):
        found["BM3D, told sigma"] = [functools.partial(bm3d, sigma=float(condition.split()[1]))]
    return found


def score_condition(task: str, restorer: Restorer, clean: list[np.ndarray], name: str, with_bm3d: bool) -> list[dict]:
    """A row for each method on one condition."""
    degrade = CONDITIONS[task][name]
    degraded = [degrade(photo, np.random.default_rng(index)) for index, photo in enumerate(clean)]
    rows = []
    for method, strengths in methods(task, restorer, name, with_bm3d).items():
        steps = tqdm(strengths, desc=f"{name}, {method}", unit="strength", leave=False)
        score = max(mean_score(task, [restore(photo) for photo in degraded], clean) for restore in steps)
        rows.append({"condition": name, "method": method, "psnr": score[0], "ssim": score[1]})
    return rows


def score_clean(restorer: Restorer, clean: list[np.ndarray]) -> dict:
    scores = [metrics.psnr(restorer(photo), photo) for photo in tqdm(clean, desc="clean", leave=False)]
    return {
        "condition": "clean photos",
        "method": "this network",
        "psnr": float(np.mean(scores)),
        "lowest": min(scores),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--photos", type=Path, required=True, help="folder of clean photos")
    parser.add_argument("--names", type=Path, help="text file: score only the photos that it names")
    parser.add_argument("--checkpoint", help="bundle (default: the task's weights that ship)")
    parser.add_argument("--crop", type=int, help="only the centre of each photo, this many pixels wide and high")
    parser.add_argument("--bm3d", action="store_true", help="denoising: also BM3D (slow; pip install bm3d)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    with exit_on_user_error("score_models"):
        paths = split_folder(args.photos, read_names(args.names))[1] if args.names else images.find(args.photos)
        clean = [images.read(path) for path in paths]
        if args.crop:
            clean = [centre(photo, args.crop) for photo in clean]
        restorer = Restorer.from_pretrained(args.checkpoint or args.task)
        rows = []
        print(f"{len(clean)} photos\n\n| | method | PSNR | gain | SSIM |\n|---|---|---|---|---|")
        for condition in CONDITIONS[args.task]:
            found = score_condition(args.task, restorer, clean, condition, args.bm3d)
            for row in found:
                gain = "" if row["method"] == "input" else f"{row['psnr'] - found[0]['psnr']:+.2f} dB"
                print(
                    f"| {condition} | {row['method']} | {row['psnr']:.2f} dB | {gain} | {row['ssim']:.3f} |", flush=True
                )
            rows += found
        rows.append(score_clean(restorer, clean))
        print(f"| clean photos | this network | {rows[-1]['psnr']:.2f} dB | | |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
