"""Padding, and (later) tiles: where pixels come from and go to. NumPy only. Images are H W C."""

import numpy as np


def pad_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """Pad at the bottom and the right until height and width are multiples of `multiple`.

    By reflection, as the official demo does; where the image is too small to reflect (reflection gives at most
    n - 1 rows), the last row or column is repeated.
    """
    for axis in (0, 1):
        size = image.shape[axis]
        wanted = -size % multiple
        reflected = min(wanted, size - 1)
        for count, mode in ((reflected, "reflect"), (wanted - reflected, "edge")):
            padding = [(0, 0)] * image.ndim
            padding[axis] = (0, count)
            image = np.pad(image, padding, mode=mode)
    return image
