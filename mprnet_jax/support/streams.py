"""Standard output and error that never end a command: a closed pipe, a full disk, a name that is no ASCII.

What a command has done is not undone by its report: all that it prints goes through here.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO


class GuardedStream:
    """A text stream whose writing does not raise. After a failure what is printed is dropped; `error` says why."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None else open(os.devnull, "w")  # noqa: SIM115  as long as the process
        self.error: OSError | None = None
        if isinstance(self._stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                self._stream.reconfigure(errors="backslashreplace")  # what its encoding lacks is written out

    def write(self, text: str) -> int:
        """Write, or drop the text; its length either way."""
        with self._guarded():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or note why that failed."""
        with self._guarded():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _guarded(self) -> Any:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: closed
            self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, "closed")
            # Not only this object: Python flushes the one below at its end.
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            self._stream = open(os.devnull, "w")  # noqa: SIM115


def guard_streams() -> None:
    """Guard sys.stdout and sys.stderr, once."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), GuardedStream):
            setattr(sys, name, GuardedStream(getattr(sys, name)))


def lost_output() -> str | None:
    """Why what was printed on stdout did not arrive; None if it did, or if its reader wanted no more of it."""
    if not isinstance(sys.stdout, GuardedStream):
        return None
    sys.stdout.flush()
    error = sys.stdout.error
    return None if error is None or error.errno == errno.EPIPE else error.strerror
