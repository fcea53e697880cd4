"""Python's search for garbage, left out where it finds none: while a command loads libraries, and when it ends.

JAX and Flax make half a million objects that stay: looking through them again and again takes a third of a second of
every command, and as much again at its end, when all memory is given back anyway.
"""

import atexit
import contextlib
import functools
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage inside, nor when the process ends. Memory that cycles hold is found afterwards."""
    enabled = gc.isenabled()
    gc.disable()
    _leave_at_exit()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def _leave_at_exit() -> None:
    atexit.register(gc.freeze)
