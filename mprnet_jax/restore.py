"""Restorer: the one object that infer, evaluate, demo and export use."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.checkpoint import load_bundle
from mprnet_jax.errors import UserError
from mprnet_jax.model import SIZE_MULTIPLE, MPRNet, MPRNetConfig, Params
from mprnet_jax.pretrained import bundle_path
from mprnet_jax.tiling import pad_to_multiple

ComputeDtype = Literal["float32", "bfloat16"]


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _restore(params: Params, batch: jax.Array, *, config: MPRNetConfig, dtype: ComputeDtype) -> jax.Array:
    return MPRNet(config, dtype=jnp.dtype(dtype)).apply({"params": params}, batch)[0]


@dataclasses.dataclass(frozen=True)
class Restorer:
    """A network with its weights; calling it restores an image.

    >>> restorer = Restorer.from_pretrained("denoising")
    >>> clean = restorer("noisy.jpg")
    """

    config: MPRNetConfig
    params: Params
    dtype: ComputeDtype = "float32"
    """What the features are computed in."""
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Where the weights come from, and their licence."""

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, dtype: ComputeDtype = "float32") -> "Restorer":
        """A task whose weights ship with the package ("denoising"), or the folder of a bundle.

        Raises UserError if there is no such task or bundle.
        """
        bundle = load_bundle(bundle_path(name_or_path))
        return cls(bundle.config, jax.device_put(bundle.params), dtype, bundle.provenance)

    def __call__(self, image: np.ndarray | Image.Image | str | Path) -> np.ndarray | Image.Image:
        """Restore one image of any size from 1 x 1; the answer has its size.

        - H W 3 array of uint8, or of uint16 -> an array of the same type
        - H W 3 float array in [0, 1] -> H W 3 float32 array in [0, 1]
        - path of a picture -> H W 3 uint8 array, uint16 if the picture has 16 bits a channel
        - PIL image -> PIL image, RGB

        Raises UserError for an array of another shape, another type, or with values that are not finite, and for a
        file that cannot be read.
        """
        if isinstance(image, str | Path):
            return self(images.open_picture(image).pixels)
        if isinstance(image, Image.Image):
            return Image.fromarray(self(np.asarray(image.convert("RGB"))))
        if not isinstance(image, np.ndarray):
            raise UserError(f"an image must be a NumPy array, a PIL image or a path; got {type(image).__name__}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UserError(f"an image array must be height x width x 3 (RGB); got shape {image.shape}")
        pixels = images.to_float(image)
        if not np.isfinite(pixels).all():
            raise UserError("the image array has values that are not finite (NaN or infinity); replace them first")
        restored = self._restore_pixels(pixels)
        rounded = {np.dtype(np.uint8): images.to_uint8, np.dtype(np.uint16): images.to_uint16}.get(image.dtype)
        return rounded(restored) if rounded else restored

    def _restore_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """H W 3 float32 in [0, 1], in and out."""
        h, w, _ = pixels.shape
        padded = pad_to_multiple(pixels, SIZE_MULTIPLE)
        restored = _restore(self.params, padded[None], config=self.config, dtype=self.dtype)
        return np.clip(np.asarray(restored)[0, :h, :w], 0, 1)
