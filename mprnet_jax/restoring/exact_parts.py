"""MPRNet on a crop, or on an image in a larger array, with the cuts, borders and means of the whole image.

MPRNet cuts an image at its middle, pads every convolution with zeros at the image's border and at the cuts, and takes
means over the pieces. A tile has another middle and other borders, and an image that was padded to a size for which a
program is compiled already has another mean. Here all three are the image's. The offset of the part in the image is
traced, so that one program serves all positions:

- where the network cuts, a separator of a few rows or columns of zeros lies between the pieces, so that one array
  holds both;
- every convolution's output is masked to zero on the separator and beyond the image, which is the zero padding of the
  next convolution;
- means are taken over the pieces; windows of local means (TLC) and interpolation end at their borders.
"""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mprnet_jax.model import SIZE_MULTIPLE, Doubling, MPRNet, MPRNetConfig, Params, upsample, window_sum

LEVELS = 3  # of a U-Net, each half the size of the one before


@dataclasses.dataclass(frozen=True)
class Axis:
    """How the rows or columns of a part lie in the image. The compiler knows `size`, `separator` and `window`."""

    size: int  # of the part, pixels
    separator: int  # zeros between the image's halves, pixels
    window: int | None  # of the local means, pixels; None: means over the pieces
    start: jax.Array  # of the part in the image, a multiple of 4
    length: jax.Array  # of the image, a multiple of 8

    def level_of(self, count: int) -> tuple[int, bool]:
        """U-Net level (0..2) of an array of `count` rows, and whether the separator is in it: no two share a count."""
        for level in range(LEVELS):
            for separated in (False, True):
                if count << level == self.size + separated * self.separator:
                    return level, separated
        raise ValueError(f"no layer of a part of {self.size} pixels has {count}")

    def pieces(self, count: int) -> list[tuple[jax.Array, jax.Array]]:
        """(begin, end) of the image, or of its two halves, in a layer of `count` rows."""
        level, separated = self.level_of(count)
        end = jnp.minimum(self.length - self.start + separated * self.separator >> level, count)
        if not separated:
            return [(jnp.int32(0), end)]
        cut = self.cut() >> level
        return [(jnp.int32(0), cut), (cut + (self.separator >> level), end)]

    def mask(self, count: int) -> jax.Array:
        """1 on the pieces, 0 beside them: `count` float32."""
        positions = jnp.arange(count)
        return sum(_inside(positions, piece).astype(jnp.float32) for piece in self.pieces(count))

    def cut(self) -> jax.Array:
        """Where the image's middle lies in the part; at its begin or end where it lies outside."""
        return jnp.clip(self.length // 2 - self.start, 0, self.size)


def _along(positions: jax.Array, axis: int) -> jax.Array:
    """n -> 1 n 1 1 or 1 1 n 1."""
    return positions.reshape([-1 if i == axis else 1 for i in range(4)])


def _inside(positions: jax.Array, piece: tuple[jax.Array, jax.Array]) -> jax.Array:
    begin, end = piece
    return (positions >= begin) & (positions < end)


def _shifted(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    return jnp.pad(x, [(before, after) if i == axis else (0, 0) for i in range(4)])


@dataclasses.dataclass(frozen=True)
class ImagePart:
    """What MPRNet does to the plane, for a part of an image: N H W C throughout."""

    rows: Axis
    columns: Axis

    def _axes(self) -> tuple[tuple[int, Axis], tuple[int, Axis]]:
        return (1, self.rows), (2, self.columns)

    def mask(self, x: jax.Array) -> jax.Array:
        """Zero beyond the image and in the separators."""
        for axis, along in self._axes():
            x = x * _along(along.mask(x.shape[axis]), axis).astype(x.dtype)
        return x

    def doubled(self, x: jax.Array) -> jax.Array:
        """N 2H 2W C from upsample(): undo the zeros that it mixed in at a piece's border, as if the border repeated."""
        for axis, along in self._axes():
            inside = along.mask(x.shape[axis] // 2)
            share = upsample(inside.reshape(1, -1, 1, 1))[0, :, 0, 0]  # what of each pixel came from its piece
            scale = jnp.where(jnp.repeat(inside, 2) > 0, 1 / jnp.maximum(share, 0.5), 0)
            x = x * _along(scale, axis).astype(x.dtype)
        return x

    def split(self, x: jax.Array, axis: int) -> jax.Array:
        """Put the separator between the image's halves; they stay in one array."""
        along = dict(self._axes())[axis]
        positions = _along(jnp.arange(x.shape[axis] + along.separator), axis)
        first, second = _shifted(x, axis, 0, along.separator), _shifted(x, axis, along.separator, 0)
        cut = along.cut()
        return jnp.where(positions < cut, first, jnp.where(positions >= cut + along.separator, second, 0))

    def merge(self, x: jax.Array, axis: int) -> jax.Array:
        """Undo split, at any scale."""
        along = dict(self._axes())[axis]
        level, _ = along.level_of(x.shape[axis])
        count = along.size >> level
        first = jax.lax.slice_in_dim(x, 0, count, axis=axis)
        second = jax.lax.slice_in_dim(x, x.shape[axis] - count, None, axis=axis)
        return jnp.where(_along(jnp.arange(count), axis) < along.cut() >> level, first, second)

    def mean(self, x: jax.Array) -> jax.Array:
        """Means over the pieces, or over windows in them: N H W C -> N (1 or H) (1 or W) C."""
        mean = x.astype(jnp.float32)
        for axis, along in reversed(self._axes()):
            mean = _piece_means(mean, axis, along) if along.window is None else _window_means(mean, axis, along)
        return mean.astype(x.dtype)


def _piece_means(x: jax.Array, axis: int, along: Axis) -> jax.Array:
    positions = _along(jnp.arange(x.shape[axis]), axis)
    result = None
    for piece in along.pieces(x.shape[axis]):
        inside = _inside(positions, piece)
        total = jnp.sum(jnp.where(inside, x, 0), axis=axis, keepdims=True)
        mean = total / jnp.maximum(piece[1] - piece[0], 1)
        result = mean if result is None else jnp.where(inside, mean, result)
    return result


def _window_means(x: jax.Array, axis: int, along: Axis) -> jax.Array:
    """As model.local_mean; a window that would reach out of its piece is moved into it."""
    count = x.shape[axis]
    level, separated = along.level_of(count)
    window = max(1, along.window >> level + separated)
    full = window_sum(x, window, axis) / window  # of the windows that begin at 0, 1, 2 ...
    before, last = (window - 1) // 2, count - window
    begins = _along(jnp.arange(count) - before, axis)
    result = jnp.pad(full, [(before, window - 1 - before) if i == axis else (0, 0) for i in range(4)], mode="edge")
    at = lambda index: jax.lax.dynamic_slice_in_dim(full, jnp.clip(index, 0, last), 1, axis)
    for begin, end in along.pieces(count):
        inside = _inside(begins + before, (begin, end))
        result = jnp.where(inside & (begins < begin), at(begin), result)
        result = jnp.where(inside & (begins > end - window), at(end - window), result)
    return result


def separator_for(cfg: MPRNetConfig) -> int:
    """Pixels that keep two pieces apart: the radius of a convolution at the lowest resolution."""
    reach = max(1, cfg.kernel_size // 2)
    return -(-(reach << LEVELS - 1) // SIZE_MULTIPLE) * SIZE_MULTIPLE


def apply_to_part(
    model: MPRNet,
    params: Params,
    part: jax.Array,
    offset: jax.Array,
    stages: int,
    windows: tuple[int | None, int | None],
    convolutions: Callable[[], AbstractContextManager] = nullcontext,
    every_stage: bool = False,
) -> jax.Array:
    """The last of `stages` images, of a part of an image: H W 3 -> H W 3; with `every_stage` all of them behind each
    other, the last first: H W 3S.

    `offset` (4 int32) holds the part's first row, the image's height, the part's first column and the image's width;
    the image's sides are multiples of 8, what the part has beyond them is ignored. `windows` are those of the local
    means along rows and columns; None where there are none, or where they cover the image. With means over pieces
    (None), the part must hold the whole image along that axis. Exact are the pixels that are at least
    receptive_field_radius() away from those borders of the part that lie inside the image. `convolutions` makes the
    context that they are computed in.
    """
    h, w, _ = part.shape
    separator = separator_for(model.cfg)
    image_part = ImagePart(
        Axis(h, separator, windows[0], offset[0], offset[1]),
        Axis(w, separator, windows[1], offset[2], offset[3]),
    )

    def on_part(call: Callable, args: tuple, kwargs: dict[str, Any], context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if isinstance(module, Doubling):
            return image_part.doubled(call(*args, **kwargs))
        if isinstance(module, nn.Conv) and module.kernel_size != (1, 1):
            return image_part.mask(call(*args, **kwargs))
        return call(*args, **kwargs)

    whole = model.clone(split=image_part.split, merge=image_part.merge, mean=image_part.mean)
    with nn.intercept_methods(on_part), convolutions():  # the last context is nearest to the layer itself
        outputs = whole.apply({"params": params}, image_part.mask(part[None].astype(jnp.float32)), stages=stages)
    return jnp.concatenate(outputs, axis=-1)[0] if every_stage else outputs[0][0]
