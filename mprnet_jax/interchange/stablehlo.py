"""MPRNet as StableHLO through jax.export: one file for every platform and every size of image."""

from pathlib import Path

import jax
import numpy as np
from jax import export

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Format, Network, output_names
from mprnet_jax.model import SIZE_MULTIPLE, MPRNet, MPRNetConfig, Params
from mprnet_jax.support.optional_imports import import_extra

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def exported_network(
    config: MPRNetConfig, params: Params, stages: int = 3, every_stage: bool = False
) -> export.Exported:
    """The network with its parameters inside: N H W 3 float32 -> a list of images of that shape, the last stage first.

    Batch, height and width are symbols; height and width are multiples of 8. The file's own `call` says so to others.
    """
    count = len(output_names(stages, every_stage))
    network = jax.jit(lambda image: MPRNet(config).apply({"params": params}, image, stages=stages)[:count])
    # Symbols times 8: a symbol with a condition on its remainder is more than the split into patches can be traced for.
    shape = export.symbolic_shape(f"batch, {SIZE_MULTIPLE}*h, {SIZE_MULTIPLE}*w, 3")
    return export.export(network, platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, np.float32))


def write(path: Path, bundle: Bundle, stages: int, every_stage: bool) -> None:
    import_extra("flatbuffers", "flatbuffers", "export")
    path.write_bytes(exported_network(bundle.config, bundle.params, stages, every_stage).serialize())


def read(path: Path, _config: MPRNetConfig) -> Network:
    """The network in the file, compiled at each new shape."""
    network = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    return lambda images: [np.asarray(image) for image in network(images)]


FORMAT = Format(
    file="model.stablehlo",
    write=write,
    read=read,
    packages=("jax", "flatbuffers"),
    imports="import jax\nimport jax.export",
    load="network = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)",
    restore="restored = np.asarray(network(padded[None])[0])[0]",
)
