"""Free memory, memory that a compiled program needs, and returning memory to the system."""

import ctypes
import sys
from pathlib import Path
from typing import Any

# Fraction of the free memory that a program may use; the rest is for the photo itself and other programs.
SHARE = 0.6


def available_bytes() -> int:
    """Free memory of the first device: its own, or the machine's for a CPU (limited by the container's), in bytes."""
    import jax  # here: what restoring may plan with is asked for by --help, too

    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
            break
    else:  # kernels before 3.14
        return 2**31
    try:  # control group, version 2: containers and batch systems
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):  # none, or "max"
        return free
    return min(free, max(0, limit - used))


def needed_bytes(compiled: Any) -> int:
    """Memory in bytes that a compiled program needs while it runs, besides its arguments, by XLA's plan."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def return_freed() -> None:
    """Return freed memory to the system. glibc keeps it otherwise: up to 1.5 GB after compiling with XLA."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none and keep less memory
        if trim is not None:
            trim(0)


def forget_traces() -> None:
    """Drop JAX's caches of traced functions and return their memory to the system: 150 MB after a training step.

    Compiled programs that are still referenced are kept; a jitted function that is called again is traced again.
    """
    import jax

    jax.clear_caches()
    return_freed()
