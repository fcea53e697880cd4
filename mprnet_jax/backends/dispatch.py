"""Selects the rewrites of the network for this machine's devices: same parameters, same outputs, faster.

cpu.py and gpu.py hold the rewrites; on other platforms (TPUs) the network of model.py is used unchanged.
"""

import contextlib
import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax.backends import cpu, gpu
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.runtime import memory

CONCATENATING = ("concat12", "concat23")  # convolutions whose input is two concatenated groups of n_feat channels


def faster_config(cfg: MPRNetConfig, dtype: str) -> MPRNetConfig:
    """The sizes to compute a network in, with features of a dtype: `cfg`, or wider ones if they are faster."""
    match jax.default_backend():
        case "cpu":
            return cpu.faster_config(cfg)
        case "gpu":
            return gpu.faster_config(cfg, dtype)
    return cfg


def fast_layers() -> contextlib.AbstractContextManager[None]:
    """Context in which the network is traced with the fastest form of each layer."""
    match jax.default_backend():
        case "cpu":
            return cpu.fast_convolutions()
        case "gpu":
            return gpu.fast_convolutions()
    return contextlib.nullcontext()


def is_cpu() -> bool:
    """Whether JAX computes on a CPU."""
    return jax.default_backend() == "cpu"


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 itself, by what Linux says of it; else it is emulated."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def compiler_options(cfg: MPRNetConfig) -> dict[str, str]:
    """XLA options to compile a restoring network with."""
    return cpu.compiler_options(cfg) if is_cpu() else {}


ONEDNN_OPTIONS = {"xla_cpu_experimental_onednn_custom_call": True, "xla_cpu_experimental_ynn_fusion_type": ""}
ONEDNN_CALL = "__onednn$convolution"


# Pixels that a program must restore until oneDNN has saved more time than its compiling takes: JAX does not store
# programs with oneDNN's calls (jaxlib 0.12), so every process compiles them again. Measured: docs/performance.md.
ONEDNN_FROM = {"float32": 4 * 2**20, "bfloat16": 2**20}


def prefers_onednn(dtype: str, pixels: int) -> bool:
    """Whether a network that is to restore so many pixels with one program is done sooner with oneDNN's convolutions,
    compiling included. If so, it is the network of model.py without this package's rewrites, and ONEDNN_OPTIONS.

    bfloat16 only on processors that multiply it themselves: elsewhere oneDNN emulates it.
    """
    if pixels < ONEDNN_FROM[dtype] or not is_cpu():
        return False
    return (dtype == "float32" or cpu_has_bfloat16()) and has_onednn_convolutions(dtype)


@functools.cache
def has_onednn_convolutions(dtype: str = "bfloat16") -> bool:
    """Whether XLA with ONEDNN_OPTIONS compiles convolutions of a dtype on CPUs to calls of oneDNN.

    Found by compiling one: the options are experimental, and versions without the pass ignore them silently.
    """
    if not is_cpu():
        return False
    image = jax.ShapeDtypeStruct((1, 32, 32, 16), jnp.dtype(dtype))
    kernel = jax.ShapeDtypeStruct((3, 3, 16, 16), jnp.dtype(dtype))
    convolution = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    lowered = jax.jit(convolution).lower(image, kernel)
    return ONEDNN_CALL in compile_with_options(lowered, ONEDNN_OPTIONS).as_text()


def training_options(dtype: str) -> dict[str, str | bool]:
    """XLA options to compile a training step with, for features of a dtype: oneDNN for bfloat16 if available.

    Not for float32: programs with oneDNN calls are not stored in the compile cache (jaxlib 0.12), which would cost more
    than oneDNN gains.
    """
    return dict(ONEDNN_OPTIONS) if dtype == "bfloat16" and has_onednn_convolutions() else {}


def apply(model: MPRNet, params: Params, images: jax.Array) -> list[jax.Array]:
    """model.apply with the rewrites for this machine: N H W 3 -> list of N H W 3. Call under jit; differentiable."""
    cfg = faster_config(model.cfg, jnp.dtype(model.dtype).name)
    wide = widen(params, cfg)
    with fast_layers():
        return model.clone(cfg=cfg).apply({"params": wide}, images)


def pack_params(params: Params, cfg: MPRNetConfig, dtype: str) -> Params:
    """Parameters in the sizes of faster_config and the layout of restoring programs; arrays, or shapes under
    jax.eval_shape."""
    wide = widen(params, cfg)
    return gpu.pack_params(wide, dtype) if jax.default_backend() == "gpu" else wide


def unpack_params(packed: Params) -> Params:
    """Undo pack_params inside a program: the parameters as the network takes them."""
    return gpu.unpack_params(packed) if jax.default_backend() == "gpu" else packed


def widen(params: Params, cfg: MPRNetConfig) -> Params:
    """The parameters padded with zeros to the sizes `cfg`, which must come from faster_config.

    The added channels are zero in every layer: there are no biases, PReLU(0) = 0, and channel attention multiplies.
    """

    def pad(path: tuple, array: Any, wanted: jax.ShapeDtypeStruct) -> Any:
        if array.shape == wanted.shape:
            return array
        numpy = jnp if isinstance(array, jax.core.Tracer) else np
        if path[0].key in CONCATENATING:  # the input's channels are two groups; pad each
            k, _, channels, features = array.shape
            halves = array.reshape(k, k, 2, channels // 2, features)
            missing = (wanted.shape[2] - channels) // 2, wanted.shape[3] - features
            padded = numpy.pad(halves, ((0, 0), (0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
            return padded.reshape(wanted.shape)
        missing = [(0, more - size) for size, more in zip(array.shape, wanted.shape, strict=True)]
        # NumPy for concrete arrays: jnp would compile a program for every shape.
        return numpy.pad(array, missing)

    return jax.tree_util.tree_map_with_path(pad, params, abstract_params(cfg))


def compile_with_options(
    lowered: jax.stages.Lowered, options: dict[str, str | bool] | None = None
) -> jax.stages.Compiled:
    """Compile with XLA options, or without any if this version of XLA does not know one of them.

    The compiler's memory is returned to the system afterwards, since the program may need it.
    """
    try:
        with warnings.catch_warnings():
            # jaxlib 0.12 cannot write a program with oneDNN's calls for the compile cache, of which JAX would warn.
            warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry", UserWarning)
            return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not any(name in str(error) for name in options or ()):
            raise
        return lowered.compile()
    finally:
        memory.return_freed()
