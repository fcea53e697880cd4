"""MPRNet image restoration in JAX and Flax."""

from mprnet_jax.errors import UserError
from mprnet_jax.model import PRESETS, MPRNet, MPRNetConfig
from mprnet_jax.restore import Restorer

__all__ = ["PRESETS", "MPRNet", "MPRNetConfig", "Restorer", "UserError"]
