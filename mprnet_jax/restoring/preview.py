"""A look before the whole: one crop of a picture restored with what lies around it, at several strengths."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mprnet_jax import images
from mprnet_jax.restoring import strength
from mprnet_jax.restoring.orientations import Part
from mprnet_jax.restoring.restorer import Restorer

SIDE = 512  # pixels of the crop
MARGIN = 32  # pixels around it that the network sees, too; with 96 it comes 0.05 dB nearer to the whole's
STEP = 4  # pixels between those that are looked at for the busiest crop
STRONGEST = 0.1  # difference of neighbours, of 1, that counts: a single hard edge is not what a preview is for


@dataclasses.dataclass(frozen=True)
class Preview:
    """A crop before and after."""

    part: Part  # rows and columns in the picture
    before: np.ndarray  # h w 3 float32 in [0, 1]
    after: list[np.ndarray]  # for each strength, the same


def busiest(pixels: np.ndarray, side: int | None = None) -> tuple[int, int]:
    """The middle (x, y) of the square crop of an image (H W 3) that holds most detail, pixels."""
    side = side or SIDE
    sparse = images.to_float(np.ascontiguousarray(pixels[::STEP, ::STEP, 1]))  # green, which is most of luminance
    detail = np.zeros_like(sparse)
    for axis in (0, 1):
        steps = np.minimum(np.abs(np.diff(sparse, axis=axis)), STRONGEST)
        detail[tuple(slice(length) for length in steps.shape)] += steps
    tall, wide = (min(side // STEP, length) for length in sparse.shape)
    sums = np.pad(detail.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    row, column = np.unravel_index(np.argmax(inside), inside.shape)
    return (int(column) + wide // 2) * STEP, (int(row) + tall // 2) * STEP


def crop_at(height: int, width: int, x: int, y: int, side: int | None = None) -> Part:
    """The crop of an image around a point, moved inside where it would leave it."""

    side = side or SIDE

    def along(length: int, middle: int) -> slice:
        begin = max(0, min(middle - side // 2, length - side))
        return slice(begin, min(begin + side, length))

    return along(height, y), along(width, x)


def make_preview(
    restorer: Restorer, pixels: np.ndarray, at: tuple[int, int] | None = None, strengths: Sequence[float] = ()
) -> Preview:
    """Restore one crop of an image (H W 3 uint8, uint16 or float) around `at` (x, y in pixels; None: the busiest).

    `strengths`: of luminance and colour; empty for those of the restorer. The crop differs from the whole picture's as
    tiles do, and where a part is given back by sigmas of its own. Raises UserError as the restorer does.
    """
    height, width = pixels.shape[:2]
    part = crop_at(height, width, *(at or busiest(pixels)))
    y, x = ((along.start + along.stop) // 2 for along in part)
    seen = crop_at(height, width, x, y, SIDE + 2 * MARGIN)  # also at borders, so that one compiled program serves all
    inside = tuple(
        slice(along.start - outer.start, along.stop - outer.start) for along, outer in zip(part, seen, strict=True)
    )
    before = np.clip(images.to_float(pixels[seen]), 0, 1)
    # In the dtype of the whole picture, which may have 8 bits; the crop itself stays float, to be weighed and shown.
    once = restorer.for_pixels(pixels.dtype).with_options(
        tile="whole",
        overlap=None,
        halo=None,
        shapes=(),
        strength=1.0,
        strength_colour=None,
        devices=restorer.devices[:1],
    )
    restored = once(before)
    pairs = [(share, share) for share in strengths] or [restorer.options.strengths]
    after = [strength.partly(before, restored, *pair, restorer.gives_texture_back)[inside] for pair in pairs]
    return Preview(part, before[inside], after)
