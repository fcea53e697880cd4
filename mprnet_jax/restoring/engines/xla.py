"""XLA: a program for each shape, on one local device of JAX or several."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.model import Params
from mprnet_jax.restoring import executables
from mprnet_jax.restoring.engines.engine import EngineName
from mprnet_jax.restoring.executables import Network, ProgramKey
from mprnet_jax.runtime import memory
from mprnet_jax.runtime.jax_settings import standard_settings


@dataclasses.dataclass(frozen=True, eq=False)
class XlaEngine:
    """An Engine with a lane for each device."""

    network: Network
    params: Params
    devices: tuple[int, ...]  # numbers of local devices
    name: EngineName = "xla"

    @property
    def lanes(self) -> int:
        return len(self.devices)

    @functools.cached_property
    @standard_settings()
    def _placed(self) -> list[Params]:
        """The parameters on each device, as programs take them."""
        packed = dispatch.pack_params(self.params, self.network.config, self.network.dtype)
        return [jax.device_put(packed, jax.local_devices()[device]) for device in self.devices]

    def start(self, key: ProgramKey, pixels: np.ndarray, offsets: np.ndarray, lane: int) -> jax.Array:
        device = self.devices[lane]
        arguments: Any = jax.device_put((pixels, offsets), jax.local_devices()[device])
        with standard_settings():
            return executables.compile_restoring(key, device)(self._placed[lane], *arguments)

    def program_bytes(self, key: ProgramKey) -> int:
        return memory.needed_bytes(executables.compile_restoring(key, self.devices[0]))
