"""Ctrl-C while a command starts: it ends at once, in one line, whatever is being imported or compiled."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

INTERRUPTED = 130  # exit code, as shells have it


def hold() -> None:
    """Let SIGINT wait until ending_at_once() answers it, also while this process becomes another program."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextlib.contextmanager
def ending_at_once(command: str) -> Iterator[None]:
    """Within the block SIGINT ends the process with a line and exit code 130.

    Python's own KeyboardInterrupt comes between two of its instructions: in the middle of somebody's import, whose
    traceback it becomes or which swallows it, or only after a compiler that runs for minutes. Here a thread hears of
    the signal as soon as it is there, unless something holds the GIL. Nothing is cleaned up: use it where files are
    whole at every moment. While another handler is set within the block, it alone decides.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is ignore:
                os.write(2, f"\n{command}: stopped by Ctrl-C\n".encode())
                os._exit(INTERRUPTED)

    def ignore(*_: object) -> None:
        """The thread answers."""

    before = signal.signal(signal.SIGINT, ignore)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=wait, daemon=True).start()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, before)
        os.close(writing)  # ends the thread
