"""Guard: parts where the network went astray fall back to an earlier stage, or to the input, blended. NumPy and SciPy.

The three stages of MPRNet restore the same picture, so each is a check of the next. Per block of 16 x 16 pixels:

- a value that is not finite,
- a mean that moved away from the input's, or from that of the stage before, further than noise, rain or blur move it,
- values outside of the range that the input has nearby, by more than restored detail overshoots,

make a stage implausible there. The last plausible stage is taken, else the input. What is plausible was measured on
clean, degraded and odd pictures with the weights that ship: docs/strength.md, tools/measure_guard.py.
"""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np

from mprnet_jax.restoring.orientations import Part

BLOCK = 16  # pixels
LARGEST = 1e6  # of values that are computed with
ROWS_AT_ONCE = 16  # blocks
NEIGHBOURS = 3  # blocks across, over which the input's range is taken


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is plausible, in shares of the range from black to white."""

    shift: float  # of a block's mean from the input's
    step: float  # of a block's mean from that of the stage before
    excess: float  # mean over a block of how far values lie outside of the input's range nearby


LIMITS = {  # by task
    "deblurring": Limits(shift=0.5, step=0.3, excess=0.1),
    "denoising": Limits(shift=0.5, step=0.3, excess=0.1),
    # Dense rain turns whole blocks white: what was behind it is darker than all that the input has nearby.
    "deraining": Limits(shift=0.9, step=0.4, excess=0.4),
}


@dataclasses.dataclass(frozen=True)
class Measures:
    """Of one stage, for each block, the worst of the channels: h w float32. Not finite: infinity."""

    shift: np.ndarray
    step: np.ndarray
    excess: np.ndarray

    def implausible(self, limits: Limits) -> np.ndarray:
        """Which blocks are, h w bool."""
        return (self.shift > limits.shift) | (self.step > limits.step) | (self.excess > limits.excess)


def measure(image: np.ndarray, stages: list[np.ndarray]) -> list[Measures]:
    """Of each stage's output; `image` and the outputs are H W 3, the outputs not clipped, the first stage first."""
    mean = _means(image)
    low, high = _extremes(image, np.minimum), _extremes(image, np.maximum)
    found, before = [], None
    for output in stages:
        output = _bounded(output, np.float32(LARGEST))
        own = _means(output)
        excess = _excess(output, low, high)
        step = np.abs(own - (own if before is None else before)).max(axis=-1)
        found.append(Measures(np.abs(own - mean).max(axis=-1), step, excess))
        before = own
    return found


def guarded(image: np.ndarray, stages: list[np.ndarray], limits: Limits) -> tuple[np.ndarray, np.ndarray | None]:
    """The last plausible stage of each part, blended; and where it is not the last: H W float32, 0 the last stage to 1
    the input. None if it is the last everywhere: then the output is that of the last stage, the same array.
    """
    wrong = [measures.implausible(limits) for measures in measure(image, stages)]
    if not wrong[-1].any():
        return stages[-1], None
    result = image.astype(np.float32)
    trust = np.zeros(image.shape[:2], np.float32)
    for number, (output, bad) in enumerate(zip(stages, wrong, strict=True), 1):
        weight = _soft(~bad, image.shape)
        usable = _bounded(output, result)  # where it is not, its weight is 0
        result += weight[..., None] * (usable - result)
        trust += weight * (number / len(stages) - trust)
    return result, 1 - trust


def _bounded(output: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """`instead` where values are not finite, or so large that sums of them would not be; else the same array."""
    bounded = np.abs(output) <= LARGEST
    return output if bounded.all() else np.where(bounded, output, instead)


class Fallbacks:
    """Where the guard fell back in one image: the maps of its tiles, joined."""

    def __init__(self, size: tuple[int, int]) -> None:
        """`size`: height and width of the image, pixels."""
        self._size = size
        self._map: np.ndarray | None = None

    def add(self, part: Part, fell_back: np.ndarray) -> None:
        """Of one tile: h w, 0 to 1. Where tiles overlap the most counts."""
        if self._map is None:
            self._map = np.zeros(self._size, np.float32)
        np.maximum(self._map[part], fell_back, out=self._map[part])

    def tell(self, on_fallback: Callable[[np.ndarray], None] | None) -> None:
        """Hand over the map (H W) if there is one; a warning if nobody takes it."""
        if self._map is None:
            return
        if on_fallback is not None:
            on_fallback(self._map)
        else:
            warnings.warn(f"the network went astray {where(self._map)}", RuntimeWarning, stacklevel=4)


def where(fell_back: np.ndarray) -> str:
    """A map (H W) in words: how much of the picture, where, and what is there now."""
    share = float((fell_back > 0).mean())
    rows, columns = np.nonzero(fell_back > 0)
    box = f"{columns.min()},{rows.min()} to {columns.max() + 1},{rows.max() + 1}"
    how_much = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    return f"in {how_much} of the picture ({box}); an earlier stage or the input is kept there"


def _soft(good: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of pixels by blocks: 0 in blocks that are not good, rising to 1 through the neighbours, H W."""
    from scipy import ndimage  # here: it is seldom needed, and loading it takes a third of a second

    sure = ndimage.binary_erosion(good, np.ones((3, 3)), border_value=1).astype(np.float32)
    along = [
        np.clip((np.arange(side) + 0.5) / BLOCK - 0.5, 0, count - 1)
        for side, count in zip(shape, sure.shape, strict=False)
    ]
    weight = ndimage.map_coordinates(sure, np.meshgrid(*along, indexing="ij"), order=1, mode="nearest")
    return np.where(_spread(good, shape), weight, 0)


def _edges(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where blocks begin along rows and columns; the last may be smaller."""
    return np.arange(0, shape[0], BLOCK), np.arange(0, shape[1], BLOCK)


def _means(image: np.ndarray) -> np.ndarray:
    rows, columns = _edges(image.shape)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    tall, wide = (np.diff(np.append(edges, side)) for edges, side in zip((rows, columns), image.shape, strict=False))
    return sums / (tall[:, None] * wide)[..., None].astype(np.float32)


def _extremes(image: np.ndarray, reduce: np.ufunc) -> np.ndarray:
    """Of each block and its neighbours."""
    rows, columns = _edges(image.shape)
    found = reduce.reduceat(reduce.reduceat(image, rows, axis=0), columns, axis=1)
    reach = NEIGHBOURS // 2
    padded = np.pad(found, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return reduce.reduce(
        np.lib.stride_tricks.sliding_window_view(padded, (NEIGHBOURS,) * 2, axis=(0, 1)), axis=(-2, -1)
    )


def _excess(output: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Means over blocks of how far values lie beyond `low` and `high`, some rows at a time: photos are large."""
    found = np.empty(low.shape[:2], np.float32)
    for first in range(0, len(found), ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        rows = output[first * BLOCK : (first + ROWS_AT_ONCE) * BLOCK]
        beyond = np.maximum(_spread(low[some], rows.shape) - rows, rows - _spread(high[some], rows.shape))
        found[some] = _means(np.maximum(beyond, 0)).max(axis=-1)
    return found


def _spread(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A value for each block -> for each pixel."""
    return blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[: shape[0], : shape[1]]
