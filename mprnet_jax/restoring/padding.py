"""Images padded to sizes that the network takes. NumPy only. Images are H W C."""

import numpy as np


def up_to_multiple(size: int, multiple: int) -> int:
    """The smallest multiple that is not less than a size.

    >>> up_to_multiple(17, 8), up_to_multiple(16, 8)
    (24, 16)
    """
    return -(-size // multiple) * multiple


def pad_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pad at the bottom and the right to a size.

    By reflection, as the official demo does; where the image is too small to reflect (reflection gives at most
    n - 1 rows), the last row or column is repeated.

    >>> pad_to(np.array([[1, 2, 3]]), 1, 5)
    array([[1, 2, 3, 2, 1]])
    >>> pad_to(np.array([[1, 2]]), 2, 5)
    array([[1, 2, 1, 1, 1],
           [1, 2, 1, 1, 1]])
    """
    for axis, wanted in ((0, height), (1, width)):
        missing = wanted - image.shape[axis]
        reflected = min(missing, image.shape[axis] - 1)
        for count, mode in ((reflected, "reflect"), (missing - reflected, "edge")):
            if count:
                padding = [(0, 0)] * image.ndim
                padding[axis] = (0, count)
                image = np.pad(image, padding, mode=mode)
    return image


def pad_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """pad_to the next multiples of `multiple`.

    >>> pad_to_multiple(np.zeros((10, 16, 3)), 8).shape
    (16, 16, 3)
    """
    return pad_to(image, *(up_to_multiple(side, multiple) for side in image.shape[:2]))
