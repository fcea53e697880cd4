"""JAX settings of the user (environment or process) that the network could fail with, and missing devices."""

import contextlib
from collections.abc import Iterator

import jax

from mprnet_jax.support.errors import UserError


@contextlib.contextmanager
def standard_settings() -> Iterator[None]:
    """Inside the block and in this thread, the settings that the network is written for.

    Otherwise JAX_NUMPY_DTYPE_PROMOTION=strict and JAX_NUMPY_RANK_PROMOTION=raise would reject the network, and
    JAX_DISABLE_JIT=1 ahead-of-time compiling.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.disable_jit(False):
        yield


def check_devices() -> None:
    """Start JAX's devices. Raises UserError if there are none, for example if the platform is not installed."""
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX has no specific exception type
        asked = jax.config.jax_platforms
        reason = (str(error).strip() or f"it knows no platform {asked}").splitlines()[0][:200]
        remedy = f"JAX_PLATFORMS asks for {asked}: unset it, or install " if asked else "install "
        raise UserError(
            f"JAX has no device to compute on ({reason}); {remedy}the JAX of that device (pip install 'jax[cuda12]')"
        ) from error


@contextlib.contextmanager
def missing_devices_told() -> Iterator[None]:
    """Replace JAX's exceptions about missing devices inside the block by the UserError of check_devices."""
    try:
        yield
    except (RuntimeError, AssertionError):
        check_devices()
        raise
