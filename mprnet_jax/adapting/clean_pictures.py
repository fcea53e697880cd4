"""Clean pictures to add noise to: those that ship with the package, and the user's photos, restored and shrunk.

Restoring alone leaves the slow part of a camera's noise, which would be learnt as something to keep. Shrinking takes
out what is left, and leaves edges and textures of the kind that the user photographs.
"""

import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.adapting.noise_model import level
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.data.degradations.measured_noise import REACH, NoiseProfile

SHIPPED = ("bridge_sigma50", "cat_camera15", "coffee_clean", "koala_sigma25")  # photographs, none of a test chart
LARGEST_PART = 768  # pixels, side of what is taken of each photo
LEFT = 0.35  # of the slow part of the noise, which restoring leaves: what the shipped denoiser does to DSLRs
CLEAN = 1.0  # of 255: noise that a picture called clean may have
FACTORS = (2, 3, 4)  # of shrinking
LEAST_SIDE = 96  # pixels of a shrunk picture


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """H W 3 uint8 -> means of factor x factor pixels; what is left at the borders is dropped."""
    return np.asarray(Image.fromarray(image).reduce(factor))[: image.shape[0] // factor, : image.shape[1] // factor]


def shrunk_sigma(profile: NoiseProfile, factor: int) -> float:
    """Standard deviation of 255 of a profile's noise in means of factor x factor pixels."""
    pairs = factor - np.abs(np.arange(1 - factor, factor))  # of pixels of one block that are so far apart
    near = slice(REACH + 1 - factor, REACH + factor)
    variance = np.einsum("i,j,ijaa->", pairs, pairs, profile.covariance[near, near]) / factor**4 / 3
    return level(profile) * float(np.sqrt(max(variance, 0)))


def factor_for(profile: NoiseProfile) -> int:
    """By how much a restored photo is shrunk, so that nothing is left of its noise; at least to the half."""
    return next((factor for factor in FACTORS if LEFT * shrunk_sigma(profile, factor) < CLEAN), FACTORS[-1])


def shipped_pictures() -> list[np.ndarray]:
    """Clean photographs in the package, H W 3 uint8."""
    return [images.read(SAMPLES / "denoising" / "target" / f"{name}.png") for name in SHIPPED]


def clean_picture(restored: np.ndarray, factor: int) -> np.ndarray | None:
    """A restored photo, H W 3 uint8, shrunk by a factor; None if too little is left to learn from."""
    return shrunk(restored, factor) if min(restored.shape[:2]) >= factor * LEAST_SIDE else None
