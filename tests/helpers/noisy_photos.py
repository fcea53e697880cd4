"""Made photos with noise of known strength and correlation."""

import numpy as np
from scipy import ndimage


def smooth_scene(height: int, width: int, number: int = 0) -> np.ndarray:
    """Slow shading from dark to bright with a few sharp boxes and stripes: H W 3 float of 255."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([50 + 150 * x / width, 60 + 120 * y / height, 80 + 60 * (x + y) / (height + width)], axis=-1)
    base += 8 * np.sin(y / 60 + number)[..., None]
    base[height // 4 : height // 2, width // 4 : width // 2] += [40, -30, 50]
    base[-height // 5 :, : width // 3] += 30 * np.sign(np.sin(x[-height // 5 :, : width // 3] / 3))[..., None]
    return base


def known_noise(shape: tuple[int, int], luma: float, chroma: float, shared: float, seed: int) -> np.ndarray:
    """H W 3 of variance 1: a part that all colours share, `shared` of the variance, and one for each colour.

    Each is white noise behind a Gaussian of `luma` or `chroma` pixels.
    """
    rng = np.random.default_rng(seed)

    def part(count: int, sigma: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.standard_normal((*shape, count)), (sigma, sigma, 0), mode="wrap")
        return noise / noise.std()

    return np.sqrt(shared) * part(1, luma) + np.sqrt(1 - shared) * part(3, chroma)


def to_file(image: np.ndarray) -> np.ndarray:
    """Rounded and clipped: uint8."""
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)
