"""What a process may use of the machine's processor, and how JAX sees it."""

import contextlib
import os

import jax


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
