"""Restorer: the one object that infer, evaluate, demo and export use."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from mprnet_jax import images, memory
from mprnet_jax.checkpoint import load_bundle
from mprnet_jax.errors import UserError
from mprnet_jax.model import SIZE_MULTIPLE, MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.pretrained import bundle_path
from mprnet_jax.tiling import Tiles, pad_to, up_to_multiple

ComputeDtype = Literal["float32", "bfloat16"]
SMALLEST_TILE = 128  # pixels; below, the overlaps would cost more than the tiles
LARGEST_FLOAT = 4.0  # noise may reach out of [0, 1], but not this far: such an array is in another range
PROGRAMS_KEPT = 16  # compiled programs held in memory: one for each size of image or tile


@functools.lru_cache(maxsize=PROGRAMS_KEPT)
def compiled_network(
    config: MPRNetConfig, dtype: ComputeDtype, stages: int, window: int | None, height: int, width: int
) -> Callable[[Params, np.ndarray], jax.Array]:
    """The last of `stages` images, compiled for batches of one image of a size: 1 H W 3 -> 1 H W 3."""
    model = MPRNet(config, dtype=jnp.dtype(dtype), window=window)
    network = jax.jit(lambda params, image: model.apply({"params": params}, image, stages=stages)[0])
    image = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    return network.lower(abstract_params(config), image).compile()


@dataclasses.dataclass(frozen=True)
class Restorer:
    """A network with its weights and how they are used; calling it restores an image.

    >>> restorer = Restorer.from_pretrained("denoising")
    >>> clean = restorer("noisy.jpg")
    """

    config: MPRNetConfig
    params: Params
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Where the weights come from, and their licence."""
    dtype: ComputeDtype = "float32"
    """What the features are computed in."""
    stages: int = 3
    """After 1 or 2 stages the image is a little worse, and much sooner there: later stages are not computed."""
    tlc: bool = False
    """Channel attention by means over 1.5 x the training patch (arXiv:2112.04491) instead of over the whole image."""
    patch_size: int | None = None
    """Side of the training patch in pixels, for tlc; None: what the bundle says."""
    self_ensemble: bool = False
    """Mean over the eight flips and rotations of the image, for eight times the time."""
    tile: int | Literal["auto", "whole"] = "auto"
    """Side of the tiles in pixels; whole: the image at once; auto: the whole image if it fits in memory, else the
    largest tiles that do."""
    overlap: int | None = None
    """Pixels that tiles share at least; None: an eighth of the tile."""

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"dtype must be float32 or bfloat16, got {self.dtype!r}")
        if self.patch_size is not None and self.patch_size < 1:
            raise UserError(f"patch_size must be a positive number of pixels, got {self.patch_size}")
        if self.stages not in (1, 2, 3):
            raise UserError(f"stages must be 1, 2 or 3, got {self.stages}")
        if isinstance(self.tile, int):
            if self.tile < 16 or self.tile % SIZE_MULTIPLE:
                raise UserError(f"tile must be a multiple of {SIZE_MULTIPLE} of at least 16 pixels, got {self.tile}")
            if self.overlap is not None and not 0 <= self.overlap <= self.tile // 2:
                raise UserError(f"overlap must be in 0..{self.tile // 2}, half of the tile; got {self.overlap}")
        elif self.tile not in ("auto", "whole"):
            raise UserError(f"tile must be auto, whole or a number of pixels, got {self.tile!r}")
        elif self.overlap is not None:
            raise UserError("overlap goes with a tile of your own; give the tile, too")
        if self.tlc and self.window is None:
            raise UserError("the checkpoint does not say which patches it was trained on; tlc needs patch_size")

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> "Restorer":
        """A task whose weights ship with the package ("denoising"), or the folder of a bundle; options are fields.

        Raises UserError if there is no such task or bundle, or for an option that cannot be.
        """
        bundle = load_bundle(bundle_path(name_or_path))
        return cls(bundle.config, jax.device_put(bundle.params), bundle.provenance, **options)

    @property
    def window(self) -> int | None:
        """Side of the window of the local means in pixels; None without tlc, or if the patch size is not known."""
        patch_size = self.patch_size or self.provenance.get("patch_size")
        return patch_size * 3 // 2 if self.tlc and patch_size else None

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
        images.to_float(image[:1, :1])  # refuses other types
        if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
            raise UserError("the image array has values that are not finite (NaN or infinity); replace them first")
        if np.issubdtype(image.dtype, np.floating) and np.abs(image).max() > LARGEST_FLOAT:
            raise UserError(
                f"a float image array must be in about [0, 1]; this one has values up to {np.abs(image).max():g}, "
                "divide it by its white (255, for example)"
            )

        rounded = {np.dtype(np.uint8): images.to_uint8, np.dtype(np.uint16): images.to_uint16}.get(image.dtype)
        result = np.empty(image.shape, image.dtype if rounded else np.float32)

        def finish(first_row: int, rows: np.ndarray) -> None:
            result[first_row : first_row + len(rows)] = rounded(rows) if rounded else np.clip(rows, 0, 1)

        tiles = self.plan(*image.shape[:2])
        # Tiles are equal but at the borders of small images; padding there keeps it to one compiled program.
        size = tuple(up_to_multiple(min(side, tiles.tile), SIZE_MULTIPLE) for side in image.shape[:2])
        tiles.blend(lambda rows, columns: self._restore_part(images.to_float(image[rows, columns]), size), finish)
        return result

    def plan(self, height: int, width: int) -> Tiles:
        """The tiles that an image of a size is restored in; compiles the program for the whole image to learn its
        memory if tile is auto."""
        whole = up_to_multiple(max(height, width), SIZE_MULTIPLE)
        if self.tile == "auto":
            tile = self._largest_tile(height, width)
        else:
            tile = whole if self.tile == "whole" else self.tile
        if tile >= whole:
            return Tiles(height, width, whole, 0)
        return Tiles(height, width, tile, tile // 8 if self.overlap is None else self.overlap)

    def _largest_tile(self, height: int, width: int) -> int:
        padded = tuple(up_to_multiple(side, SIZE_MULTIPLE) for side in (height, width))
        needed = memory.needed_bytes(self._compiled(*padded))
        free = memory.available_bytes() * memory.SHARE
        if needed <= free:
            return max(padded)
        pixels = padded[0] * padded[1] * free / needed  # memory is in proportion to the pixels
        return max(SMALLEST_TILE, int(math.sqrt(pixels)) // SIZE_MULTIPLE * SIZE_MULTIPLE)

    def _compiled(self, height: int, width: int) -> Callable[[Params, np.ndarray], jax.Array]:
        return compiled_network(self.config, self.dtype, self.stages, self.window, height, width)

    def _restore_part(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """h w 3 float32 in [0, 1] -> the same, not clipped; computed padded to `size`."""
        if self.self_ensemble:
            return _mean_over_orientations(self._restore_once, pixels, size)
        return self._restore_once(pixels, size)

    def _restore_once(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        h, w, _ = pixels.shape
        restored = self._compiled(*size)(self.params, pad_to(pixels, *size)[None])
        return np.asarray(restored)[0, :h, :w]


def _mean_over_orientations(
    restore: Callable[[np.ndarray, tuple[int, int]], np.ndarray], pixels: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Self-ensemble: restore in all eight orientations, turn each back, and take the mean."""
    total = np.zeros(pixels.shape, np.float32)
    for quarters in range(4):
        turned_size = size if quarters % 2 == 0 else size[::-1]
        for flipped in (False, True):
            turned = np.rot90(pixels[:, ::-1] if flipped else pixels, quarters)
            restored = np.rot90(restore(np.ascontiguousarray(turned), turned_size), -quarters)
            total += restored[:, ::-1] if flipped else restored
    return total / 8
