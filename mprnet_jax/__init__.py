"""MPRNet image restoration in JAX and Flax."""

import importlib
from typing import Any

_MODULES = {  # public name -> where it is; loaded when it is asked for, so that --help need not wait for JAX
    "PRESETS": "mprnet_jax.model",
    "MPRNet": "mprnet_jax.model",
    "MPRNetConfig": "mprnet_jax.model",
    "RestoreOptions": "mprnet_jax.restoring.options",
    "Restorer": "mprnet_jax.restoring.restorer",
    "UserError": "mprnet_jax.support.errors",
}
__all__ = ["PRESETS", "MPRNet", "MPRNetConfig", "RestoreOptions", "Restorer", "UserError"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
