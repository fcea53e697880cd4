"""What a process may use of the machine's processor, and how JAX sees it."""

import contextlib
import os

import jax

from mprnet_jax.runtime.jax_settings import check_devices
from mprnet_jax.support.errors import UserError

PICTURES_A_CORE = 4  # from so many on, compiling for each core pays


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_devices_of_cores(count: int) -> None:
    """Let the processor be `count` devices that share its cores: XLA runs much of a network on one core at a time.

    Must come before anything that uses a device; after it, nothing changes. Leaves a number that was asked for
    otherwise, and does nothing to GPUs and TPUs.
    """
    asked_for = jax.config.jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not asked_for and count > 1:
        with contextlib.suppress(RuntimeError):  # JAX has its devices already
            jax.config.update("jax_num_cpu_devices", count)


def find_devices(count: int | None, pictures: int) -> tuple[int, ...]:
    """The local devices to use for a number of pictures. A CPU is one, which all cores share, or one for each core if
    there are many pictures: each is restored on one core then, which takes less of them in all.

    Raises UserError if there are not so many.
    """
    on_cpu = count or (cores() if pictures >= PICTURES_A_CORE * cores() else 1)
    make_devices_of_cores(on_cpu)
    check_devices()
    existing = jax.local_device_count()
    if count is None:
        return tuple(range(existing if jax.default_backend() != "cpu" else min(existing, on_cpu)))
    if count > existing:
        are = "is" if existing == 1 else "are"
        raise UserError(f"--devices {count}: there {are} only {existing}; give fewer, or all")
    return tuple(range(count))
