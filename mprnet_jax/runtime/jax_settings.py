"""What a user has set JAX to, by the environment or in the process: respected, and no reason to fail."""

import contextlib
from collections.abc import Iterator

import jax

from mprnet_jax.support.errors import UserError


@contextlib.contextmanager
def standard_settings() -> Iterator[None]:
    """Inside the block and in this thread, the settings that the network is written for.

    JAX_NUMPY_DTYPE_PROMOTION=strict and JAX_NUMPY_RANK_PROMOTION=raise would refuse it, JAX_DISABLE_JIT=1 what is
    compiled ahead of time.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.disable_jit(False):
        yield


def check_devices() -> None:
    """Start JAX's devices. Raises UserError if there are none, as for a platform that is not installed."""
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX has no type of its own for it
        asked = jax.config.jax_platforms
        reason = (str(error).strip() or f"it knows no platform {asked}").splitlines()[0][:200]
        remedy = f"JAX_PLATFORMS asks for {asked}: unset it, or install " if asked else "install "
        raise UserError(
            f"JAX has no device to compute on ({reason}); {remedy}the JAX of that device (pip install 'jax[cuda12]')"
        ) from error


@contextlib.contextmanager
def missing_devices_told() -> Iterator[None]:
    """Turn what JAX raises where there are no devices, at its first use, into the UserError of check_devices."""
    try:
        yield
    except (RuntimeError, AssertionError):
        check_devices()
        raise
