"""Score weights beside what people use without a network: PSNR, SSIM, one table.

python tools/score_models.py --task denoising --photos DIR --names configs/shipped/held_out.txt
python tools/score_models.py --task denoising --pairs dslr=DIR phones=DIR --checkpoint denoising runs/new/bundle
--photos: clean photos, each degraded with a seed of its own and rounded to 8 bits, as a file holds it; and left clean,
to show what the network does where nothing is to be done (PSNR over RGB, all tasks). --pairs: genuine pairs, in input/
and target/ of a folder, restored also with --self-ensemble's options and by the earlier stages. Denoising and
deblurring: PSNR over RGB and the mean of the channels' SSIM. Deraining: PSNR and SSIM of Y, as the field reports them.
A baseline's strength is chosen for it: the best in mean PSNR over these very pictures.
"""

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from baselines import BASELINES, BM3D, bm3d
from tqdm import tqdm

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.pretrained import TASKS
from mprnet_jax.data import sources
from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.data.sources.open_folder import find_pairs
from mprnet_jax.data.sources.splits import hold_out
from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.errors import UserError, exit_on_user_error

SHAKE, MEDIUM_RAIN = MotionBlur(size=(10, 10)), Rain(density=(0.08, 0.15), brightness=(0.35, 0.55))
# Task -> what is done to the photos. Gaussian noise and blur by one number each, rain by its three usual strengths.
CONDITIONS: dict[str, dict[str, Degradation]] = {
    "denoising": {
        **{f"sigma {sigma}": Noise((sigma, sigma)) for sigma in (15, 25, 50)},
        **{f"sigma 25, JPEG {q}": Chain((Noise((25, 25)), Jpeg((q, q)))) for q in (95, 90, 75)},
        "50 photons": PoissonNoise((50, 50), (1, 1)),
        "500 photons": PoissonNoise((500, 500), (1, 1)),
    },
    "deraining": {
        "light rain": Rain(density=(0.02, 0.06), brightness=(0.2, 0.4)),
        "medium rain": MEDIUM_RAIN,
        "medium rain, JPEG 90": Chain((MEDIUM_RAIN, Jpeg((90, 90)))),
        "heavy rain": Rain(density=(0.2, 0.25), brightness=(0.5, 0.7)),
    },
    "deblurring": {
        **{f"{low} to {high} px": MotionBlur(size=(low, high)) for low, high in ((3, 5), (5, 10), (10, 15), (15, 25))},
        "10 px": SHAKE,
        "10 px, noise of sigma 2": Chain((SHAKE, Noise((2, 2)))),
        "10 px, JPEG 90": Chain((SHAKE, Jpeg((90, 90)))),
    },
}
METRICS: dict[str, tuple[Callable, Callable]] = {
    "denoising": (metrics.psnr, metrics.ssim_per_channel),
    "deraining": (metrics.psnr_y, metrics.ssim_index_y),
    "deblurring": (metrics.psnr, metrics.ssim_per_channel),
}
Score = tuple[float, float]  # PSNR in dB, SSIM
Methods = dict[str, list[Callable]]  # name -> the method at each of the strengths that are tried


def centre(photo: np.ndarray, size: int) -> np.ndarray:
    """The middle of a photo, `size` pixels wide and high, or what it has."""
    top, left = (max(0, (side - size) // 2) for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def mean_score(task: str, restored: list[np.ndarray], clean: list[np.ndarray]) -> Score:
    pairs = list(zip(restored, clean, strict=True))
    psnr, ssim = ([metric(*pair) for pair in pairs] for metric in METRICS[task])
    return float(np.mean(psnr)), float(np.mean(ssim))


def baselines(task: str) -> Methods:
    return {
        baseline.name: [lambda x, b=baseline, s=s: b.restore(x, s) for s in baseline.strengths]
        for baseline in BASELINES[task]
    }


def score(task: str, name: str, degraded: list[np.ndarray], clean: list[np.ndarray], methods: Methods) -> list[dict]:
    """A row for each method on one condition or set."""
    rows = []
    for method, strengths in methods.items():
        steps = tqdm(strengths, desc=f"{name}, {method}", unit="strength", leave=False)
        best = max(mean_score(task, [restore(photo) for photo in degraded], clean) for restore in steps)
        rows.append({"condition": name, "method": method, "psnr": best[0], "ssim": best[1]})
        gain = "" if method == "input" else f"{best[0] - rows[0]['psnr']:+.2f} dB"
        print(f"| {name} | {method} | {best[0]:.2f} dB | {gain} | {best[1]:.3f} |", flush=True)
    return rows


def score_made(args: argparse.Namespace, networks: dict[str, Restorer]) -> list[dict]:
    """Rows of every made condition, and of the photos as they are."""
    paths = images.find(args.photos)
    if args.names:
        names = [path.stem for path in paths]
        paths = [paths[i] for i in hold_out(names, sources.read_names(args.names), str(args.photos))[1]]
    clean = [images.read(path) for path in paths]
    if args.crop:
        clean = [centre(photo, args.crop) for photo in clean]
    rows = []
    for name, degrade in CONDITIONS[args.task].items():
        if args.only and not any(word in name for word in args.only):
            continue
        degraded = [degrade(photo, np.random.default_rng(index)) for index, photo in enumerate(clean)]
        methods: Methods = {"input": [lambda x: x], **{label: [network] for label, network in networks.items()}}
        if not args.no_baselines:
            methods |= baselines(args.task)
        if args.bm3d and name.removeprefix("sigma ").isdigit():
            methods["BM3D, told sigma"] = [functools.partial(bm3d, sigma=float(name.split()[1]))]
        rows += score(args.task, name, degraded, clean, methods)
    for label, network in networks.items():
        scores = [metrics.psnr(network(photo), photo) for photo in tqdm(clean, desc="clean", leave=False)]
        rows.append(
            {"condition": "clean photos", "method": label, "psnr": float(np.mean(scores)), "lowest": min(scores)}
        )
        print(f"| clean photos | {label} | {np.mean(scores):.2f} dB, lowest {min(scores):.2f} | | |", flush=True)
    return rows


def score_genuine(args: argparse.Namespace, weights: dict[str, str]) -> list[dict]:
    """Rows of every set of genuine pairs."""
    rows = []
    for text in args.pairs:
        name, _, folder = text.rpartition("=")
        pairs = find_pairs(folder)
        degraded, clean = ([images.read(getattr(pair, side)) for pair in pairs] for side in ("input", "target"))
        methods: Methods = {"input": [lambda x: x]}
        for label, path in weights.items():
            methods[label] = [Restorer.from_pretrained(path)]
            if not args.plain:
                methods[f"{label}, self-ensemble"] = [Restorer.from_pretrained(path, self_ensemble=True)]
                for stages in (1, 2):
                    methods[f"{label}, stage {stages}"] = [Restorer.from_pretrained(path, stages=stages)]
        if not args.no_baselines:
            methods |= baselines(args.task)
        if args.bm3d and args.task == "denoising":
            methods[BM3D.name] = [functools.partial(BM3D.restore, factor=factor) for factor in BM3D.strengths]
        rows += score(args.task, f"{name or Path(folder).name} ({len(pairs)})", degraded, clean, methods)
    return rows


def labelled(checkpoints: Sequence[str]) -> dict[str, str]:
    """Name to show -> weights: "this network" for one, else each as it was given."""
    return {"this network": checkpoints[0]} if len(checkpoints) == 1 else {path: path for path in checkpoints}


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--photos", type=Path, help="folder of clean photos, to be degraded")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="[NAME=]DIR", help="folders of genuine pairs")
    parser.add_argument("--names", type=Path, help="text file: score only the photos that it names")
    parser.add_argument("--checkpoint", nargs="+", help="bundles (default: the task's weights that ship)")
    parser.add_argument("--crop", type=int, help="only the centre of each photo, this many pixels wide and high")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="conditions whose name holds one of these words")
    parser.add_argument("--plain", action="store_true", help="genuine pairs: neither self-ensemble nor earlier stages")
    parser.add_argument("--no-baselines", action="store_true", help="the weights alone")
    parser.add_argument("--bm3d", action="store_true", help="denoising: also BM3D (slow; pip install bm3d)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    with exit_on_user_error("score_models"):
        if not args.photos and not args.pairs:
            raise UserError("nothing to score on; name --photos DIR, or --pairs DIR with input/ and target/ in it")
        weights = labelled(args.checkpoint or [args.task])
        print("| | method | PSNR | gain | SSIM |\n|---|---|---|---|---|")
        rows = []
        if args.photos:
            rows += score_made(args, {label: Restorer.from_pretrained(path) for label, path in weights.items()})
        rows += score_genuine(args, weights)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
