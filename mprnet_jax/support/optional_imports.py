"""Packages that only some commands need, as extras of setup.cfg."""

import importlib
from types import ModuleType

from mprnet_jax.support.errors import UserError


def import_extra(module: str, package: str, extra: str) -> ModuleType:
    """Import a module of an extra.

    Raises UserError with the pip command if it is not installed, or lacks a package of its own; with its own words if
    it is there and cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).split(".")[0]
        if missing == module.split(".")[0]:
            raise UserError(
                f"this needs {package}, which is not installed; run: pip install 'mprnet_jax[{extra}]', "
                f"or: pip install {package}"
            ) from None
        raise UserError(
            f"{package} needs {missing}, which is not installed; run: pip install --upgrade 'mprnet_jax[{extra}]', "
            f"or: pip install {missing}"
        ) from error
    except (ImportError, OSError) as error:  # OSError: a library of the system that is missing or of another kind
        reason = " ".join(str(error).split())
        raise UserError(
            f"{package} is installed and cannot be loaded ({type(error).__name__}: {reason[:300]}); mend what it "
            f"names, or run: pip install --force-reinstall {package}"
        ) from error
