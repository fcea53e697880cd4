"""Rain as a camera sees it: bright streaks, nearly parallel, of drops at several distances."""

import dataclasses
import math

import numpy as np

from mprnet_jax.data.degradations.linear_light import convolve

LAYERS = 5  # kinds of streak in one picture, which differ slightly
SPREAD = math.radians(3)  # standard deviation of the angle between kinds


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


@dataclasses.dataclass(frozen=True)
class Rain:
    """Streaks of random angle, length, width, density and brightness, screened over the picture.

    Screening, x + s * (1 - x) on stored values in [0, 1], is how the usual synthetic sets were made; it only brightens.
    """

    angle: tuple[float, float] = (-40.0, 40.0)  # degrees from the vertical: drawn uniformly, as all the others
    length: tuple[float, float] = (8.0, 40.0)  # pixels
    width: tuple[float, float] = (0.8, 2.0)  # pixels, at half brightness
    density: tuple[float, float] = (0.02, 0.25)  # area of the streaks by that of the picture; they may overlap
    brightness: tuple[float, float] = (0.2, 0.7)  # of the middle of a streak; single ones vary by a third

    @property
    def margin(self) -> int:
        return 0  # streaks that come in from outside are drawn, whatever the picture shows there

    def layer(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Brightness of the rain alone, H W in [0, 1]."""
        ranges = (self.angle, self.length, self.width, self.density, self.brightness)
        angle, length, thickness, density, brightness = (rng.uniform(*drawn_from) for drawn_from in ranges)
        rain = np.zeros((height, width), np.float32)
        for _ in range(LAYERS):
            # Far drops make short, thin and faint streaks.
            scale = rng.uniform(0.6, 1.2)
            kernel = streak_kernel(
                scale * length, max(0.7, scale * thickness), math.radians(angle) + rng.normal(0, SPREAD)
            )
            kernel *= scale * brightness
            drops = np.zeros([side + len(kernel) - 1 for side in (height, width)], np.float32)
            area = scale * length * scale * thickness
            count = rng.poisson(density / LAYERS * drops.size / area)
            np.maximum.at(drops.reshape(-1), rng.integers(drops.size, size=count), rng.uniform(2 / 3, 4 / 3, count))
            rain += convolve(drops, kernel)
        return np.clip(rain, 0, 1)  # also what the FFT leaves below 0

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rain = self.layer(*clean.shape[:2], rng)[..., None]
        return np.rint(clean + rain * (255 - clean.astype(np.float32))).astype(np.uint8)
