"""Score a denoiser on photos with Gaussian noise of several strengths: PSNR and SSIM before and after.

python tools/score_denoising.py --photos DIR --names configs/held_out.txt
The noise has a fixed seed for each photo and strength, and is rounded and clipped to 8 bits, as a file holds it.
PSNR is over RGB; SSIM is the mean of the channels' (Gaussian window), both on pictures rounded to 8 bits.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mprnet_jax import images, metrics
from mprnet_jax.data.degrade import Noise
from mprnet_jax.data.sources import read_names, split_folder
from mprnet_jax.errors import exit_on_user_error
from mprnet_jax.restore import Restorer


def score(restorer: Restorer, paths: list[Path], sigma: float) -> dict[str, float]:
    """Means over the photos of one strength; sigma 0 is the photos as they are."""
    rows = []
    for index, path in enumerate(tqdm(paths, desc=f"sigma {sigma:g}", unit="photo")):
        clean = images.read(path)
        noisy = Noise((sigma, sigma))(clean, np.random.default_rng(index))
        restored = restorer(noisy)
        pairs = ((noisy, clean), (restored, clean))
        rows.append([metric(*pair) for metric in (metrics.psnr, metrics.ssim_per_channel) for pair in pairs])
    names = ("noisy_psnr", "psnr", "noisy_ssim", "ssim")
    return {"sigma": sigma, "photos": len(paths), **dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of clean photos")
    parser.add_argument("--names", type=Path, help="text file: score only the photos that it names")
    parser.add_argument("--checkpoint", default="denoising", help="bundle, or task whose weights ship")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0, 15, 25, 50])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    with exit_on_user_error("score_denoising"):
        paths = split_folder(args.photos, read_names(args.names))[1] if args.names else images.find(args.photos)
        restorer = Restorer.from_pretrained(args.checkpoint)
        rows = [score(restorer, paths, sigma) for sigma in args.sigmas]
    print("| sigma | photos | PSNR noisy | PSNR restored | gain | SSIM noisy | SSIM restored |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        gain = "" if row["sigma"] == 0 else f"{row['psnr'] - row['noisy_psnr']:+.2f}"
        print(
            f"| {row['sigma']:g} | {row['photos']} | {row['noisy_psnr']:.2f} | {row['psnr']:.2f} | {gain} "
            f"| {row['noisy_ssim']:.3f} | {row['ssim']:.3f} |"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
