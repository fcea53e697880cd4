"""Packages that only some commands need, as extras of setup.cfg."""

import importlib
from types import ModuleType

from mprnet_jax.support.errors import UserError


def import_extra(module: str, package: str, extra: str) -> ModuleType:
    """Import a module of an extra; raises UserError with the pip command if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"this needs {package}, which is not installed; run: pip install 'mprnet_jax[{extra}]', "
            f"or: pip install {package}"
        ) from None
