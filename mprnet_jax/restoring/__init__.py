"""One image -> one restored image. From outside: `from mprnet_jax.restoring import Restorer`, and so on."""

import importlib
from typing import Any

_MODULES = {  # public name -> where it is; loaded when it is asked for: the options alone start no device
    "QUALITY": "options",
    "Preview": "preview",
    "Progress": "restorer",
    "RestoreOptions": "options",
    "Restorer": "restorer",
    "add_restore_options": "options",
    "make_preview": "preview",
    "open_checked": "pictures",
    "restore_file": "pictures",
    "restore_options": "options",
    "restore_picture": "pictures",
}
__all__ = [
    "QUALITY",
    "Preview",
    "Progress",
    "RestoreOptions",
    "Restorer",
    "add_restore_options",
    "make_preview",
    "open_checked",
    "restore_file",
    "restore_options",
    "restore_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
