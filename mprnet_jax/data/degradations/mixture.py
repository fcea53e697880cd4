"""Synthetic degradations: a clean picture -> what a camera might have made of it.

Each is a frozen dataclass of ranges; calling it draws one degradation. Pictures are H W 3 uint8, in and out: a
network trained on what a file can hold (rounded and clipped) meets nothing else when it restores files.
"""

import dataclasses
import math
from typing import Protocol

import numpy as np

from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.support.errors import UserError


class Degradation(Protocol):
    @property
    def margin(self) -> int:
        """Pixels around a crop that it should be given more, and that are cut off afterwards."""

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """H W 3 uint8 -> another of the same size."""


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One of several degradations, a new draw for each picture."""

    parts: tuple[Noise | PoissonNoise | MotionBlur | Rain, ...] = (Noise(), PoissonNoise())
    weights: tuple[float, ...] = (1.0, 1.0)  # of the parts, in proportion

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise UserError(f"Mixture: one weight for each part, got {len(self.weights)} for {len(self.parts)}")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise UserError(f"Mixture: weights must not be negative, and not all 0; got {self.weights}")

    @property
    def margin(self) -> int:
        return max(part.margin for part in self.parts)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        part = rng.choice(len(self.parts), p=np.array(self.weights) / sum(self.weights))
        return self.parts[part](clean, rng)


def check_ranges(degradation: Degradation) -> None:
    """Raise UserError for a range that is upside down, negative (but for angles) or not finite, or a share above 1."""
    if isinstance(degradation, Mixture):
        for part in degradation.parts:
            check_ranges(part)
        return
    for name, value in dataclasses.asdict(degradation).items():
        low, high = value if isinstance(value, tuple) else (value, value)
        most = 1 if name.endswith(("_share", "_correlation")) else math.inf
        if not (math.isfinite(low) and math.isfinite(high) and low <= high <= most and (low >= 0 or name == "angle")):
            wanted = "from 0 to 1" if most == 1 else "a range from low to high, not negative"
            raise UserError(f"degradation.{name} must be {wanted}, got {value}")


def degrade_window(degradation: Degradation, wide: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade a crop that has the degradation's margin around it, and cut the margin off."""
    margin = degradation.margin
    degraded = degradation(wide, rng)
    return degraded[margin : len(degraded) - margin, margin : degraded.shape[1] - margin]


DEGRADATIONS = {
    "noise": Noise,
    "poisson_noise": PoissonNoise,
    "motion_blur": MotionBlur,
    "rain": Rain,
    "mixture": Mixture,
}
