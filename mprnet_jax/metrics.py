"""PSNR and SSIM, each variant under its own name: two SSIMs of one noisy pair differ by 0.2 and more.

Which published table needs which:
  psnr, ssim_matlab_rgb  GoPro, HIDE (uint8, peak 255); SIDD (float, peak 1)
  psnr_y, ssim_index_y   the five deraining sets (uint8)
  ssim_per_channel       RealBlur, as ssim_map under a mask (float, peak 1)

Scores are computed in NumPy float64, from one pair of RGB images H W C at a time. psnr_jax takes batches N H W C in
float32, for the log of a training. Nothing here clips, rounds or checks for NaN. A set's score is the mean over images.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Array = np.ndarray | jax.Array

SIGMA = 1.5  # pixels, of the Gaussian window; Wang et al. 2004, "Image quality assessment"
RADIUS = 5  # pixels: a window of 11
K1, K2 = 0.01, 0.03  # Wang et al. 2004: C1 = (K1 peak)^2, C2 = (K2 peak)^2

# BT.601 studio range as in MATLAB's rgb2ycbcr, in thousandths so that sums are exact: 65.481 R + 128.553 G + 24.966 B.
LUMA_THOUSANDTHS = np.array([65481, 128553, 24966], np.int32)
LUMA_OFFSET = 16  # grey levels: Y of black


def gaussian_taps() -> np.ndarray:
    """The window along one axis: 11 float64 weights of sum 1. Their outer products are the 2-D and 3-D windows."""
    taps = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    return taps / taps.sum()


def channel_mixing() -> np.ndarray:
    """The window along an axis of 3 channels with replicated ends, as a matrix: row = new channel, column = old."""
    mixing = np.zeros((3, 3))
    for new in range(3):
        for tap, weight in enumerate(gaussian_taps()):
            mixing[new, min(max(new + tap - RADIUS, 0), 2)] += weight
    return mixing


def _check_shapes(restored: Array, target: Array, *layouts: str) -> None:
    """Raise ValueError unless both arrays have one shape, and that shape is one of the layouts ("H W 3")."""
    if restored.shape != target.shape:
        raise ValueError(f"restored and target differ in shape: {restored.shape} and {target.shape}")
    for layout in layouts:
        axes = layout.split()
        if len(axes) == restored.ndim and (axes[-1] != "3" or restored.shape[-1] == 3):
            return
    raise ValueError(f"expected {' or '.join(layouts)}, got restored {restored.shape} and target {target.shape}")


def _check_window(restored: np.ndarray, target: np.ndarray) -> None:
    """Raise ValueError if the image is smaller than the window."""
    window = 2 * RADIUS + 1
    if min(restored.shape[:2]) < window:
        raise ValueError(
            f"SSIM without padding needs at least {window} x {window} pixels, "
            f"got restored {restored.shape} and target {target.shape}"
        )


def _check_dtypes(restored: np.ndarray, target: np.ndarray) -> None:
    """Raise ValueError unless both are uint8 or both are floats: anything else would mix ranges silently."""
    kinds = {"uint8" if x.dtype == np.uint8 else x.dtype.kind for x in (restored, target)}
    if kinds not in ({"uint8"}, {"f"}):
        raise ValueError(
            f"restored and target must both be uint8 or both floats, got {restored.dtype} and {target.dtype}"
        )


def _check_uint8(**images: np.ndarray) -> None:
    if any(image.dtype != np.uint8 for image in images.values()):
        got = " and ".join(f"{name} {image.dtype} {image.shape}" for name, image in images.items())
        raise ValueError(f"MATLAB's Y is defined here for uint8 alone, got {got}; convert with images.to_uint8")


def psnr(restored: np.ndarray, target: np.ndarray, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB from one mean squared error over all pixels and channels.

    H W or H W C; both uint8, or both floats in 0..peak. Infinite for identical images.
    Raises ValueError for differing shapes, a batch, or other dtypes.
    """
    _check_shapes(restored, target, "H W", "H W C")
    _check_dtypes(restored, target)
    mse = np.mean((np.asarray(restored, np.float64) - np.asarray(target, np.float64)) ** 2)
    return float(10 * np.log10(peak**2 / mse)) if mse else float("inf")


def matlab_y(image: np.ndarray) -> np.ndarray:
    """The Y of MATLAB's rgb2ycbcr: uint8 RGB H W 3 -> uint8 H W in 16..235.

    round(16 + (65.481 R + 128.553 G + 24.966 B) / 255), half away from zero, in integers, so that ties are exact.
    OpenCV's, Pillow's and the unrounded Y give other scores. Raises ValueError for another dtype or shape.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"expected an RGB image H W 3, got {image.shape}")
    _check_uint8(image=image)
    unit = 255_000  # one grey level of Y in these sums, which stay under 2^26
    sums = image.astype(np.int32) @ LUMA_THOUSANDTHS
    return (LUMA_OFFSET + (sums + unit // 2) // unit).astype(np.uint8)


def psnr_y(restored: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB of MATLAB's Y, peak 255: the deraining tables. Both uint8 RGB H W 3; raises ValueError otherwise."""
    _check_shapes(restored, target, "H W 3")
    _check_uint8(restored=restored, target=target)
    return psnr(matlab_y(restored), matlab_y(target))


def _blur(x: np.ndarray) -> np.ndarray:
    """Gaussian window along the first two axes where it fits ('valid'): each gets 2 * RADIUS shorter."""
    taps = [float(tap) for tap in gaussian_taps()]
    for axis in (0, 1):
        size = x.shape[axis] - 2 * RADIUS
        shifted = [x[(slice(None),) * axis + (slice(start, start + size),)] for start in range(len(taps))]
        x = taps[RADIUS] * shifted[RADIUS]
        for i in range(RADIUS):  # symmetric: one product for two taps
            x += taps[i] * (shifted[i] + shifted[-1 - i])
    return x


def _ssim_map(x: np.ndarray, y: np.ndarray, peak: float, window: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Wang et al. 2004, equation 13, with population variances; `window` computes weighted means."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean_x, mean_y = window(x), window(y)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = window(x * y) - product
    variances = window(x * x + y * y) - squares  # var(x) + var(y): the formula uses only their sum
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def ssim_map(restored: np.ndarray, target: np.ndarray, peak: float = 255.0) -> np.ndarray:
    """SSIM of each channel at each position where the 11 x 11 window fits: H W C -> H-10 W-10 C, float64.

    H W or H W C; both uint8, or both floats in 0..peak. Raises ValueError for differing shapes, other dtypes, a batch,
    or fewer than 11 pixels on a side.
    """
    _check_shapes(restored, target, "H W", "H W C")
    _check_dtypes(restored, target)
    _check_window(restored, target)
    x, y = np.asarray(restored, np.float64), np.asarray(target, np.float64)
    return _ssim_map(x, y, peak, window=_blur)


def ssim_per_channel(restored: np.ndarray, target: np.ndarray, peak: float = 255.0) -> float:
    """Mean over channels of each channel's SSIM; arguments and errors as for ssim_map.

    Equals skimage.metrics.structural_similarity with gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    channel_axis=2 and data_range=peak. That function reflects at borders, then crops all pixels affected by it.
    """
    return float(ssim_map(restored, target, peak).mean())


def ssim_index_y(restored: np.ndarray, target: np.ndarray) -> float:
    """Wang's SSIM_index (2003, no downsampling) of MATLAB's Y, borders 'valid', L = 255: the deraining tables.

    Both uint8 RGB H W 3; raises ValueError for others, differing shapes, or fewer than 11 pixels on a side.
    """
    _check_shapes(restored, target, "H W 3")
    _check_uint8(restored=restored, target=target)
    return float(ssim_map(matlab_y(restored), matlab_y(target)).mean())


def ssim_matlab_rgb(restored: np.ndarray, target: np.ndarray, peak: float = 255.0) -> float:
    """MATLAB's `ssim` of an H x W x 3 array, which it treats as a volume: the GoPro, HIDE and SIDD tables.

    A 3-D Gaussian (11 taps on each axis) with replicated borders on all three axes, and the mean of the whole map, so
    colours are mixed. Both uint8, or both floats in 0..peak. Raises ValueError for differing shapes, other dtypes,
    or other than 3 channels.
    """
    _check_shapes(restored, target, "H W 3")
    _check_dtypes(restored, target)
    border = [(RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)]
    x, y = (np.pad(np.asarray(image, np.float64), border, mode="edge") for image in (restored, target))
    mixing = channel_mixing()
    return float(_ssim_map(x, y, peak, window=lambda x: _blur(x) @ mixing.T).mean())


@jax.jit
def psnr_jax(restored: jax.Array, target: jax.Array, peak: float = 1.0) -> jax.Array:
    """psnr of each image of a batch: N H W C in 0..peak -> N, float32. Raises ValueError for differing shapes."""
    _check_shapes(restored, target, "N H W C")
    difference = restored.astype(jnp.float32) - target.astype(jnp.float32)
    return 10 * jnp.log10(peak**2 / jnp.mean(difference**2, axis=(1, 2, 3)))
