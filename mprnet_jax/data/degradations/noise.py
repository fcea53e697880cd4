"""Noise of a sensor: white, correlated as after a camera's processing, or of counted photons."""

import dataclasses
import math

import numpy as np

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import to_linear, to_stored


def gaussian_taps(sigma: float) -> np.ndarray:
    """Odd, normalised 1-D Gaussian that reaches 3 sigma; sigma in pixels."""
    radius = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


def smooth_noise(noise: np.ndarray, sigma: float) -> np.ndarray:
    """White noise H W C of variance 1 -> noise correlated over about `sigma` pixels, again of variance 1."""
    taps = gaussian_taps(sigma)
    radius = len(taps) // 2
    for axis in (0, 1):
        # Wrapping around keeps the variance the same at the borders.
        noise = sum(tap * np.roll(noise, shift - radius, axis) for shift, tap in enumerate(taps))
    return noise / np.sum(taps**2)


@dataclasses.dataclass(frozen=True)
class Noise(Degradation):
    """Gaussian noise of random strength; for a share of the pictures, correlated as a camera's is.

    Demosaicing and in-camera processing correlate the noise of neighbouring pixels and of the colours: on real
    pairs of SIDD the correlation is about 0.47 from pixel to pixel and 0.2 to 0.55 between colours. A network that
    has only seen white noise takes such noise for texture.
    """

    sigma: tuple[float, float] = (5.0, 50.0)  # standard deviation, in steps of 1/255: drawn uniformly
    camera_share: float = 0.0  # probability of correlated noise
    correlation_sigma: tuple[float, float] = (0.3, 0.8)  # pixels, of the Gaussian that correlates neighbours
    colour_correlation: tuple[float, float] = (0.0, 0.6)  # between two colours

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Gaussian noise added to the stored values, clipped and rounded."""
        clean = pair.input
        sigma = rng.uniform(*self.sigma)
        noise = rng.standard_normal(clean.shape, np.float32)
        if rng.random() < self.camera_share:
            shared = rng.uniform(*self.colour_correlation)
            grey = rng.standard_normal((*clean.shape[:2], 1), np.float32)
            noise = math.sqrt(1 - shared) * noise + math.sqrt(shared) * grey
            noise = smooth_noise(noise, rng.uniform(*self.correlation_sigma))
        return pair._replace(input=np.rint(np.clip(clean + sigma * noise, 0, 255)).astype(np.uint8))


@dataclasses.dataclass(frozen=True)
class PoissonNoise(Degradation):
    """Poisson-Gaussian noise in linear light: counted photons, and the electronics that read them out.

    The variance of light x in [0, 1] is x / photons + (read_noise / photons)^2: dark parts have less noise in light,
    and more of it relative to their brightness.
    """

    photons: tuple[float, float] = (20.0, 2000.0)  # that make white: drawn uniformly in their logarithm
    read_noise: tuple[float, float] = (0.0, 2.0)  # standard deviation, in photons: drawn uniformly

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Photons counted and read out in linear light."""
        clean = pair.input
        photons = math.exp(rng.uniform(*np.log(self.photons)))
        counted = rng.poisson(photons * to_linear(clean)).astype(np.float32)
        counted += rng.uniform(*self.read_noise) * rng.standard_normal(clean.shape, np.float32)
        return pair._replace(input=to_stored(counted / photons))
