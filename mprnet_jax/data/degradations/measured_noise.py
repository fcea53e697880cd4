"""Noise as it was measured in somebody's photos: as strong at each brightness, and correlated as there.

A profile is the noise of one photo. Its covariance between all pixels up to REACH apart and all colours, divided by
the standard deviation at their brightness, is drawn from exactly, as a stationary Gaussian field: white noise times
the square root of the power spectrum, a 3 x 3 matrix at each frequency.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.support.errors import UserError

REACH = 8  # pixels, the farthest correlation that a profile holds
LEVELS = np.arange(0, 257, 16)  # of 255: where the curve of the standard deviation is given
ABOUT = 1.0  # pixels, sigma of the Gaussian that gives a pixel's brightness


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseProfile:
    """The noise of one photo."""

    sigma: np.ndarray  # 3 x len(LEVELS): standard deviation of 255 of each colour at each brightness
    covariance: np.ndarray  # 2 REACH + 1 squared x 3 x 3: between pixels so far apart, of noise of variance 1
    name: str = ""  # of the photo
    iso: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What json.dumps takes."""
        rounded = lambda array, digits: np.round(array.astype(float), digits).tolist()
        return {
            "name": self.name,
            "iso": self.iso,
            "sigma": rounded(self.sigma, 3),
            "covariance": rounded(self.covariance, 4),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "NoiseProfile":
        """Back from to_json."""
        array = lambda name: np.array(content[name], np.float32)
        return cls(array("sigma"), array("covariance"), content["name"], content["iso"])

    def sigma_at(self, brightness: np.ndarray) -> np.ndarray:
        """H W 3 of 255 -> the standard deviation there, of 255."""
        return np.stack([np.interp(brightness[..., c], LEVELS, self.sigma[c]) for c in range(3)], axis=-1)

    def field(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """H W 3 float32: noise of variance 1 and the profile's covariance. It wraps around at the borders."""
        white = np.fft.rfft2(rng.standard_normal((height, width, 3), np.float32), axes=(0, 1))
        coloured = np.einsum("hwab,hwb->hwa", self._root(height, width), white)
        return np.fft.irfft2(coloured, (height, width), axes=(0, 1)).astype(np.float32)

    def _root(self, height: int, width: int) -> np.ndarray:
        if (height, width) not in self._roots:
            if len(self._roots) > 8:
                self._roots.clear()
            self._roots[height, width] = spectrum_root(self.covariance, height, width)
        return self._roots[height, width]

    @functools.cached_property
    def _roots(self) -> dict[tuple[int, int], np.ndarray]:
        return {}


def spectrum_root(covariance: np.ndarray, height: int, width: int) -> np.ndarray:
    """Square root of the power spectrum, height x (width // 2 + 1) x 3 x 3 complex.

    Where the measured covariance is none of any noise (a negative power, from the error of measuring), power 0 is
    taken; the variances are then brought back to what they were.
    """
    lags = np.zeros((height, width, 3, 3), np.float32)
    reach = covariance.shape[0] // 2
    for row in range(-reach, reach + 1):  # a picture smaller than the reach adds up what falls together
        for column in range(-reach, reach + 1):
            lags[row % height, column % width] += covariance[row + reach, column + reach]
    power = np.fft.rfft2(lags, axes=(0, 1))
    values, vectors = np.linalg.eigh((power + power.conj().swapaxes(-1, -2)) / 2)
    vectors = vectors.astype(np.complex64)
    root = (vectors * np.sqrt(np.maximum(values, 0)).astype(np.float32)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    twice = np.full(width // 2 + 1, 2.0)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    reached = np.einsum("w,hwab->a", twice, np.abs(root) ** 2) / (height * width)
    wanted = np.diag(covariance[reach, reach])
    return root * np.sqrt(wanted / np.maximum(reached, 1e-9)).astype(np.float32)[:, None]


@dataclasses.dataclass(frozen=True)
class MeasuredNoise(Degradation):
    """Noise of one of the profiles in a file, a little weaker or stronger than measured."""

    profiles: str = ""  # JSON file of profiles_text, as mprnet_jax.adapt writes; none: white noise of sigma 5
    strength: tuple[float, float] = (0.8, 1.25)  # times the measured standard deviation: drawn uniformly

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Noise added to the stored values, clipped and rounded."""
        profiles = read_profiles(self.profiles)
        profile = profiles[rng.integers(len(profiles))]
        noise = rng.uniform(*self.strength) * draw_noise(profile, pair.input, rng)
        return pair._replace(input=np.rint(np.clip(pair.input + noise, 0, 255)).astype(np.uint8))


def draw_noise(profile: NoiseProfile, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of a profile for an H W 3 picture of 0..255: H W 3 float32 of 255."""
    brightness = ndimage.gaussian_filter(image.astype(np.float32), (ABOUT, ABOUT, 0))
    return (profile.sigma_at(brightness) * profile.field(*image.shape[:2], rng)).astype(np.float32)


def profiles_text(profiles: list[NoiseProfile]) -> str:
    """What a file of profiles holds."""
    return json.dumps({"profiles": [profile.to_json() for profile in profiles]})


def white_profile() -> NoiseProfile:
    """White noise of sigma 5, alike at every brightness."""
    covariance = np.zeros((2 * REACH + 1, 2 * REACH + 1, 3, 3), np.float32)
    covariance[REACH, REACH] = np.eye(3)
    return NoiseProfile(np.full((3, len(LEVELS)), 5, np.float32), covariance, "white")


@functools.lru_cache(maxsize=4)
def read_profiles(path: str) -> tuple[NoiseProfile, ...]:
    """The profiles in a file; without a name, white noise alone. Raises UserError for what is no such file."""
    if not path:
        return (white_profile(),)
    try:
        profiles = tuple(NoiseProfile.from_json(each) for each in json.loads(Path(path).read_text())["profiles"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no noise profiles"
        raise UserError(f"{path}: cannot be used ({reason}); mprnet_jax.adapt writes such files") from error
    if not profiles:
        raise UserError(f"{path}: holds no noise profile; mprnet_jax.adapt writes such files")
    return profiles
