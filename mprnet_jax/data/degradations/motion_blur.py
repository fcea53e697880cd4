"""Blur of a hand-held camera: the light that a moving picture leaves while the shutter is open."""

import dataclasses
import math

import numpy as np

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import convolve, to_linear, to_stored

POINTS = 400  # of a trajectory; more than 8 a pixel for all sizes that make sense


def draw_trajectory(turn: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth path of POINTS x 2 (y, x), its mean at 0, its farthest point at distance 1.

    The direction drifts by about `turn` radians in all, the speed changes by a factor of about 2.
    """
    time = np.linspace(0, 1, POINTS)
    direction = rng.uniform(0, 2 * math.pi) + turn * _smooth(time, rng)
    speed = np.exp(0.5 * _smooth(time, rng))
    path = np.cumsum(speed[:, None] * np.stack((np.sin(direction), np.cos(direction)), axis=1), axis=0)
    path -= path.mean(axis=0)
    return path / np.hypot(*path.T).max()


def _smooth(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random curve of a few slow waves, of variance about 1."""
    waves = np.arange(1, 4)
    strength = rng.standard_normal(len(waves)) / waves
    return np.sin(math.pi * waves * time[:, None] + rng.uniform(0, 2 * math.pi, len(waves))) @ strength * 1.2


def trajectory_kernel(path: np.ndarray) -> np.ndarray:
    """The share of the time that a path (points x 2, pixels from the centre) spends at each pixel; K K, K odd.

    A point between pixels is shared by its four neighbours in proportion, which keeps the mean where it is.
    """
    radius = math.ceil(np.abs(path).max())
    size = 2 * radius + 1
    corner = np.floor(path).astype(int)
    fraction = path - corner
    kernel = np.zeros((size + 1, size + 1))  # one more: the neighbours of a point that lies on the last pixel
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
            np.add.at(kernel, (corner[:, 0] + radius + dy, corner[:, 1] + radius + dx), weight)
    return kernel[:size, :size] / len(path)


@dataclasses.dataclass(frozen=True)
class MotionBlur(Degradation):
    """Blur along a random smooth camera trajectory, the same everywhere in the crop, averaged in linear light."""

    size: tuple[float, float] = (3.0, 31.0)  # pixels, diameter of the circle around the path: drawn uniformly
    turn: tuple[float, float] = (0.0, 2.0)  # radians that the direction drifts: drawn uniformly
    highlights: tuple[float, float] = (1.0, 3.0)  # light of a pixel at 255, which the sensor had cut: drawn uniformly

    @property
    def margin(self) -> int:
        """Pixels around a crop that the blur brings into it."""
        return math.ceil(self.size[1] / 2)

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """The input blurred along one random path."""
        clean = pair.input
        path = draw_trajectory(rng.uniform(*self.turn), rng) * rng.uniform(*self.size) / 2
        kernel = trajectory_kernel(path)
        light = np.where(clean == 255, np.float32(rng.uniform(*self.highlights)), to_linear(clean))
        reach = len(kernel) // 2
        # "symmetric": like "reflect", but it also fits pictures smaller than the reach
        padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
        return pair._replace(input=to_stored(convolve(padded, kernel)))
