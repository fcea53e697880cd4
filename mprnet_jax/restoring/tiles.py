"""A grid of tiles over an image, and the blending of what they give. NumPy only. Images are H W C."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mprnet_jax.restoring.orientations import Part


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis: as few as overlap by at least `overlap`, evenly spread, the last at the end.

    >>> starts(size=100, tile=40, overlap=8)
    [0, 30, 60]
    >>> starts(size=30, tile=40, overlap=8)
    [0]
    """
    if size <= tile:
        return [0]
    count = math.ceil((size - overlap) / (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def blending_weights(size: int, positions: list[int], tile: int) -> list[np.ndarray]:
    """Weights along an axis of each tile: 1 where it is alone, falling linearly where neighbours overlap.

    The weights of all tiles add up to 1 at every pixel, so the blended image has no seam.

    >>> blending_weights(size=6, positions=[0, 2], tile=4)
    [array([1.  , 1.  , 0.75, 0.25], dtype=float32), array([0.25, 0.75, 1.  , 1.  ], dtype=float32)]
    """
    length = min(tile, size)
    windows = []
    for i, begin in enumerate(positions):
        window = np.ones(length)
        if i > 0:
            shared = positions[i - 1] + length - begin
            window[:shared] *= (np.arange(shared) + 0.5) / shared
        if i + 1 < len(positions):
            shared = begin + length - positions[i + 1]
            window[length - shared :] *= (np.arange(shared)[::-1] + 0.5) / shared
        windows.append(window)
    total = np.zeros(size)
    for begin, window in zip(positions, windows, strict=True):
        total[begin : begin + length] += window
    pairs = zip(positions, windows, strict=True)
    return [(window / total[begin : begin + length]).astype(np.float32) for begin, window in pairs]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A grid of equal tiles over an image; one tile of the whole image if it is no larger than a tile.

    >>> tiles = Tiles(height=100, width=70, tile=(40, 40), overlap=8)
    >>> tiles.rows, tiles.columns, len(tiles)
    ([0, 30, 60], [0, 30], 6)
    """

    height: int  # of the image, pixels
    width: int
    tile: tuple[int, int]  # height and width of a tile, pixels
    overlap: int  # that neighbours share at least, pixels
    halo: int = 0  # around what a tile restores, inside the tile, pixels

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= min(self.tile) // 2:
            raise ValueError(f"overlap must be in 0..tile/2, got {self.overlap} for tiles of {self.tile} pixels")
        if self.halo and self.overlap:
            raise ValueError("tiles have a halo or an overlap, not both")

    @property
    def core(self) -> tuple[int, int]:
        """Height and width of what a tile restores, pixels."""
        return self._core(self.height, self.tile[0]), self._core(self.width, self.tile[1])

    def _core(self, size: int, tile: int) -> int:
        if size <= tile:
            return size
        # A halo begins at a multiple of 8, up to 7 pixels before it must.
        return tile - 2 * self.halo - 8 if self.halo else tile

    @property
    def rows(self) -> list[int]:
        """First rows of the tiles' cores, pixels."""
        return starts(self.height, self.core[0], self.overlap)

    @property
    def columns(self) -> list[int]:
        """First columns of the tiles' cores, pixels."""
        return starts(self.width, self.core[1], self.overlap)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def parts(self) -> Iterator[Part]:
        """What each tile restores, row after row."""
        tall, wide = self.core
        for top in self.rows:
            for left in self.columns:
                yield slice(top, top + tall), slice(left, left + wide)

    def blend(self, restored: Iterable[np.ndarray], finish: Callable[[int, np.ndarray], None]) -> None:
        """Join restored tiles, and hand over finished rows, so that memory holds a row of tiles at a time.

        `restored` gives the float pixels of each of parts(), h w C. `finish(first_row, pixels)` is called with whole
        rows of the result, from top to bottom.
        """
        tiles = iter(restored)
        if len(self) == 1:
            finish(0, next(tiles))
            return
        rows, columns = self.rows, self.columns
        tall, wide = self.core
        weights_down = blending_weights(self.height, rows, tall)
        weights_across = blending_weights(self.width, columns, wide)
        band: np.ndarray | None = None  # weighted sums of the rows begun and not finished, from row `first` on
        first = 0
        for i, top in enumerate(rows):
            bottom = top + tall
            strip: np.ndarray | None = None
            for left, weights in zip(columns, weights_across, strict=True):
                part = next(tiles)
                right = left + part.shape[1]
                if strip is None:
                    strip = np.zeros((bottom - top, self.width, part.shape[2]), np.float32)
                strip[:, left:right] += part * weights[:, None]
            strip *= weights_down[i][:, None, None]
            if band is not None:
                strip[: len(band)] += band
            last = rows[i + 1] if i + 1 < len(rows) else self.height
            finish(first, strip[: last - first])
            band, first = strip[last - first :], last
