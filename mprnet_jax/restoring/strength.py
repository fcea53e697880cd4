"""Restoring in part: what the network takes out of a picture is given back, noise as noise and texture as texture.

A plain blend of input and result at half strength is a double exposure: half of all noise, half of all lost texture.
Here what was removed is split into bands of an undecimated wavelet transform (a trous, B3 spline; Starck, Fadili and
Murtagh, IEEE TIP 2007), which has no grid that could show. In each band it is given back more where the restored
picture has detail well above the removed part's own sigma, and less where the picture is smooth. NumPy and SciPy only.
"""

import numpy as np

TEXTURE_TASK = "denoising"  # whose removed part is noise and texture; rain and blur are blended
BANDS = 4  # of one octave each; the rest, coarser than 16 pixels, is blended
SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
SMOOTH_POWER = 1.7  # of (1 - strength) where the picture is smooth: less noise than a blend leaves
TEXTURE_POWER = 0.4  # and where it has texture: more of it than a blend leaves
THRESHOLD = 0.7  # sigmas of the removed part; detail of that size counts as texture by half
MAD = 0.6745  # median absolute deviation of a normal distribution of sigma 1


def partly(before: np.ndarray, restored: np.ndarray, luminance: float, colour: float, texture: bool) -> np.ndarray:
    """The picture restored in part: H W 3 float32 in [0, 1], of floats in that range, neither of which is changed.

    `luminance` and `colour` in [0, 1] say how much is taken out of the mean of the channels, and of their differences
    from it: 0 gives `before`, 1 `restored`, bit for bit. With `texture` luminance is weighed by wavelets as above;
    without it is blended. Colour is always blended: eyes see no texture in it.
    """
    if luminance == colour == 1:
        return restored
    if luminance == colour == 0:
        return before
    removed = before - restored
    grey = removed.mean(axis=-1)
    removed -= grey[..., None]
    removed *= np.float32(1 - colour)
    if texture and 0 < luminance < 1:
        grey = _weighed(grey, restored.mean(axis=-1), 1 - luminance)
    else:
        grey *= np.float32(1 - luminance)
    removed += grey[..., None]
    removed += restored
    return np.clip(removed, 0, 1, out=removed)


def _weighed(removed: np.ndarray, restored: np.ndarray, share: float) -> np.ndarray:
    """The part of what was removed (H W) that is given back: about `share`, by the detail of the restored picture."""
    given = np.zeros_like(removed)
    for level in range(BANDS):
        coarser, coarser_restored = _smooth(removed, level), _smooth(restored, level)
        band = removed - coarser
        texture = _texture(restored - coarser_restored, _sigma(band), level)
        given += band * np.float32(share) ** (SMOOTH_POWER + (TEXTURE_POWER - SMOOTH_POWER) * texture)
        removed, restored = coarser, coarser_restored
    return given + removed * np.float32(share)


def _texture(band: np.ndarray, sigma: float, level: int) -> np.ndarray:
    """How much of a band is texture, H W in [0, 1]: its energy nearby against the square of the threshold."""
    from scipy import ndimage  # here: most pictures are restored at full strength, and loading it takes time

    energy = ndimage.uniform_filter(ndimage.uniform_filter(band * band, 2 ** (level + 2) + 1), 2 ** (level + 1) + 1)
    ratio = (energy / np.float32((THRESHOLD * sigma) ** 2 + 1e-12)) ** 2
    return ratio / (1 + ratio)


def _sigma(band: np.ndarray) -> float:
    """Robust standard deviation: a few strong edges do not change it."""
    return float(np.median(np.abs(band))) / MAD


def _smooth(image: np.ndarray, level: int) -> np.ndarray:
    """Convolution with the spline, whose taps are 2^level pixels apart."""
    from scipy import ndimage

    kernel = np.zeros(4 * 2**level + 1, np.float32)
    kernel[:: 2**level] = SPLINE
    down = ndimage.correlate1d(image, kernel, axis=0, mode="mirror")
    return ndimage.correlate1d(down, kernel, axis=1, mode="mirror")
