"""The network as the machine likes it: the same function of the same parameters, in other sizes and forms.

What CPUs and GPUs like stands in cpu.py and gpu.py; elsewhere (TPUs) the network stays as model.py has it.
"""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax.backends import cpu, gpu
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.runtime import memory

CONCATENATING = ("concat12", "concat23")  # convolutions that read two groups of n_feat channels


def faster_config(cfg: MPRNetConfig, dtype: str) -> MPRNetConfig:
    """The sizes to compute a network in, with features of a dtype: `cfg`, or wider where that is faster."""
    match jax.default_backend():
        case "cpu":
            return cpu.faster_config(cfg)
        case "gpu":
            return gpu.faster_config(cfg, dtype)
    return cfg


def fast_layers() -> contextlib.AbstractContextManager[None]:
    """While the network is traced in this context, its layers are written in the forms that run fastest."""
    match jax.default_backend():
        case "cpu":
            return cpu.fast_convolutions()
        case "gpu":
            return gpu.fast_convolutions()
    return contextlib.nullcontext()


def compiler_options(cfg: MPRNetConfig) -> dict[str, str]:
    """What to compile a network with that restores."""
    return cpu.compiler_options(cfg) if jax.default_backend() == "cpu" else {}


ONEDNN_OPTIONS = {"xla_cpu_experimental_onednn_custom_call": True, "xla_cpu_experimental_ynn_fusion_type": ""}
ONEDNN_CALL = "__onednn$convolution"


@functools.cache
def has_onednn_convolutions() -> bool:
    """Whether this XLA, with ONEDNN_OPTIONS, turns convolutions in bfloat16 on CPUs into calls of oneDNN.

    It is asked by compiling one: the options are experimental, and versions without the pass take them silently.
    """
    if jax.default_backend() != "cpu":
        return False
    image = jax.ShapeDtypeStruct((1, 32, 32, 16), jnp.bfloat16)
    kernel = jax.ShapeDtypeStruct((3, 3, 16, 16), jnp.bfloat16)
    convolution = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    lowered = jax.jit(convolution).lower(image, kernel)
    return ONEDNN_CALL in compile_with_options(lowered, ONEDNN_OPTIONS).as_text()


def training_options(dtype: str) -> dict[str, str | bool]:
    """What to compile a training step with that computes in a dtype: oneDNN for bfloat16 where there is one.

    Its programs are not kept in the compile cache (jaxlib 0.12), which float32 would lose more by than it gains.
    """
    return dict(ONEDNN_OPTIONS) if dtype == "bfloat16" and has_onednn_convolutions() else {}


def apply(model: MPRNet, params: Params, images: jax.Array) -> list[jax.Array]:
    """What model.apply gives, traced as the machine likes it; to be called under jit. It may be differentiated."""
    cfg = faster_config(model.cfg, jnp.dtype(model.dtype).name)
    wide = widen(params, cfg)
    with fast_layers():
        return model.clone(cfg=cfg).apply({"params": wide}, images)


def pack_params(params: Params, cfg: MPRNetConfig, dtype: str) -> Params:
    """The parameters as programs that restore take them, in the sizes of faster_config; arrays, or shapes in
    jax.eval_shape."""
    wide = widen(params, cfg)
    return gpu.pack_params(wide, dtype) if jax.default_backend() == "gpu" else wide


def unpack_params(packed: Params) -> Params:
    """The parameters as the network takes them, within a program."""
    return gpu.unpack_params(packed) if jax.default_backend() == "gpu" else packed


def widen(params: Params, cfg: MPRNetConfig) -> Params:
    """The parameters of a network in the sizes `cfg`, which differ from its own in faster_config's way.

    Zeros are added to the kernels, so the added channels are zero everywhere: nothing here has a bias, PReLU(0) = 0,
    and the channel attention multiplies a zero by something.
    """

    def pad(path: tuple, array: Any, wanted: jax.ShapeDtypeStruct) -> Any:
        if array.shape == wanted.shape:
            return array
        numpy = jnp if isinstance(array, jax.core.Tracer) else np
        if path[0].key in CONCATENATING:  # its input's channels: two halves, each with zeros of its own
            k, _, channels, features = array.shape
            halves = array.reshape(k, k, 2, channels // 2, features)
            missing = (wanted.shape[2] - channels) // 2, wanted.shape[3] - features
            padded = numpy.pad(halves, ((0, 0), (0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
            return padded.reshape(wanted.shape)
        missing = [(0, more - size) for size, more in zip(array.shape, wanted.shape, strict=True)]
        # Not jnp for arrays that are there: it would compile a program for every shape.
        return numpy.pad(array, missing)

    return jax.tree_util.tree_map_with_path(pad, params, abstract_params(cfg))


def compile_with_options(
    lowered: jax.stages.Lowered, options: dict[str, str | bool] | None = None
) -> jax.stages.Compiled:
    """Compile, without the options if this version of XLA does not know one: it renames what is experimental.

    The compiler's memory is free afterwards: the program may need it.
    """
    try:
        return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not any(name in str(error) for name in options or ()):
            raise
        return lowered.compile()
    finally:
        memory.return_freed()
