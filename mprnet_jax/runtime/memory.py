"""How much memory there is, and how much a compiled program takes."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import jax

# Of what is free, the share that a program may take: the rest is for the photo itself and for everybody else.
SHARE = 0.6


def available_bytes() -> int:
    """Free memory of the first device: its own if it has some, else the machine's (and the container's, if less)."""
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
    """Memory that a compiled program takes while it runs, beyond its arguments, as XLA plans it."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def return_freed() -> None:
    """Let the system have what is freed. Linux's C library keeps it for later: after XLA's compiler, up to 1.5 GB."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none, and keep less
        if trim is not None:
            trim(0)


def forget_traces() -> None:
    """Let go of what JAX keeps to compile functions again, and let the system have it: 150 MB after a training step.

    Compiled programs that somebody holds stay; a jitted function that is called again is traced again.
    """
    jax.clear_caches()
    return_freed()
