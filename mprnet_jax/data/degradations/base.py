"""What a degradation is: a frozen dataclass of ranges; applying it draws one degradation.

Pictures are H W 3 uint8, in and out: a network trained on what a file can hold (rounded and clipped) meets nothing
else when it restores files.
"""

import abc
from typing import NamedTuple

import numpy as np


class Degraded(NamedTuple):
    """A degraded picture, and what a network should make of it: two H W 3 uint8 of one size."""

    input: np.ndarray
    target: np.ndarray


class Degradation(abc.ABC):
    """One step from a clean picture to a degraded one. Steps can follow each other (mixture.Chain)."""

    @property
    def margin(self) -> int:
        """Pixels around a crop that it should be given more, and that are cut off afterwards."""
        return 0

    @abc.abstractmethod
    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """The input degraded further. The target changes only in what the network is not to undo."""

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The degraded picture alone; H W 3 uint8 -> another of the same size."""
        return self.apply(Degraded(clean, clean), rng).input


def degrade_crop(degradation: Degradation, wide: np.ndarray, rng: np.random.Generator) -> Degraded:
    """Degrade a crop that has the degradation's margin around it, and cut the margin off both pictures."""
    margin = degradation.margin
    inner = lambda image: image[margin : len(image) - margin, margin : image.shape[1] - margin]
    return Degraded(*map(inner, degradation.apply(Degraded(wide, wide), rng)))
