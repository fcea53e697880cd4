"""Rewrites of the network for CPUs: same parameters, same outputs, faster layouts.

XLA's CPU kernels for convolutions keep output channels in vector registers, and are slow if the channels fill registers
only partly: then zero channels are added, or, with very few channels, two pixels share the registers. Both are exact.
docs/performance.md has the measurements.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mprnet_jax.model import Concatenation, MPRNetConfig
from mprnet_jax.runtime.devices import cores

# Channels of a 3 x 3 convolution -> more channels that take less time, with AVX-512 (16 float32 per register), jaxlib
# 0.10. Other widths gain nothing. Without AVX-512 none does: with 8 per register, multiples of 8 are as fast as of 16.
FASTER_WIDTHS = {28: 32, 52: 64, 56: 64, 60: 64, 120: 128}
# XLA's kernel uses one core for 40 channels, two for 48.
FASTER_ON_SEVERAL_CORES = {**FASTER_WIDTHS, 40: 48}
WIDE = 48  # channels: from here on XLA's kernel uses all cores
FEW_CHANNELS = 16  # of a convolution's input and output: one vector register of float32
STRIP_PIXELS = 2048  # per strip of a kernel's gradient: with their neighbourhoods, about the size of a core's cache
STRIPS_FROM = 16  # input and output channels: strips are used from here on
LAYOUT = ("NHWC", "HWIO", "NHWC")
TRANSPOSED = ("CHWN", "IHWO", "HWNC")  # layouts in which input * output gradient is the kernel's gradient


def faster_config(cfg: MPRNetConfig) -> MPRNetConfig:
    """The sizes to compute a network in: `cfg`, or wider ones if they are faster."""
    if not _wide_registers():
        return cfg
    c, s, o = cfg.n_feat, cfg.scale_unetfeats, cfg.scale_orsnetfeats
    widths = FASTER_ON_SEVERAL_CORES if _several_cores() else FASTER_WIDTHS
    faster = lambda channels: widths.get(channels, channels)
    wide = faster(c)
    per_level = max(faster(c + s) - wide, -(-(c + 2 * s - wide) // 2), 0)  # no level gets narrower than in cfg
    return dataclasses.replace(
        cfg, n_feat=wide, scale_unetfeats=per_level, scale_orsnetfeats=max(faster(c + o) - wide, 0)
    )


@functools.cache
def _wide_registers() -> bool:
    """Whether the processor has AVX-512."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # no Linux
        return False


def _several_cores() -> bool:
    """Whether each JAX device has more than one core."""
    return cores() > jax.local_device_count()


def compiler_options(cfg: MPRNetConfig) -> dict[str, str]:
    """XLA options to compile a network with.

    XLA's default kernels (YNNPACK) use one core for most convolutions with few channels; the older ones (Eigen) use all
    cores, but up to a quarter more CPU time. So devices of one core keep the default. Without AVX-512, the older ones
    are also faster on several cores for wide networks.
    """
    without_default = {"xla_cpu_experimental_ynn_fusion_type": ""}
    narrow = cfg.n_feat + cfg.scale_orsnetfeats < WIDE
    return without_default if _several_cores() and (narrow or not _wide_registers()) else {}


@contextlib.contextmanager
def fast_convolutions() -> Iterator[None]:
    """Context in which the network is traced with faster convolutions, PReLUs and concatenations.

    Interceptors entered inside this context still see every layer unchanged.
    """

    activated = None  # the latest PReLU's output, and its input and slope

    def convolve(call: Callable, args: tuple, kwargs: dict[str, Any], context: nn.module.InterceptorContext) -> Any:
        nonlocal activated
        module = context.module
        if isinstance(module, Concatenation):
            return concatenate(*args)
        if context.method_name != "__call__" or module.is_initializing():
            return call(*args, **kwargs)
        if isinstance(module, nn.PReLU):
            slope = module.get_variable("params", "negative_slope").astype(args[0].dtype)
            activated = call(*args, **kwargs), (args[0], slope)
            return activated[0]
        if not isinstance(module, nn.Conv):
            return call(*args, **kwargs)
        kernel = module.get_variable("params", "kernel").astype(module.dtype)
        if activated is not None and args[0] is activated[0]:
            return convolution_of_prelu(*activated[1], kernel)
        return convolution(args[0], kernel)

    with nn.intercept_methods(convolve):
        yield


def concatenate(x: jax.Array, y: jax.Array) -> jax.Array:
    """Channels of x, then of y: N H W C, N H W D -> N H W C+D.

    A sum of both, padded with zeros: XLA copies concatenated channels pixel by pixel on one core, six times as slow.
    """
    pad = lambda array, before, after: jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(before, after)])
    return pad(x, 0, y.shape[-1]) + pad(y, x.shape[-1], 0)


@jax.custom_vjp
def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with zero padding: N H W C, odd k k C O -> N H W O."""
    k, _, channels, features = kernel.shape
    if k == 1:
        return jnp.dot(x, kernel[0, 0])
    if channels <= FEW_CHANNELS and FEW_CHANNELS >= features > 3 and x.shape[2] % 2 == 0:
        return _two_pixels_at_once(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolution(x, kernel), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return convolution(gradient, kernel[::-1, ::-1].swapaxes(2, 3)), _kernel_gradient(x, gradient, kernel)


convolution.defvjp(_forward, _backward)


@jax.custom_vjp
def convolution_of_prelu(x: jax.Array, slope: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolution` of a PReLU, which is recomputed for the gradient: a quarter less of features to store."""
    return convolution(jax.nn.leaky_relu(x, slope), kernel)


def _forward_prelu(x: jax.Array, slope: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return convolution_of_prelu(x, slope, kernel), (x, slope, kernel)


def _backward_prelu(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, slope, kernel = saved
    # Not leaky_relu(): XLA's CSE would merge it with the forward pass and keep that activation alive.
    again = x * jnp.where(x < 0, slope, 1)
    gradient, kernel_gradient = _backward((again, kernel), gradient)
    slope_gradient = jnp.sum(jnp.where(x < 0, x * gradient, 0))
    return jnp.where(x >= 0, gradient, slope * gradient), slope_gradient.astype(slope.dtype), kernel_gradient


convolution_of_prelu.defvjp(_forward_prelu, _backward_prelu)


def _two_pixels_at_once(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution for even W, with stride 2 along W: one kernel that is a column wider and has 2 O outputs, made of
    two shifted copies."""
    n, h, w, _ = x.shape
    k, _, _, features = kernel.shape
    first = jnp.pad(kernel, ((0, 0), (0, 1), (0, 0), (0, features)))
    second = jnp.pad(kernel, ((0, 0), (1, 0), (0, 0), (features, 0)))
    padding = [(k // 2, k // 2)] * 2
    pairs = jax.lax.conv_general_dilated(x, first + second, (1, 2), padding, dimension_numbers=LAYOUT)
    return pairs.reshape(n, h, w, features)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient of the convolution by its kernel, k k C O: output gradient (O, pixels) times neighbourhoods (pixels,
    k k C), summed over strips of rows.

    XLA's own convolution runs at a quarter to a half of this speed, for one image with few channels at a sixth. All
    rows at once would not fit in the cache.
    """
    n, h, w, channels = x.shape
    k, features = kernel.shape[0], kernel.shape[3]
    if min(channels, features) < STRIPS_FROM:  # the first and the last convolution: few operations
        around = [(k // 2, k // 2)] * 2
        return jax.lax.conv_general_dilated(x, gradient, (1, 1), around, dimension_numbers=TRANSPOSED)
    rows = next(rows for rows in (8, 4, 2, 1) if h % rows == 0 and (n * rows * w <= STRIP_PIXELS or rows == 1))
    # A zero that depends on the gradient, so that XLA cannot pad x in the forward pass and store the copy until here.
    zero = jnp.minimum(jnp.abs(gradient[0, 0, 0, 0]), 0).astype(x.dtype)
    edge = (k // 2, k // 2, 0)
    padded = jax.lax.pad(x, zero, ((0, 0, 0), edge, edge, (0, 0, 0)))

    def add_strip(total: jax.Array, strip: jax.Array) -> tuple[jax.Array, None]:
        take = lambda array, count: jax.lax.dynamic_slice_in_dim(array, strip * rows, count, axis=1)
        around = take(padded, rows + k - 1)
        shifted = [around[:, i : i + rows, j : j + w] for i in range(k) for j in range(k)]
        neighbourhoods = jnp.concatenate(shifted, axis=-1).reshape(-1, k * k * channels)
        right = take(gradient, rows).reshape(-1, features)
        product = jax.lax.dot_general(
            right, neighbourhoods, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
        )
        return total + product, None

    empty = jnp.zeros((features, k * k * channels), jnp.float32)
    total, _ = jax.lax.scan(add_strip, empty, jnp.arange(h // rows))
    return total.T.reshape(kernel.shape).astype(kernel.dtype)
