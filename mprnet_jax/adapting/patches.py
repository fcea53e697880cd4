"""Smooth patches of a photo, chosen without looking at their own noise.

Choosing the patches of the lowest variance would find the noise too weak. A patch is chosen by the patches around it:
texture goes on from one to the next, noise does not.
"""

import functools

import numpy as np
from scipy import ndimage

SIDE = 24  # pixels of a patch: several times as wide as the blotches of a camera
DARK, BRIGHT = 2, 253  # of 255: below and above, noise is clipped
MOST_CLIPPED = 0.02  # share of a patch's values
SMOOTHEST = 0.15  # share of the patches of a brightness that are taken
BRIGHTNESSES = 8  # groups of equally many patches, of which each gives its smoothest
OUTLIER = 1.7  # times the median variance of the chosen ones: an edge came in


@functools.cache
def plane_basis() -> np.ndarray:
    """SIDE * SIDE x 3, orthonormal: constant and the two slopes."""
    slope = np.arange(SIDE) - (SIDE - 1) / 2
    rows, columns = np.meshgrid(slope, slope, indexing="ij")
    basis = np.stack((np.ones_like(rows), rows, columns), axis=-1).reshape(-1, 3)
    return basis / np.linalg.norm(basis, axis=0)


def grid(image: np.ndarray) -> np.ndarray:
    """H W 3 -> rows columns SIDE SIDE 3: the patches side by side; what is left at the borders is dropped."""
    rows, columns = image.shape[0] // SIDE, image.shape[1] // SIDE
    cut = image[: rows * SIDE, : columns * SIDE]
    return cut.reshape(rows, SIDE, columns, SIDE, -1).swapaxes(1, 2)


def without_plane(patches: np.ndarray) -> np.ndarray:
    """... SIDE SIDE C -> the same less the plane that fits each channel best."""
    basis = plane_basis().astype(np.float32)
    flat = patches.reshape(-1, SIDE * SIDE, patches.shape[-1])
    return (flat - basis @ (basis.T @ flat)).reshape(patches.shape)


def roughness(variances: np.ndarray) -> np.ndarray:
    """Rows columns, variance of each patch -> the mean logarithm of the up to eight around it, of infinity if alone."""
    logarithms = np.log(variances + 0.05)
    around = np.ones((3, 3))
    around[1, 1] = 0
    count = ndimage.convolve(np.ones_like(logarithms), around, mode="constant")
    total = ndimage.convolve(logarithms, around, mode="constant")
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def smooth_places(image: np.ndarray) -> np.ndarray:
    """H W 3 uint8 -> N 2: rows and columns of the grid where its smooth patches are; none if the photo is too small."""
    patches = grid(image.astype(np.float32))
    if min(patches.shape[:2]) < 3:
        return np.zeros((0, 2), int)
    clipped = ((patches <= DARK) | (patches >= BRIGHT)).mean(axis=(2, 3)).max(axis=-1)
    variances = without_plane(patches).var(axis=(2, 3)).mean(axis=-1)
    usable = clipped <= MOST_CLIPPED
    rough = roughness(variances)
    means = patches.mean(axis=(2, 3, 4))
    if not usable.any():
        return np.zeros((0, 2), int)
    edges = np.quantile(means[usable], np.linspace(0, 1, BRIGHTNESSES + 1)[1:-1])
    group = np.digitize(means, edges)
    chosen = np.zeros_like(usable)
    for number in range(BRIGHTNESSES):
        mine = usable & (group == number)
        if mine.sum() < 4:
            continue
        limit = np.quantile(rough[mine], SMOOTHEST)
        taken = mine & (rough <= limit)
        chosen |= taken & (variances <= OUTLIER * np.median(variances[taken]))
    return np.argwhere(chosen)


def smooth_patches(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smooth patches of an H W 3 uint8 photo: N SIDE SIDE 3 float32 without their planes, and N 3, their means."""
    places = smooth_places(image)
    chosen = grid(image.astype(np.float32))[places[:, 0], places[:, 1]]
    return without_plane(chosen), chosen.mean(axis=(1, 2))
