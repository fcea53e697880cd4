"""One picture file -> one restored picture file, with nothing else of it lost."""

from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.restoring.options import QUALITY
from mprnet_jax.restoring.restorer import Fallback, Progress, Restorer


def open_checked(source: Path, result: Path) -> Picture:
    """The picture in `source`, if the file `result` can hold it: before the work, not after it. Raises UserError."""
    picture = images.open_picture(source)
    images.check_savable(result, picture)
    return picture


def restore_picture(
    restorer: Restorer, picture: Picture, on_tile: Progress | None = None, on_fallback: Fallback | None = None
) -> np.ndarray:
    """The restored pixels of a picture, H W 3; `on_fallback` as Restorer takes it."""
    # Grey is the mean of three restored channels, and CMYK is converted back: both are rounded once, at the end.
    pixels = picture.pixels if picture.mode == "rgb" else images.to_float(picture.pixels)
    return restorer(pixels, on_tile, on_fallback)


def restore_file(
    restorer: Restorer,
    source: Path,
    result: Path,
    quality: int = QUALITY,
    on_tile: Progress | None = None,
    replace: bool = True,
) -> None:
    """Restore one picture into a file with its depth, alpha, profile, notes, permissions and times.

    `quality` (1 to 100) is that of a JPEG; an existing result is replaced, unless `replace` is False. Raises UserError.
    """
    picture = open_checked(source, result)
    restored = restore_picture(restorer, picture, on_tile)
    images.save_picture(result, restored, picture, quality=quality, replace=replace, attributes_of=source)
