"""Rain as a camera sees it: bright streaks, nearly parallel, of drops at several distances."""

import dataclasses
import math

import numpy as np

from mprnet_jax.data.degradations.base import Degradation, Degraded
from mprnet_jax.data.degradations.linear_light import convolve

LAYERS = 5  # kinds of streak in one picture, which differ slightly
SPREAD = math.radians(3)  # standard deviation of the angle between kinds
EDITED_SPREAD = math.radians(8)  # and between layers that are made from noise


def streak_kernel(length: float, width: float, angle: float) -> np.ndarray:
    """A streak of brightness 1 along its middle, soft at its sides and ends; K K, K odd.

    `length` and `width` in pixels (the width at half brightness), `angle` in radians from the vertical.
    """
    radius = math.ceil(length / 2 + width)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = np.abs(y * math.cos(angle) + x * math.sin(angle))
    across = x * math.cos(angle) - y * math.sin(angle)
    ends = np.clip((length / 2 - along) / max(1.0, length / 4) + 0.5, 0, 1)
    return ends * np.exp(-4 * math.log(2) * (across / width) ** 2)


def veil(height: int, width: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Mist: H W in [0, strength], a slope with slow clouds in it, mostly stronger towards the top, where things are
    far away."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    direction = rng.normal(0, 0.6)
    slope = -(y * math.cos(direction) + x * math.sin(direction))
    waves = rng.uniform(1, 4, (3, 2)), rng.uniform(0, 2 * math.pi, 3)
    clouds = sum(np.sin(2 * math.pi * (a * y + b * x) / 2 + phase) for (a, b), phase in zip(*waves, strict=True)) / 6
    mist = slope + clouds
    return (strength * (mist - mist.min()) / max(float(np.ptp(mist)), 1e-6)).astype(np.float32)


def noise_streaks(
    height: int, width: int, length: float, thickness: float, angle: float, area: float, rng: np.random.Generator
) -> np.ndarray:
    """Streaks as picture editors make them, from noise blurred along a line: H W in [0, 1], mostly faint, some clumped.

    `length` and `thickness` in pixels, `angle` in radians from the vertical; `area` is the part of the picture that is
    not dry.
    """
    kernel = streak_kernel(length, thickness, angle)
    noise = rng.standard_normal([side + len(kernel) - 1 for side in (height, width)], np.float32)
    blurred = convolve(noise, kernel)
    dry, brightest = np.quantile(blurred, (1 - area, 1 - area / 100))
    return np.clip((blurred - dry) / max(brightest - dry, 1e-6), 0, 1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Rain(Degradation):
    """Streaks of random angle, length, width, density and brightness, screened over the picture or added to it.

    Screening, x + s * (1 - x) on stored values in [0, 1], is how many synthetic sets were made; adding, and clipping
    at white, is how others were (Rain100), and how bright drops look before something dark. Both only brighten.
    """

    angle: tuple[float, float] = (-40.0, 40.0)  # degrees from the vertical: drawn uniformly, as all the others
    length: tuple[float, float] = (8.0, 40.0)  # pixels
    width: tuple[float, float] = (0.8, 2.0)  # pixels, at half brightness
    density: tuple[float, float] = (0.02, 0.25)  # area of the streaks by that of the picture; they may overlap
    brightness: tuple[float, float] = (0.2, 0.7)  # of the middle of a streak; single ones vary by a third
    added_share: float = 0.0  # probability that the streaks are added instead of screened
    directions: tuple[int, int] = (1, 1)  # in one picture, each with an angle of its own
    veil_share: float = 0.0  # probability of mist
    veil: tuple[float, float] = (0.05, 0.3)  # part of white that the mist covers at its thickest
    noise_share: float = 0.0  # probability of streaks from noise; `density` is the area of each layer then

    def layer(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Brightness of the rain alone, H W in [0, 1]."""
        ranges = (self.angle, self.length, self.width, self.density, self.brightness)
        angle, length, thickness, density, brightness = (rng.uniform(*drawn_from) for drawn_from in ranges)
        directions = int(rng.integers(*self.directions, endpoint=True)) if self.directions[1] > 1 else 1
        if self.noise_share and rng.random() < self.noise_share:
            layers = [
                noise_streaks(height, width, length, thickness, math.radians(angle) + turn, min(density, 0.95), rng)
                for turn in (0.0, *rng.normal(0, EDITED_SPREAD, directions - 1))
            ]
            return np.clip(brightness * np.sum(layers, axis=0), 0, 1)
        angles = [angle, *(rng.uniform(*self.angle) for _ in range(directions - 1))]
        rain = np.zeros((height, width), np.float32)
        for kind in range(LAYERS):
            # Far drops make short, thin and faint streaks.
            scale = rng.uniform(0.6, 1.2)
            kernel = streak_kernel(
                scale * length,
                max(0.7, scale * thickness),
                math.radians(angles[kind % len(angles)]) + rng.normal(0, SPREAD),
            )
            kernel *= scale * brightness
            drops = np.zeros([side + len(kernel) - 1 for side in (height, width)], np.float32)
            area = scale * length * scale * thickness
            count = rng.poisson(density / LAYERS * drops.size / area)
            np.maximum.at(drops.reshape(-1), rng.integers(drops.size, size=count), rng.uniform(2 / 3, 4 / 3, count))
            rain += convolve(drops, kernel)
        return np.clip(rain, 0, 1)  # also what the FFT leaves below 0

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """Streaks, and mist in `veil_share` of the draws, laid over the input."""
        dry = pair.input.astype(np.float32)
        height, width = dry.shape[:2]
        rain = self.layer(height, width, rng)[..., None]
        if self.veil_share and rng.random() < self.veil_share:
            dry += veil(height, width, rng.uniform(*self.veil), rng)[..., None] * (255 - dry)
        added = bool(self.added_share) and rng.random() < self.added_share
        rainy = np.minimum(dry + 255 * rain, 255) if added else dry + rain * (255 - dry)
        return pair._replace(input=np.rint(rainy).astype(np.uint8))
