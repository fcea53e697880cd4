"""Rewrites of the network for GPUs: same parameters, same outputs. docs/performance.md has the measurements."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mprnet_jax.model import MPRNetConfig, Params

MULTIPLE = 8  # channels: cuDNN copies bfloat16 tensors with other numbers to padded ones before using tensor cores


def faster_config(cfg: MPRNetConfig, dtype: str) -> MPRNetConfig:
    """The sizes to compute a network in: `cfg`, or wider ones if they are faster."""
    if dtype != "bfloat16":
        return cfg
    up = lambda channels: -(-channels // MULTIPLE) * MULTIPLE
    c, s, o = cfg.n_feat, cfg.scale_unetfeats, cfg.scale_orsnetfeats
    return dataclasses.replace(cfg, n_feat=up(c), scale_unetfeats=up(s), scale_orsnetfeats=up(o))


def pack_params(params: Params, dtype: str) -> Params:
    """Cast kernels to the features' dtype and transpose them to cuDNN's O H W I once; XLA would do it at every use."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype).transpose(3, 0, 1, 2) if leaf.ndim == 4 else leaf, params)


def unpack_params(packed: Params) -> Params:
    """Undo pack_params, except for the dtype; free inside a program, where XLA only changes the layout's label."""
    return jax.tree.map(lambda leaf: leaf.transpose(1, 2, 3, 0) if leaf.ndim == 4 else leaf, packed)


@contextlib.contextmanager
def fast_convolutions() -> Iterator[None]:
    """Context in which 1 x 1 convolutions of one pixel (of channel attention's means) are traced as sums.

    Sums fuse with their neighbours; as a convolution each would be four GPU kernels.
    """

    def convolve(call: Callable, args: tuple, kwargs: dict[str, Any], context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if not isinstance(module, nn.Conv) or context.method_name != "__call__" or module.is_initializing():
            return call(*args, **kwargs)
        kernel = module.get_variable("params", "kernel")
        if args[0].shape[1:3] != (1, 1) or kernel.shape[:2] != (1, 1):
            return call(*args, **kwargs)
        return pixel_convolution(args[0], kernel.astype(module.dtype))

    with nn.intercept_methods(convolve):
        yield


def pixel_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """1 x 1 convolution of one pixel, summed in float32: N 1 1 C and 1 1 C O -> N 1 1 O."""
    products = x[..., None].astype(jnp.float32) * kernel[None].astype(jnp.float32)
    return jnp.sum(products, axis=-2).astype(x.dtype)
