"""OpenVINO: one graph for images of all sizes, ready in parts of a second; on CPUs, and Intel's GPUs and NPUs."""

import dataclasses
import functools
import sys
from typing import Any

import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.interchange.onnx_graph import onnx_model
from mprnet_jax.model import Params
from mprnet_jax.restoring.engines.engine import EngineName
from mprnet_jax.restoring.engines.executables import Network, ProgramKey
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.optional_imports import import_extra

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# Bytes of a pixel for each channel of the network and of ORSNet at full size: measured, docs/performance.md.
BYTES_A_CHANNEL = {"float32": 60, "bfloat16": 36}


def import_openvino() -> Any:
    """The package, without the statistics that it would send to its makers when it is imported. Raises UserError."""
    telemetry = "openvino_telemetry"
    if telemetry in sys.modules:  # the caller's own doing
        return import_extra("openvino", "openvino", "openvino")
    sys.modules[telemetry] = None  # type: ignore[assignment]  # not to be found: the package has a stub for that
    try:
        return import_extra("openvino", "openvino", "openvino")
    finally:
        del sys.modules[telemetry]


@dataclasses.dataclass(frozen=True, eq=False)
class OpenVinoEngine:
    """An Engine of one lane. Raises UserError, when it is first used, if OpenVINO has no such device."""

    network: Network
    params: Params
    device: str  # OpenVINO's name: CPU, GPU, GPU.1, NPU
    threads: int  # on a CPU
    name: EngineName = "openvino"
    lanes: int = 1

    @functools.cached_property
    def _compiled(self) -> Any:
        core = import_openvino().Core()
        if self.device.split(".")[0] not in core.available_devices and self.device not in core.available_devices:
            raise UserError(
                f"engine device {self.device}: OpenVINO finds {', '.join(core.available_devices) or 'none'}; choose "
                "one of them, or install the driver"
            )
        network = self.network
        graph = onnx_model(network.config, self.params, network.stages, network.every_stage)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[self.network.dtype]}
        if self.device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = self.threads
        try:
            return core.compile_model(core.read_model(graph.SerializeToString()), self.device, settings)
        except RuntimeError as error:
            reason = one_line(str(error).strip().splitlines()[-1][:200])
            raise UserError(
                f"engine device {self.device}: OpenVINO cannot compile the network for it ({reason}); try another, or "
                "--engine xla"
            ) from error

    def start(self, key: ProgramKey, pixels: np.ndarray, offsets: np.ndarray, lane: int) -> np.ndarray:
        """As Engine says; the result is there when this returns."""
        # Channels first, as ONNX has them; the copy is small beside the network.
        request = self._compiled.create_infer_request()  # of its own: results lie in its memory
        outputs = list(request.infer([np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))]).values())
        restored = np.concatenate(outputs, axis=1) if len(outputs) > 1 else outputs[0]  # the last stage first
        return restored.transpose(0, 2, 3, 1)

    def program_bytes(self, key: ProgramKey) -> int:
        """As Engine says: in proportion to the pixels, whose bytes were measured."""
        channels = self.network.config.n_feat + self.network.config.scale_orsnetfeats
        # A CPU without bfloat16 computes float32, whatever it is asked for.
        dtype = self.network.dtype if self.device != "CPU" or dispatch.cpu_has_bfloat16() else "float32"
        return BYTES_A_CHANNEL[dtype] * channels * key.pixels
