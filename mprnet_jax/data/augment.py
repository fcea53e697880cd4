"""Crops, flips and saturation. Images are H W C arrays; randomness is an argument."""

from collections.abc import Callable

import numpy as np

# The nine equally likely outcomes of the official release: identity twice, two flips, three rotations, transpose,
# anti-transpose.
ORIENTATIONS = 9
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, of stored (gamma-coded) values
SATURATION = (0.8, 1.2)  # factors, drawn uniformly; official deblurring recipe


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


def reflect(places: np.ndarray, length: int) -> np.ndarray:
    """Indices beyond 0..length-1 -> those inside that they mirror; the border itself is not repeated."""
    if length == 1:
        return np.zeros_like(places)
    places = places % (2 * (length - 1))
    return np.minimum(places, 2 * (length - 1) - places)


def window(image: np.ndarray, top: int, left: int, size: int, margin: int = 0) -> np.ndarray:
    """A square of `size` pixels with `margin` more on each side; what is beyond the image is its reflection."""
    h, w = image.shape[:2]
    rows, columns = (np.arange(start - margin, start + size + margin) for start in (top, left))
    if rows[0] >= 0 and columns[0] >= 0 and rows[-1] < h and columns[-1] < w:
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return image[np.ix_(reflect(rows, h), reflect(columns, w))]


def draw_crop(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a uniformly random square of `size` pixels.

    0 where the image is smaller: it is then padded at the right and the bottom, as the official loader does.
    """
    top, left = (int(rng.integers(max(0, side - size) + 1)) for side in shape[:2])
    return top, left


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Saturation times `factor`: each pixel moves away from its own grey, luma + factor * (pixel - luma), uint8.

    No pixel depends on another, so a crop of the changed image is the changed crop.
    """
    grey = (image @ LUMA)[..., None]
    return np.rint(np.clip(grey + np.float32(factor) * (image - grey), 0, 255)).astype(np.uint8)


def draw_saturation(probability: float, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """The same change for all images that the result is applied to; with 1 - probability, none."""
    if rng.random() >= probability:
        return lambda image: image
    factor = rng.uniform(*SATURATION)
    return lambda image: saturate(image, factor)
