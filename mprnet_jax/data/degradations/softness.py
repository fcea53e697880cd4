"""Soft pixels, as a camera's at full size are: a lens, the sensor's filter and demosaicing spread each point.

Photographs made smaller are sharper than any camera's pixels. Sharp frames of GoPro's videos have 9 dB less at 0.3
cycles a pixel, beside 0.1, than the photographs of the recipes: as after a Gaussian of 0.75 pixels.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import to_linear, to_stored


@dataclasses.dataclass(frozen=True)
class Softness(Degradation):
    """A Gaussian in linear light over input and target alike: the network is to leave it."""

    sigma: tuple[float, float] = (0.4, 1.1)  # pixels: drawn uniformly
    share: float = 1.0  # probability; a picture stays as it is else

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Both pictures softened alike, in `share` of the draws."""
        sigma = rng.uniform(*self.sigma)
        if rng.random() >= self.share:
            return pair
        soften = lambda image: to_stored(ndimage.gaussian_filter(to_linear(image), (sigma, sigma, 0), truncate=3))
        target = soften(pair.target)
        return Degraded(target if pair.input is pair.target else soften(pair.input), target)
