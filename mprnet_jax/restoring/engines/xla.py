"""XLA: a program for each shape, on one local device of JAX or several."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.model import Params
from mprnet_jax.restoring.engines import executables
from mprnet_jax.restoring.engines.engine import EngineName
from mprnet_jax.restoring.engines.executables import Network, ProgramKey
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
        """One for each device."""
        return len(self.devices)

    @functools.cached_property
    def _placed(self) -> dict[Network, list[Params]]:
        """The parameters on each device as the programs take them: of the network, or of its form for oneDNN."""
        return {}

    @standard_settings()
    def _place(self, network: Network) -> list[Params]:
        if network not in self._placed:
            packed = dispatch.pack_params(self.params, network.config, network.dtype)
            self._placed[network] = [jax.device_put(packed, jax.local_devices()[device]) for device in self.devices]
        return self._placed[network]

    def start(self, key: ProgramKey, pixels: np.ndarray, offsets: np.ndarray, lane: int) -> jax.Array:
        """As Engine says; the first of each shape compiles its program."""
        device = self.devices[lane]
        arguments: Any = jax.device_put((pixels, offsets), jax.local_devices()[device])
        with standard_settings():
            return executables.compile_restoring(key, device)(self._place(key.network)[lane], *arguments)

    def program_bytes(self, key: ProgramKey) -> int:
        """As Engine says: XLA's plan for the program, which is compiled for it."""
        return memory.needed_bytes(executables.compile_restoring(key, self.devices[0]))
