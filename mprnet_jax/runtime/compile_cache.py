"""JAX's persistent compile cache in the user's cache folder, so that the second run of a command compiles nothing.

Only for commands: a library must not change global settings of the process.
"""

import hashlib
import os
import platform
import uuid
import warnings
from pathlib import Path

import jax
import jaxlib

LIMIT_BYTES = 2**30  # of the whole cache; a program of the network takes about 1 MB on a CPU
MIN_COMPILE_SECONDS = 0.3  # reading a program that compiled faster would save nothing


def use_compile_cache(limit_bytes: int = LIMIT_BYTES) -> Path | None:
    """Turn the cache on and return its folder. Call it before anything is compiled.

    The folder is that of JAX_COMPILATION_CACHE_DIR, otherwise $XDG_CACHE_HOME/mprnet_jax (~/.cache/mprnet_jax). If it
    is larger than `limit_bytes`, the least recently used files are removed.

    Returns None and changes nothing if the folder cannot be written: commands also work without a cache.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # the user's own folder: not limited
        return Path(jax.config.jax_compilation_cache_dir)
    try:
        root = cache_root()
        folder = root / f"jaxlib-{jaxlib.__version__}-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
        prune(root, limit_bytes)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    # After a full disk, a removed or a damaged entry JAX compiles as without a cache.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    return folder


def cache_root() -> Path:
    """This package's folder in the user's cache folder, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return root / "mprnet_jax"


def prune(root: Path, limit_bytes: int) -> None:
    """Remove the least recently used files below root until the rest fits in limit_bytes."""
    entries = []
    for path in root.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # removed by another process
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
    """Hash of the CPU's instruction sets. JAX's own cache key leaves them out, so machines with one home folder would
    run each other's programs, with instructions that they lack."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    abilities = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256((platform.machine() + abilities).encode()).hexdigest()[:12]
