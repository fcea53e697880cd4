"""JAX's compile cache in the user's cache folder, so that the second start of a command compiles nothing.

For commands only: a library leaves the settings of its user's process alone.
"""

import hashlib
import os
import platform
import uuid
import warnings
from pathlib import Path

import jax
import jaxlib

LIMIT_BYTES = 2**30  # of all that is kept; a program of the network takes about 1 MB on a CPU
MIN_COMPILE_SECONDS = 0.3  # reading back what compiled sooner would save nothing


def use_compile_cache(limit_bytes: int = LIMIT_BYTES) -> Path | None:
    """Keep compiled programs from one start to the next, and return their folder.

    The folder is $XDG_CACHE_HOME/mprnet_jax (~/.cache/mprnet_jax), or what JAX_COMPILATION_CACHE_DIR says. What was
    not used for longest is removed where the folder has grown over `limit_bytes`. Call it before anything is compiled.

    None, and nothing changes, if the folder cannot be written: a cache is never worth a restoration.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # the user's own; its size is the user's business
        return Path(jax.config.jax_compilation_cache_dir)
    try:
        root = cache_root()
        folder = root / f"jaxlib-{jaxlib.__version__}-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
        prune(root, limit_bytes)
    except (OSError, RuntimeError):  # RuntimeError: nobody's home
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    # A full disk, or an entry that another process removed or was killed over: JAX compiles, as without a cache.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    return folder


def cache_root() -> Path:
    """Where this user's programs keep what can be made again, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return root / "mprnet_jax"


def prune(root: Path, limit_bytes: int) -> None:
    """Remove files below root, those first that were not used for longest, until the others fit in limit_bytes."""
    entries = []
    for path in root.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process prunes, too
            continue
        if path.is_file():
            entries.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size


def _processor() -> str:
    """Names what XLA compiles for on a CPU. JAX's own key does not: a home folder that machines share would hand one
    machine the instructions of another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    abilities = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256((platform.machine() + abilities).encode()).hexdigest()[:12]
