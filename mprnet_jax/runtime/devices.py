"""CPU cores that the process may use, and JAX's devices."""

import contextlib
import os

import jax

from mprnet_jax.runtime.jax_settings import check_devices
from mprnet_jax.support.errors import UserError

PICTURES_A_CORE = 4  # with at least so many, compiling for each core pays
PIXELS_A_CORE = 4 * 2**20  # of one picture in tiles, likewise


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_devices_of_cores(count: int) -> None:
    """Let JAX see the CPU as `count` devices: XLA runs much of a network on one core at a time.

    Call it before anything uses a device; later it has no effect. A number set by the user (jax_num_cpu_devices,
    XLA_FLAGS) is kept. GPUs and TPUs are not affected.
    """
    asked_for = jax.config.jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not asked_for and count > 1:
        with contextlib.suppress(RuntimeError):  # JAX has already started its devices
            jax.config.update("jax_num_cpu_devices", count)


def find_devices(count: int | None, pictures: int, tiled_pixels: int = 0) -> tuple[int, ...]:
    """Indices of the local devices to use for a number of pictures; `count`: that many, None: as many as pay.

    A CPU is one device with all cores, or one device per core with many pictures or with a picture that has many pixels
    in tiles (`tiled_pixels`): each picture, or tile, is then restored on one core, which needs less CPU time in total.
    Raises UserError if there are fewer devices than `count`.
    """
    many = pictures >= PICTURES_A_CORE * cores() or tiled_pixels >= PIXELS_A_CORE * cores()
    on_cpu = count or (cores() if many else 1)
    make_devices_of_cores(on_cpu)
    check_devices()
    existing = jax.local_device_count()
    if count is None:
        return tuple(range(existing if jax.default_backend() != "cpu" else min(existing, on_cpu)))
    if count > existing:
        are = "is" if existing == 1 else "are"
        raise UserError(f"--devices {count}: there {are} only {existing}; give fewer, or all")
    return tuple(range(count))
