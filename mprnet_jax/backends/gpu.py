"""The network as GPUs like it: the same function of the same parameters. docs/performance.md has the measurements."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mprnet_jax.model import MPRNetConfig, Params

MULTIPLE = 8  # of channels, that tensor cores take bfloat16 in; others are copied to padded tensors first


def faster_config(cfg: MPRNetConfig, dtype: str) -> MPRNetConfig:
    """The sizes to compute a network in: `cfg`, or wider where that is faster."""
    if dtype != "bfloat16":
        return cfg
    up = lambda channels: -(-channels // MULTIPLE) * MULTIPLE
    c, s, o = cfg.n_feat, cfg.scale_unetfeats, cfg.scale_orsnetfeats
    return dataclasses.replace(cfg, n_feat=up(c), scale_unetfeats=up(s), scale_orsnetfeats=up(o))


def pack_params(params: Params, dtype: str) -> Params:
    """Parameters as programs take them, for features of a dtype: kernels in that dtype and as O H W I, which cuDNN
    reads. As the network has them, each would be cast and transposed by a kernel of its own whenever it is used."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype).transpose(3, 0, 1, 2) if leaf.ndim == 4 else leaf, params)


def unpack_params(packed: Params) -> Params:
    """Undo pack_params, but for the dtype; in a program it costs nothing, as XLA takes it for another name."""
    return jax.tree.map(lambda leaf: leaf.transpose(1, 2, 3, 0) if leaf.ndim == 4 else leaf, packed)


@contextlib.contextmanager
def fast_convolutions() -> Iterator[None]:
    """While the network is traced in this context, the convolutions of channel attention's means, which are one pixel
    large, are written as sums: they fuse with what is around them, while each would be four kernels."""

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
    """1 x 1 convolution of one pixel: N 1 1 C, 1 1 C O -> N 1 1 O, summed in float32."""
    products = x[..., None].astype(jnp.float32) * kernel[None].astype(jnp.float32)
    return jnp.sum(products, axis=-2).astype(x.dtype)
