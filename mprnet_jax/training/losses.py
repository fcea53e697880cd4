"""Training losses (paper, section 3.3; MPRNet `losses.py` of the official release).

Images are N H W C in [0, 1]. A loss of a pair is a scalar mean; the loss of the three stages is their sum.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

EPS_SQUARED = 1e-6  # inside the root, so that the gradient is 0, not NaN, where both images agree
EDGE_WEIGHT = 0.05  # of the edge term beside the Charbonnier term
GAUSSIAN_TAPS = np.array([0.05, 0.25, 0.4, 0.25, 0.05], np.float32)  # one axis of the 5 x 5 kernel

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def charbonnier(restored: jax.Array, target: jax.Array) -> jax.Array:
    """mean sqrt((a - b)^2 + 1e-6)"""
    return jnp.mean(jnp.sqrt((restored - target) ** 2 + EPS_SQUARED))


def _gaussian(x: jax.Array) -> jax.Array:
    """5 x 5 Gaussian blur of each channel alone, edges replicated: N H W C -> N H W C."""
    for axis in (1, 2):
        padding = [(0, 0)] * x.ndim
        padding[axis] = (2, 2)
        padded = jnp.pad(x, padding, mode="edge")
        taps = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(len(GAUSSIAN_TAPS))]
        x = sum(float(weight) * tap for weight, tap in zip(GAUSSIAN_TAPS, taps, strict=True))
    return x


def laplacian(x: jax.Array) -> jax.Array:
    """x - G(4 Z(D(G(x)))): G blurs, D keeps even rows and columns, Z puts zeros back between them."""
    kept = jnp.zeros_like(x).at[:, ::2, ::2].set(_gaussian(x)[:, ::2, ::2])
    return x - _gaussian(4 * kept)


def edge(restored: jax.Array, target: jax.Array) -> jax.Array:
    """Charbonnier of the two images' Laplacians."""
    return charbonnier(laplacian(restored), laplacian(target))


def charbonnier_edge(restored: jax.Array, target: jax.Array) -> jax.Array:
    """Charbonnier + 0.05 edge: deblurring and deraining."""
    return charbonnier(restored, target) + EDGE_WEIGHT * edge(restored, target)


LOSSES: dict[str, Loss] = {"charbonnier": charbonnier, "charbonnier_edge": charbonnier_edge}


def stages_loss(name: str, clip: bool) -> Callable[[Sequence[jax.Array], jax.Array], jax.Array]:
    """The loss of all stages' images against one target: a sum, not a mean, over the stages.

    `name` is a key of LOSSES; `clip` clips the restored images to [0, 1] first, as the denoising recipe does.
    Raises ValueError for an unknown name.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose from {', '.join(LOSSES)}")
    loss = LOSSES[name]

    def summed(restored: Sequence[jax.Array], target: jax.Array) -> jax.Array:
        return sum(loss(jnp.clip(image, 0, 1) if clip else image, target) for image in restored)

    return summed
