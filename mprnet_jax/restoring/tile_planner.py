"""How an image is cut into tiles: as asked for, or by the memory that is free."""

import dataclasses
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
LARGEST_TILE = 1024  # pixels, of tile auto: overlaps grow with the tile, so a larger one would only take more memory
# Of the memory that may be planned with, on a CPU: what a picture larger than a tile may take as a whole. Tiles lose at
# most 0.01 dB, and other programs need memory, too.
WHOLE_SHARE = 0.4
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
        whole = up_to_multiple(max(height, width), SIZE_MULTIPLE)
        halo = self.halo()
        if options.tile == "auto":
            tile = self._largest_tile(height, width, halo)
            if tile < whole and options.halo is None:
                tile = self._cheapest_tile(height, width, tile)
        else:
            tile = whole if options.tile == "whole" else options.tile
        if tile >= whole:
            return Tiles(height, width, whole, 0)
        if options.halo is None:
            return self._overlapping(height, width, tile)
        least = max(2 * halo + SMALLEST_CORE + SIZE_MULTIPLE, self.network.window)
        if tile < least:
            raise UserError(
                f"a halo of {halo} pixels needs tiles of at least {least} pixels, not {tile}; give a larger tile, or a "
                f"smaller halo (one window, {self.network.window} pixels, comes near)"
            )
        return Tiles(height, width, tile, 0, halo)

    def _overlapping(self, height: int, width: int, tile: int) -> Tiles:
        return Tiles(height, width, tile, tile // 8 if self.options.overlap is None else self.options.overlap)

    def _cheapest_tile(self, height: int, width: int, largest: int) -> int:
        """The side, from `largest` down to five eighths of it, of which the tiles have the fewest pixels in all.

        A photo a little longer than some tiles would have one more, and all of them overlap by far: 20 tiles of 1024
        for 4000 x 3000 have 1.7 times the photo's pixels, 20 of 896 have 1.3 times. Few sizes, and so few programs.
        """
        step = max(SIZE_MULTIPLE, largest // 16 // SIZE_MULTIPLE * SIZE_MULTIPLE)
        sides = range(largest, max(SMALLEST_TILE, largest * 5 // 8) - 1, -step)
        return min(sides, key=lambda side: len(self._overlapping(height, width, side)) * side**2, default=largest)

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

    def _largest_tile(self, height: int, width: int, halo: int) -> int:
        padded = tuple(up_to_multiple(side, SIZE_MULTIPLE) for side in (height, width))
        shape = shape_buckets.smallest_fitting(self.options.shapes, *padded)
        free = for_whole = memory.available_bytes() * self.options.memory_share
        if jax.default_backend() == "cpu":  # its devices share the machine's memory
            free = for_whole = free / self.engine.lanes
            # Tiles with a halo compute much of the picture several times over: not if they can be helped.
            if not halo:
                # Nor as a whole on one of several parts of a CPU, while the others wait.
                for_whole = free * WHOLE_SHARE if self.engine.lanes == 1 else 0
        if shape is None and padded[0] * padded[1] <= COMPILED_AT_ONCE:
            per_pixel = self.program_bytes(*padded) / (padded[0] * padded[1])
        else:
            shape = shape or padded
            per_pixel = self._bytes_per_pixel(exact=False)
        if per_pixel * math.prod(shape or padded) <= for_whole:
            return max(padded)
        if halo:
            per_pixel = self._bytes_per_pixel(exact=True)
        side = min(math.sqrt(free / self.options.batch / per_pixel), max(LARGEST_TILE, 4 * halo))
        if side <= SMALLEST_TILE:
            return SMALLEST_TILE
        step = 2 ** (int(math.log2(side)) - 3)  # a few sizes, so that free memory may change without a new program
        return int(side) // step * step

    def _bytes_per_pixel(self, exact: bool) -> float:
        """Memory of tiles, in proportion to their pixels; `exact`: of those with a halo."""
        side, windows = REFERENCE_SIDE, None
        if exact:
            side = up_to_multiple(max(REFERENCE_SIDE, self.network.window), SIZE_MULTIPLE)
            windows = (self.network.window, self.network.window)
        key = ProgramKey(self.network, side, side, windows=windows)
        return self.engine.program_bytes(key) / key.pixels
