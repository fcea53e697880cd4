"""The only place where pixels change type: uint8, uint16 and float in [0, 1]."""

import numpy as np

from mprnet_jax.support.errors import UserError


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1]; floats are taken to be in [0, 1] already and only become float32."""
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.iinfo(image.dtype).max
    if np.issubdtype(image.dtype, np.floating):
        return image.astype(np.float32)
    raise UserError(f"an image array must be uint8, uint16, or float in [0, 1]; got {image.dtype}")


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] (clipped) -> uint8, rounded half to even, as the published scores are."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def to_uint16(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] (clipped) -> uint16, rounded half to even."""
    return np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)


def to_depth(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """uint8 or uint16, as `dtype` says, from any of the types that to_float takes."""
    if image.dtype == dtype:
        return image
    return to_uint8(to_float(image)) if dtype == np.uint8 else to_uint16(to_float(image))
