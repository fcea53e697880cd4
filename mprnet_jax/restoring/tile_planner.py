"""How an image is cut into tiles: as asked for, or by the memory that is free."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import jax

from mprnet_jax.model import SIZE_MULTIPLE
from mprnet_jax.restoring import shape_buckets
from mprnet_jax.restoring.engines.engine import Engine
from mprnet_jax.restoring.engines.executables import Network, ProgramKey
from mprnet_jax.restoring.options import RestoreOptions
from mprnet_jax.restoring.padding import up_to_multiple
from mprnet_jax.restoring.receptive_field import receptive_field_radius
from mprnet_jax.restoring.tiles import Tiles
from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError

SMALLEST_TILE = 128  # pixels; below, the overlaps would cost more than the tiles
OVERLAP = 128  # pixels that tiles of auto share at most: an eighth of a tile of 1024, to which the tables belong
LARGEST_TILE = 1024**2  # pixels of a tile of auto, where it takes more than WHOLE_SHARE
LARGEST_TILE_ON_CPU = 2048**2  # within WHOLE_SHARE
LONGEST = 2  # times as long as wide: channel attention averages over a tile, so let it be a piece, not a strip
# Of the memory that may be planned with, on a CPU: what a picture or a tile beyond LARGEST_TILE may take. Tiles lose at
# most 0.01 dB, and other programs need memory, too.
WHOLE_SHARE = 0.4
TILE_MULTIPLE = 32  # pixels: pictures of nearly one size share a program
SMALLEST_CORE = 64  # pixels of a tile that its halo must leave
REFERENCE_SIDE = 256  # pixels of the program from whose memory that of larger ones is extrapolated
COMPILED_AT_ONCE = 2**20  # pixels; up to here the exact size is compiled, above its memory is extrapolated


@dataclasses.dataclass(frozen=True)
class TilePlanner:
    """Chooses the tiles of an image of any size."""

    network: Network
    options: RestoreOptions
    engine: Engine
    network_for: Callable[[int], Network]
    """The form of the network that restores images of so many pixels."""

    def plan(self, height: int, width: int) -> Tiles:
        """The tiles that an image of a size (pixels) is restored in. If tile is auto, XLA compiles a program to
        learn how much memory it needs.

        Raises UserError if the memory or the tile is too small for the halo.
        """
        options = self.options
        whole = up_to_multiple(height, SIZE_MULTIPLE), up_to_multiple(width, SIZE_MULTIPLE)
        halo = self.halo()
        if options.tile == "auto":
            tile = self._auto_tile(*whole, halo)
        else:
            tile = whole if options.tile == "whole" else (options.tile, options.tile)
        if tile[0] >= whole[0] and tile[1] >= whole[1]:
            return Tiles(height, width, whole, 0)
        if options.halo is None:
            eighth = _overlap(math.prod(tile)) if options.tile == "auto" else tile[0] // 8
            overlap = eighth if options.overlap is None else options.overlap
            return Tiles(height, width, tile, min(overlap, min(tile) // 2))
        least = max(2 * halo + SMALLEST_CORE + SIZE_MULTIPLE, self.network.window)
        if min(tile) < least:
            raise UserError(
                f"a halo of {halo} pixels needs tiles of at least {least} pixels, not {min(tile)}; give a larger tile, "
                f"or a smaller halo (one window, {self.network.window} pixels, comes near)"
            )
        return Tiles(height, width, tile, 0, halo)

    def _cheapest_tile(self, height: int, width: int, largest: int) -> tuple[int, int]:
        """Height and width of the tiles of at most `largest` pixels that have the fewest pixels in all.

        Tiles of one size for all photos overlap by far where a photo is a little longer than some of them: 20 of
        1024 x 1024 for 4000 x 3000 have 1.7 times its pixels, 4 of 2080 x 1568 have 1.1 times.
        """
        cheapest = math.inf, (SMALLEST_TILE, SMALLEST_TILE)
        overlap = _overlap(largest)
        sides = _sides(height, overlap), _sides(width, overlap)
        for (rows, tall), (columns, wide) in itertools.product(*sides):
            is_strip = (rows > 1 and wide > LONGEST * tall) or (columns > 1 and tall > LONGEST * wide)
            if tall * wide <= largest and not is_strip:
                # Lanes without a tile wait for the others.
                computed = up_to_multiple(rows * columns, self.engine.lanes) * tall * wide
                cheapest = min(cheapest, (computed, (tall, wide)))
        return cheapest[1]

    def halo(self) -> int:
        """Pixels that tiles see around what they restore; 0 without a halo."""
        asked = self.options.halo
        if asked is None:
            return 0
        network = self.network
        full = receptive_field_radius(network.config, network.window, network.stages)
        return up_to_multiple(full if asked == "full" else min(asked, full), SIZE_MULTIPLE)

    def program_bytes(self, height: int, width: int) -> int:
        """Memory that restoring H x W pixels (multiples of 8) at once takes, beyond the image itself, in bytes."""
        # Asked of the program that will restore them, so that no other is compiled.
        return self.engine.program_bytes(ProgramKey(self.network_for(height * width), height, width))

    def _auto_tile(self, height: int, width: int, halo: int) -> tuple[int, int]:
        """Height and width of the tiles of auto, those of the picture itself if it is restored as a whole."""
        shape = shape_buckets.smallest_fitting(self.options.shapes, height, width)
        free = for_whole = for_large = memory.available_bytes() * self.options.memory_share
        on_cpu = jax.default_backend() == "cpu"
        if on_cpu:  # its devices share the machine's memory
            free = for_whole = free / self.engine.lanes
            for_large = free * WHOLE_SHARE
            # Tiles with a halo compute much of the picture several times over: not if they can be helped.
            if not halo:
                # Nor as a whole on one of several parts of a CPU, while the others wait.
                for_whole = for_large if self.engine.lanes == 1 else 0
        if shape is None and height * width <= COMPILED_AT_ONCE:
            per_pixel = self.program_bytes(height, width) / (height * width)
        else:
            per_pixel = self._bytes_per_pixel(exact=False)
        needed = per_pixel * math.prod(shape or (height, width))
        if needed <= for_whole or (height * width <= LARGEST_TILE and needed <= free):
            return height, width
        if halo:
            most = free / self.options.batch / self._bytes_per_pixel(exact=True)
            side = int(max(SMALLEST_TILE, min(math.sqrt(most), max(math.sqrt(LARGEST_TILE), 4 * halo))))
            step = 2 ** (int(math.log2(side)) - 3)  # a few sizes: free memory may change without a new program
            return (side // step * step,) * 2
        most = max(1, min(free / self.options.batch / per_pixel, LARGEST_TILE))
        if on_cpu:
            most = max(most, min(for_large / self.options.batch / per_pixel, LARGEST_TILE_ON_CPU))
        # In steps of a fifth: free memory may change a little without other tiles.
        return self._cheapest_tile(height, width, int(2 ** (math.floor(4 * math.log2(most)) / 4)))

    def _bytes_per_pixel(self, exact: bool) -> float:
        """Memory of tiles, in proportion to their pixels; `exact`: of those with a halo."""
        side, windows = REFERENCE_SIDE, None
        if exact:
            side = up_to_multiple(max(REFERENCE_SIDE, self.network.window), SIZE_MULTIPLE)
            windows = (self.network.window, self.network.window)
        key = ProgramKey(self.network, side, side, windows=windows)
        return self.engine.program_bytes(key) / key.pixels


def _overlap(pixels: int) -> int:
    """Pixels that tiles of auto share, by the pixels of one."""
    return min(OVERLAP, math.isqrt(pixels) // 8)


def _sides(size: int, overlap: int) -> list[tuple[int, int]]:
    """Numbers of tiles along an axis, and the least side that so many tiles can have."""
    sides = [(1, size)]
    for count in itertools.count(2):
        side = up_to_multiple(math.ceil((size + (count - 1) * overlap) / count), TILE_MULTIPLE)
        if side < max(SMALLEST_TILE, 2 * overlap):
            return sides
        sides.append((count, min(size, side)))
