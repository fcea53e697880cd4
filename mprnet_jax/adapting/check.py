"""Whether new weights are better on photos without truth.

Stein's unbiased estimate of the error (Stein 1981; by random probes: Ramani, Blu, Unser, IEEE TIP 2008), for noise of
covariance C: the expected squared error of f(y) is E|f(y) - y|^2 - tr C + 2 E tr(C J), J the network's derivative at
y. With d drawn from the measured noise, E d'J d = tr(C J): one more restoring, of y + e d, gives it. Unlike the noise
left in smooth patches it counts lost edges and textures, too; it is taken apart for those.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from mprnet_jax.adapting.patches import grid, smooth_places, without_plane
from mprnet_jax.data.degradations.measured_noise import NoiseProfile, draw_noise

PROBE = 0.1  # times the noise, by which the derivative is taken
BUSY = 0.25  # share of the pixels that are called edges and texture
MORE_NOISE, MORE_BUSY_ERROR = 1.02, 1.02  # times the shipped weights': beyond, the new ones are refused
LEAST_GAIN = 0.05  # dB: less is not worth other weights

Restore = Callable[[np.ndarray], np.ndarray]  # H W 3 float32 of [0, 1] -> the same


@dataclasses.dataclass(frozen=True)
class Score:
    """Of one set of weights on one photo; squares of 255."""

    error: float  # estimated mean squared error
    busy_error: float  # the same, of edges and texture alone
    left: float  # variance in smooth patches


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The new weights against the old ones, on all photos."""

    gain: float  # dB by the estimated error, mean over the photos
    busy_gain: float  # dB, of edges and texture alone
    noise_before: float  # standard deviation of 255 left in smooth patches, root of the mean variance
    noise_after: float
    photos: int

    @property
    def reasons(self) -> list[str]:
        """Why the new weights are refused; empty if they are taken."""
        found = []
        if not self.gain >= LEAST_GAIN:
            found.append(f"the estimated gain is {self.gain:+.2f} dB, and {LEAST_GAIN:g} dB are asked for")
        if not self.noise_after <= MORE_NOISE * self.noise_before:
            found.append(
                f"more noise is left in smooth parts (sigma {self.noise_after:.2f}, before {self.noise_before:.2f})"
            )
        if not self.busy_gain >= -10 * np.log10(MORE_BUSY_ERROR):
            found.append(f"edges and texture get worse by an estimated {-self.busy_gain:.2f} dB")
        return found


def busy_pixels(image: np.ndarray) -> np.ndarray:
    """H W 3 -> H W bool: the quarter with the strongest edges and texture, seen through a Gaussian of 2 pixels."""
    smooth = ndimage.gaussian_filter(image.astype(np.float32).mean(axis=-1), 2)
    strength = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    return strength >= np.quantile(strength, 1 - BUSY)


def score(image: np.ndarray, profile: NoiseProfile, restore: Restore, seed: int = 0) -> tuple[Score, np.ndarray]:
    """Score weights on an H W 3 uint8 photo whose noise is known; also the restored photo, H W 3 float32 of [0, 1].

    The same seed probes all weights alike.
    """
    noisy = image.astype(np.float32)
    probe = draw_noise(profile, image, np.random.default_rng(seed))
    restored = 255 * restore(noisy / 255)
    moved = 255 * restore((noisy + PROBE * probe) / 255)
    variance = profile.sigma_at(ndimage.gaussian_filter(noisy, (1, 1, 0))) ** 2
    risk = (restored - noisy) ** 2 - variance + 2 * probe * (moved - restored) / PROBE
    places = smooth_places(image)
    smooth = without_plane(grid(restored)[places[:, 0], places[:, 1]])
    left = float(np.median(smooth.var(axis=(1, 2)).mean(axis=-1))) if len(smooth) else 0.0
    return Score(float(risk.mean()), float(risk[busy_pixels(image)].mean()), left), restored / 255


def compare(before: Sequence[Score], after: Sequence[Score]) -> Verdict:
    """The shipped weights' scores and the new ones' on the same photos."""
    # An estimate of a small error may be off by more than itself: what photos have is added before it is divided.
    total = lambda scores, field: sum(getattr(each, field) for each in scores)
    gain = lambda field: _decibels(total(before, field), total(after, field))
    left = [float(np.sqrt(total(scores, "left") / len(scores))) for scores in (before, after)]
    return Verdict(gain("error"), gain("busy_error"), *left, len(before))


def _decibels(before: float, after: float) -> float:
    least = 1e-2  # of 255 squared
    return float(10 * np.log10(max(before, least) / max(after, least)))
