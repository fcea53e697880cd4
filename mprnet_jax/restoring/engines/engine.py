"""What an engine is, and which one restores."""

import importlib.util
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.support.errors import UserError

if TYPE_CHECKING:
    from mprnet_jax.restoring.engines.executables import ProgramKey

EngineName = Literal["xla", "openvino"]
TITLES = {"xla": "XLA", "openvino": "OpenVINO"}


class Engine(Protocol):
    """Computes the network for arrays."""

    name: EngineName
    lanes: int  # batches that are computed side by side

    def start(self, key: "ProgramKey", pixels: np.ndarray, offsets: np.ndarray, lane: int) -> Any:
        """Begin to restore N H W 3 float32 in one of the lanes; np.asarray of what it gives waits for the result.

        Neither clipped nor cropped; with the network's every_stage all stages behind each other, N H W 3S, the last
        one first. `offsets` as apply_to_part takes them, for keys with windows.
        """
        ...

    def program_bytes(self, key: "ProgramKey") -> int:
        """Memory that this takes beyond the arrays themselves."""
        ...


def has_openvino() -> bool:
    """Whether OpenVINO and the package that writes its graphs are installed."""
    return all(importlib.util.find_spec(name) for name in ("openvino", "onnx"))


def choose_engine(asked: str, local: bool) -> EngineName:
    """The engine of `--engine`, for a network that is made `local` (tlc) or not.

    auto: OpenVINO where it is installed and JAX has but a CPU, else XLA. Local means and exact tiles are XLA's alone.
    Raises UserError if OpenVINO is asked for and not installed.
    """
    if asked == "openvino" and not has_openvino():
        raise UserError(
            "engine openvino: OpenVINO is not installed; run: pip install 'mprnet_jax[openvino]', or leave --engine out"
        )
    if asked == "xla" or local or not has_openvino():
        return "xla"
    return "openvino" if asked == "openvino" or dispatch.is_cpu() else "xla"


def fastest_dtype(engine: EngineName, pixels: np.dtype[Any]) -> Literal["float32", "bfloat16"]:
    """What --dtype auto computes in: bfloat16 for pictures of 8 bits, if the processor has it and the engine uses it.

    The rounding of 8 bits is larger than what bfloat16 adds to the networks that ship (docs/performance.md).
    """
    if pixels != np.uint8:
        return "float32"
    if dispatch.is_cpu():
        return "bfloat16" if engine == "openvino" and dispatch.cpu_has_bfloat16() else "float32"
    return "bfloat16"


def worth_openvino(engine: EngineName, local: bool) -> bool:
    """Whether OpenVINO would make a run on this machine faster, and is not installed."""
    return engine == "xla" and not local and dispatch.is_cpu() and not has_openvino()
