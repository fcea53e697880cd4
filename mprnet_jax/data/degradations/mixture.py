"""Degradations put together: one of several, or one after another; and the check of their ranges."""

import dataclasses
import math

import numpy as np

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.camera_noise import CameraNoise
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.measured_noise import MeasuredNoise
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.data.degradations.softness import Softness
from mprnet_jax.data.degradations.video_blur import VideoBlur
from mprnet_jax.support.errors import UserError

Step = Noise | PoissonNoise | CameraNoise | MeasuredNoise | MotionBlur | VideoBlur | Softness | Rain | Jpeg


@dataclasses.dataclass(frozen=True)
class Chain(Degradation):
    """Degradations one after another, as blur, then noise, then JPEG. None at all leaves a picture as it is."""

    steps: tuple[Step, ...] = ()

    @property
    def margin(self) -> int:
        """The largest margin of the steps, pixels."""
        return max((step.margin for step in self.steps), default=0)

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Every step, in order."""
        for step in self.steps:
            pair = step.apply(pair, rng)
        return pair


@dataclasses.dataclass(frozen=True)
class Mixture(Degradation):
    """One of several degradations, a new draw for each picture."""

    parts: tuple[Step | Chain, ...] = (Noise(), PoissonNoise())
    weights: tuple[float, ...] = (1.0, 1.0)  # of the parts, in proportion

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise UserError(f"Mixture: one weight for each part, got {len(self.weights)} for {len(self.parts)}")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise UserError(f"Mixture: weights must not be negative, and not all 0; got {self.weights}")

    @property
    def margin(self) -> int:
        """The largest margin of the parts, pixels."""
        return max(part.margin for part in self.parts)

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """One part, drawn by its weight."""
        part = rng.choice(len(self.parts), p=np.array(self.weights) / sum(self.weights))
        return self.parts[part].apply(pair, rng)


def check_ranges(degradation: Degradation) -> None:
    """Raise UserError for a range that is upside down, negative (but for angles) or not finite, or a share above 1."""
    for part in getattr(degradation, "parts", getattr(degradation, "steps", ())):
        check_ranges(part)
    if isinstance(degradation, Mixture | Chain):
        return
    for name, value in dataclasses.asdict(degradation).items():
        if isinstance(value, str):  # a file
            continue
        low, high = value if isinstance(value, tuple) else (value, value)
        most = 1 if name.endswith(("share", "_correlation")) else math.inf
        if not (math.isfinite(low) and math.isfinite(high) and low <= high <= most and (low >= 0 or name == "angle")):
            wanted = "from 0 to 1" if most == 1 else "a range from low to high, not negative"
            raise UserError(f"degradation.{name} must be {wanted}, got {value}")
