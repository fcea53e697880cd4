"""Score restoring in part against a plain blend, on pairs of noisy photos and their truth (input/, target/).

python tools/measure_strength.py PAIRS [PAIRS ...]

Prints PSNR for each strength; and, at strength 0.5, how much texture is kept where both leave the same noise.
Noise left: the robust sigma (median absolute deviation) of the error's fine detail in the quarter of the picture whose
truth is smoothest. Texture kept: the regression of the result's fine detail on the truth's in the quarter with most
texture, 1 where all of it is kept; noise is independent of the truth and does not count.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from mprnet_jax import images, metrics
from mprnet_jax.restoring import Restorer, strength
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.support.command_line import Parser, path_option
from mprnet_jax.support.errors import exit_on_user_error

STRENGTHS = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
FINE = 2.0  # pixels; detail finer than a Gaussian of this sigma
Partly = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def ours(before: np.ndarray, restored: np.ndarray, share: float) -> np.ndarray:
    return strength.partly(before, restored, share, share, texture=True)


def blend(before: np.ndarray, restored: np.ndarray, share: float) -> np.ndarray:
    return strength.partly(before, restored, share, share, texture=False)


def detail(image: np.ndarray) -> np.ndarray:
    """Of the luminance, H W."""
    grey = image.mean(axis=-1)
    return grey - ndimage.gaussian_filter(grey, FINE)


def noise_left(result: np.ndarray, truth: np.ndarray, smooth: np.ndarray) -> float:
    """Robust sigma of the error's detail where the truth is smooth, grey levels."""
    return 255 * float(np.median(np.abs(detail(result) - detail(truth))[smooth])) / strength.MAD


def texture_kept(result: np.ndarray, truth: np.ndarray, textured: np.ndarray) -> float:
    """Share of the truth's detail that is in the result."""
    ours, theirs = detail(result)[textured], detail(truth)[textured]
    return float((ours * theirs).sum() / (theirs * theirs).sum())


def half(before: np.ndarray, restored: np.ndarray, truth: np.ndarray) -> list[float]:
    """Noise left at strength 0.5, the blend's strength that leaves the same, and the texture that each keeps."""
    energy = ndimage.uniform_filter(detail(truth) ** 2, 16)
    smooth, textured = energy <= np.quantile(energy, 0.25), energy >= np.quantile(energy, 0.75)
    result = ours(before, restored, 0.5)
    noise = noise_left(result, truth, smooth)
    grid = np.linspace(0.3, 1, 15)
    left = [noise_left(blend(before, restored, share), truth, smooth) for share in grid]
    same = float(np.interp(-noise, -np.array(left), grid))
    mixed = blend(before, restored, same)
    return [noise, same, texture_kept(result, truth, textured), texture_kept(mixed, truth, textured)]


def measure(restorer: Restorer, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """PSNR, pairs x (ours, blend) x STRENGTHS; and half() of each pair."""
    scores, halves = [], []
    for path in images.find(folder / "input"):
        before, truth = (images.to_float(images.read(folder / side / path.name)) for side in ("input", "target"))
        restored = restorer(before)
        psnr = lambda partly, share: metrics.psnr(255 * partly(before, restored, share), 255 * truth)  # noqa: B023
        scores.append([[psnr(partly, share) for share in STRENGTHS] for partly in (ours, blend)])
        halves.append(half(before, restored, truth))
    return np.array(scores), np.array(halves)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=path_option)
    parser.add_argument("--task", default="denoising", help="weights that ship (default: %(default)s)")
    args = parser.parse_args(argv)
    use_compile_cache()
    with exit_on_user_error("measure_strength"):
        restorer = Restorer.from_pretrained(args.task)
        for folder in args.pairs:
            scores, halves = measure(restorer, folder)
            print(f"{folder.name}, {len(scores)} pairs, mean PSNR in dB")
            print("strength " + " ".join(f"{share:6.2f}" for share in STRENGTHS))
            for name, row in zip(("ours", "blend"), scores.mean(axis=0), strict=True):
                print(f"{name:8} " + " ".join(f"{score:6.2f}" for score in row) + f"  best {row.max():.3f}")
            noise, same, kept, mixed = halves.mean(axis=0)
            more = int((halves[:, 2] > halves[:, 3]).sum())
            print(f"at 0.5: noise left {noise:.2f} grey levels, as a blend of {same:.2f} leaves; texture kept ")
            print(f"        {kept:.4f}, blend {mixed:.4f}; more than the blend in {more} of {len(halves)} pairs")


if __name__ == "__main__":
    main()
