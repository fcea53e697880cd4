"""Made pictures."""

import numpy as np


def made_photo() -> np.ndarray:
    """A made picture with gradients, edges and texture: 96 128 3 uint8."""
    y, x = np.mgrid[0:96, 0:128]
    base = np.stack([x * 2 % 256, y * 2.5 % 256, (x + y) % 256], axis=-1)
    base[20:50, 30:70] = [200, 40, 90]
    base += 15 * np.sin(x / 2)[..., None]
    return np.clip(base, 0, 255).astype(np.uint8)
