"""The eight orientations of an image: quarter turns, each with and without a flip. NumPy only. Images are H W C."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

Part = tuple[slice, slice]  # rows and columns of an image
Orientation = tuple[int, bool]  # quarter turns, after a left-right flip or not; see `turn`

ORIENTATIONS: Mapping[str, Orientation] = MappingProxyType(
    {
        f"rot{90 * quarters}{'_flip' if flipped else ''}": (quarters, flipped)
        for quarters in range(4)
        for flipped in (False, True)
    }
)
"""By the names that a bundle's provenance uses: rot0, rot0_flip (left-right), rot90 ... rot270_flip."""


def turn(image: np.ndarray, quarters: int, flipped: bool, back: bool = False) -> np.ndarray:
    """One of the eight orientations of an image (H W C, turned W H C), or back from it; a view.

    >>> turn(np.array([[1, 2], [3, 4]])[..., None], quarters=1, flipped=True)[..., 0].tolist()
    [[1, 3], [2, 4]]
    """
    if back:
        image = np.rot90(image, -quarters)
    image = image[:, ::-1] if flipped else image
    return image if back else np.rot90(image, quarters)


def turned_part(part: Part, size: tuple[int, int], quarters: int, flipped: bool) -> Part:
    """Where a part of an image of a size (height, width) is after `turn`."""
    (rows, columns), (height, width) = part, size
    mirrored = lambda where, length: slice(length - where.stop, length - where.start)
    if flipped:
        columns = mirrored(columns, width)
    for _ in range(quarters):
        rows, columns, height, width = mirrored(columns, width), rows, width, height
    return rows, columns
