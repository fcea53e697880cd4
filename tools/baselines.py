"""What people use without a network, to compare with: each restores H W 3 uint8 -> H W 3 uint8 at one strength.

BASELINES lists them by task with the strengths to try. OpenCV is in the extra `evaluate`; bm3d (PyPI) is free for
non-commercial use only and is installed by hand.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

Restore = Callable[[np.ndarray, Any], np.ndarray]


def non_local_means(degraded: np.ndarray, strength: float) -> np.ndarray:
    """OpenCV's fastNlMeansDenoisingColored with its own window sizes; `strength` is h for lightness and colour."""
    cv2 = import_extra("cv2", "opencv-python-headless", "evaluate")
    return cv2.fastNlMeansDenoisingColored(degraded, None, strength, strength)


def gaussian_blur(degraded: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of `sigma` pixels: what any program can do."""
    return import_extra("cv2", "opencv-python-headless", "evaluate").GaussianBlur(degraded, (0, 0), sigma)


def bm3d(degraded: np.ndarray, sigma: float) -> np.ndarray:
    """Colour BM3D (Dabov et al. 2007) of the PyPI package, told the true `sigma` in steps of 1/255."""
    try:
        package = importlib.import_module("bm3d")
    except ModuleNotFoundError:
        raise UserError("this needs bm3d (free for non-commercial use only); run: pip install bm3d") from None
    return images.to_uint8(package.bm3d_rgb(images.to_float(degraded).astype(np.float64), sigma / 255))


def bm3d_estimated(degraded: np.ndarray, factor: float) -> np.ndarray:
    """BM3D that is told `factor` times the sigma that scikit-image estimates from the finest wavelets."""
    restoration = import_extra("skimage.restoration", "scikit-image", "bench")
    return bm3d(
        degraded, factor * max(1.0, float(restoration.estimate_sigma(degraded, channel_axis=-1, average_sigmas=True)))
    )


def median(degraded: np.ndarray, side: int) -> np.ndarray:
    """Each channel's median over side x side pixels, side odd."""
    return import_extra("cv2", "opencv-python-headless", "evaluate").medianBlur(degraded, side)


def guided_filter(degraded: np.ndarray, radius_and_eps: tuple[int, float]) -> np.ndarray:
    """Guided filter (He et al. 2010, eq. 5, 6 and 8) of each channel by itself; eps is a variance on [0, 1].

    Written out: OpenCV has it in the contrib build only, which cannot be installed beside the other.
    """
    cv2 = import_extra("cv2", "opencv-python-headless", "evaluate")
    radius, eps = radius_and_eps
    mean = lambda x: cv2.blur(x, (2 * radius + 1, 2 * radius + 1))
    x = images.to_float(degraded)
    average = mean(x)
    variance = mean(x * x) - average * average
    slope = variance / (variance + eps)
    return images.to_uint8(mean(slope) * x + mean(average - slope * average))


def unsharp_mask(degraded: np.ndarray, sigma_and_amount: tuple[float, float]) -> np.ndarray:
    """The picture plus `amount` times what a Gaussian of `sigma` pixels takes away from it."""
    cv2 = import_extra("cv2", "opencv-python-headless", "evaluate")
    sigma, amount = sigma_and_amount
    x = images.to_float(degraded)
    return images.to_uint8(x + amount * (x - cv2.GaussianBlur(x, (0, 0), sigma)))


@dataclasses.dataclass(frozen=True)
class Baseline:
    name: str
    restore: Restore
    strengths: tuple[Any, ...]  # all are tried, and the one with the best mean PSNR over the photos counts


NLM = Baseline("non-local means", non_local_means, (3, 5, 8, 12, 18, 25, 40, 60))
BLUR = Baseline("Gaussian blur", gaussian_blur, (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.3))
BM3D = Baseline("BM3D, estimated sigma", bm3d_estimated, (1.0, 2.0, 3.0))
MEDIAN = Baseline("median", median, (3, 5, 7))
GUIDED = Baseline("guided filter", guided_filter, tuple((r, e) for r in (2, 4, 8) for e in (1e-3, 4e-3, 1.6e-2)))
UNSHARP = Baseline("unsharp mask", unsharp_mask, tuple((s, a) for s in (1, 2, 3, 5) for a in (0.25, 0.5, 1, 2)))

BASELINES = {
    "denoising": (BLUR, NLM),  # and BM3D, which is asked for: it takes a minute a megapixel
    "deraining": (MEDIAN, GUIDED),
    "deblurring": (UNSHARP,),
}
