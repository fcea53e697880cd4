"""The arrays that the network is run on for an image: one for each tile and orientation."""

from collections.abc import Iterator, Sequence

import numpy as np

from mprnet_jax import images
from mprnet_jax.model import SIZE_MULTIPLE
from mprnet_jax.restoring import shape_buckets
from mprnet_jax.restoring.engines.executables import Job, Network, ProgramKey
from mprnet_jax.restoring.orientations import Orientation, Part, turn, turned_part
from mprnet_jax.restoring.padding import pad_to, up_to_multiple
from mprnet_jax.restoring.shape_buckets import Shape
from mprnet_jax.restoring.tiles import Tiles


def image_jobs(
    image: np.ndarray, tiles: Tiles, orientations: Sequence[Orientation], network: Network, shapes: Sequence[Shape]
) -> Iterator[Job]:
    """The jobs of an image (H W 3 uint8, uint16 or float), tile after tile, each in all orientations.

    `shapes`: what whole images are padded to, so that one program serves many sizes; empty for a program for each size.
    """
    for part in tiles.parts():
        for orientation in orientations:
            turned = turned_part(part, image.shape[:2], *orientation)
            yield _job(turn(image, *orientation), turned, orientation, tiles, network, shapes)


def _job(
    image: np.ndarray,
    part: Part,
    orientation: Orientation,
    tiles: Tiles,
    network: Network,
    shapes: Sequence[Shape],
) -> Job:
    """The job for a part of an image; both are turned already."""
    sides = tuple(up_to_multiple(side, SIZE_MULTIPLE) for side in image.shape[:2])
    quarters, _ = orientation
    tile = tiles.tile[::-1] if quarters % 2 else tiles.tile
    if tiles.halo == 0 and (len(tiles) > 1 or not shapes):
        # Tiles are equal but at the borders of small images; padding there keeps it to one compiled program.
        size = tuple(map(min, sides, tile))
        height, width = (where.stop - where.start for where in part)
        pixels = pad_to(to_unit_range(image[part]), *size)
        return Job(ProgramKey(network, *size), pixels, (slice(height), slice(width)), orientation)
    windows = network.windows(*sides)
    if len(tiles) == 1:
        shape = shape_buckets.smallest_fitting(shapes, *sides) or sides
        pixels = np.zeros((*shape, 3), np.float32)
        pixels[: sides[0], : sides[1]] = pad_to(to_unit_range(image), *sides)
        offset = (0, sides[0], 0, sides[1])
        return Job(ProgramKey(network, *shape, windows=windows), pixels, part, orientation, offset)
    size = tuple(map(min, sides, tile))
    begins = tuple(
        max(0, min((where.start - tiles.halo) // SIZE_MULTIPLE * SIZE_MULTIPLE, side - seen))
        for where, side, seen in zip(part, sides, size, strict=True)
    )
    seen = tuple(slice(begin, begin + length) for begin, length in zip(begins, size, strict=True))
    pixels = pad_to(to_unit_range(image[seen]), *size)
    crop = tuple(slice(where.start - begin, where.stop - begin) for where, begin in zip(part, begins, strict=True))
    offset = (begins[0], sides[0], begins[1], sides[1])
    return Job(ProgramKey(network, *size, windows=windows), pixels, crop, orientation, offset)


def to_unit_range(pixels: np.ndarray) -> np.ndarray:
    """float32 in [0, 1]. Floats beyond are clipped: so is what a file holds, and what the network was trained on."""
    converted = images.to_float(pixels)
    return np.clip(converted, 0, 1) if np.issubdtype(pixels.dtype, np.floating) else converted
