"""Linear light, and convolution by FFT: what the degradations share.

A sensor adds up light; the values of a file are light through a curve (sRGB, IEC 61966-2-1). Blur and photon noise
belong to the former. Values are in [0, 1] in both.
"""

import math

import numpy as np


def _decode(stored: np.ndarray) -> np.ndarray:
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


LINEAR = _decode(np.arange(256) / 255).astype(np.float32)  # of each 8-bit value


def to_linear(image: np.ndarray) -> np.ndarray:
    """uint8 as stored -> float32 proportional to light."""
    return LINEAR[image]


def to_stored(light: np.ndarray) -> np.ndarray:
    """Light (clipped to [0, 1], as a sensor does) -> uint8, rounded to nearest."""
    light = np.clip(light, 0, 1)
    stored = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return np.rint(255 * stored).astype(np.uint8)


def convolve(padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """H W or H W C with a K x K kernel, K odd, where the kernel lies wholly inside: K - 1 less on both sides."""
    height, width, *channels = padded.shape
    size, shape = len(kernel), [_fast_length(side) for side in (height, width)]
    # Each channel by itself: NumPy's FFT takes half as long again where neighbours in a row are not so in memory.
    planes = np.ascontiguousarray(np.moveaxis(padded.reshape(height, width, -1), 2, 0))
    whole = np.fft.irfft2(np.fft.rfft2(planes, shape) * np.fft.rfft2(kernel.astype(padded.dtype), shape), shape)
    inner = np.moveaxis(whole[:, size - 1 : height, size - 1 : width], 0, 2)
    return np.ascontiguousarray(inner).reshape(*inner.shape[:2], *channels)


def _fast_length(side: int) -> int:
    """The next number that has small factors only, for the FFT."""
    step = 2 ** max(1, math.ceil(math.log2(side)) - 4)
    return -(-side // step) * step
