"""MPRNet as StableHLO through jax.export: one file for every platform and every size of image."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax import export

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Format, Network, output_names
from mprnet_jax.model import SIZE_MULTIPLE, MPRNet, MPRNetConfig, Params
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.optional_imports import import_extra

GUARANTEED_DAYS = 180  # jax.export: "up to 6 months" newer versions of JAX run what this one writes
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
    """Write the program with its parameters inside. Raises UserError without flatbuffers."""
    import_extra("flatbuffers", "flatbuffers", "export")
    path.write_bytes(exported_network(bundle.config, bundle.params, stages, every_stage).serialize())


def read(path: Path, _config: MPRNetConfig) -> Network:
    """The network in the file, compiled at each new shape. Raises UserError, as the network does, if this JAX is not
    able to run it: JAX guarantees that for GUARANTEED_DAYS."""

    def run(images: np.ndarray) -> list[np.ndarray]:
        with _too_old_told(path):
            return [np.asarray(image) for image in network(images)]

    with _too_old_told(path):
        network = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    return run


@contextlib.contextmanager
def _too_old_told(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what JAX raises for an export that is too old is not documented
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise UserError(
            f"{path}: JAX {jax.__version__} cannot run it ({reason}); JAX guarantees such files for six months: export "
            "it again"
        ) from error


FORMAT = Format(
    file="model.stablehlo",
    write=write,
    read=read,
    packages=("jax", "flatbuffers"),
    imports="import jax\nimport jax.export",
    load="exported = bytearray(path.read_bytes())",
    restore="""\
try:
    network = jax.jit(jax.export.deserialize(exported).call)
    restored = np.asarray(network(padded[None])[0])[0]
except Exception as error:  # what JAX raises for an export that is too old is not documented
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    sys.exit(
        f"{path.name}: JAX {jax.__version__} cannot run it ({reason}). It was written by JAX $version, and JAX "
        "guarantees such files for six months, this one until $until: export it again"
    )""",
    guaranteed_days=GUARANTEED_DAYS,
    written_by="jax",
)
