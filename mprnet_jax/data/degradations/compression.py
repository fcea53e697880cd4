"""JPEG as cameras and programs save it: degrades what a network sees, and not what it is to make of it."""

import dataclasses

import imagecodecs
import numpy as np

from mprnet_jax.data.degradations.base import Degradation, Degraded

SUBSAMPLING = ("420", "444")  # of the colours, equally likely: half the size both ways, or whole
BLOCK = 16  # pixels, side of what JPEG codes at once with halved colours


@dataclasses.dataclass(frozen=True)
class Jpeg(Degradation):
    """The picture saved as a JPEG and opened again."""

    quality: tuple[int, int] = (70, 98)  # of libjpeg: drawn uniformly
    share: float = 1.0  # probability; a picture stays as it is else

    def apply(self, pair: Degraded, rng: np.random.Generator) -> Degraded:
        """The input saved as a JPEG and opened again, in `share` of the draws."""
        quality, subsampling = int(rng.integers(self.quality[0], self.quality[1] + 1)), rng.choice(SUBSAMPLING)
        top, left = rng.integers(BLOCK, size=2)  # where in the picture the blocks begin
        if rng.random() >= self.share:
            return pair
        shifted = np.pad(pair.input, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
        saved = imagecodecs.jpeg8_encode(shifted, level=quality, subsampling=str(subsampling))
        return pair._replace(input=np.ascontiguousarray(imagecodecs.jpeg8_decode(saved)[top:, left:]))
