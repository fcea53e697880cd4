"""Crops and flips. Images are H W C arrays; randomness is an argument."""

import numpy as np

# The nine equally likely outcomes of the official release: identity twice, two flips, three rotations, transpose,
# anti-transpose.
ORIENTATIONS = 9


def orient(image: np.ndarray, outcome: int) -> np.ndarray:
    """One of the nine orientations, 0..8; 0 and 8 leave the image as it is."""
    match outcome:
        case 1:
            return image[::-1]
        case 2:
            return image[:, ::-1]
        case 3 | 4 | 5:
            return np.rot90(image, outcome - 2)
        case 6:
            return image.swapaxes(0, 1)
        case 7:
            return np.rot90(image, 2).swapaxes(0, 1)
    return image


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of `size` pixels at a uniformly random place.

    A smaller image is padded by reflection at the right and the bottom first, as the official loader does.
    """
    h, w = image.shape[:2]
    if h < size or w < size:
        # "symmetric" repeats the last row, and so reflects an image as small as 1 x 1
        mode = "reflect" if min(h, w) > 1 else "symmetric"
        image = np.pad(image, ((0, max(0, size - h)), (0, max(0, size - w)), (0, 0)), mode=mode)
        h, w = image.shape[:2]
    top, left = rng.integers(h - size + 1), rng.integers(w - size + 1)
    return image[top : top + size, left : left + size]
