"""Photos are read in processes of their own, which can be ended: a small file can keep a decoder busy for ever."""

import os
import resource
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from mprnet_jax import images
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.images.reading_process import read_here
from mprnet_jax.support.errors import UserError

SECONDS = 30.0  # that a photo may take; one of 64 megapixels takes 1 to 5
START_SECONDS = 60.0  # that a process may take to start, on a machine that has much else to do
BYTES, BYTES_A_PIXEL = 2**31, 48  # of address space: the interpreter's, and a few copies in 16 bits with alpha


class _Process:
    """A process that reads one photo after the other; `seconds` for each."""

    def __init__(self, max_pixels: int, seconds: float) -> None:
        self.connection, theirs = Pipe()
        number = theirs.fileno()
        command = [sys.executable, "-m", __name__, str(number), str(max_pixels), str(seconds)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with theirs:
            self.process = subprocess.Popen(command, pass_fds=[number], env=environment, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Reader:
    """Reads photos of at most `max_pixels`, each within `seconds`, in as many processes as there are readings at once.

    What fails or takes too long costs its own process, and no other reading.
    """

    def __init__(self, max_pixels: int, seconds: float = SECONDS) -> None:
        self.max_pixels = max_pixels
        self.seconds = seconds
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._lock = threading.Lock()

    def read(self, path: Path) -> Picture:
        """As images.open_picture. Raises UserError, for a photo that takes too long too."""
        process = self._take()
        try:
            process.connection.send(path)
            if not process.connection.poll(self.seconds):
                raise UserError(
                    f"{path}: given up after {self.seconds:g} seconds of reading; export it again as PNG or JPEG"
                )
            result = process.connection.recv()
        except (EOFError, OSError) as error:
            raise UserError(
                f"{path}: reading it broke off, for want of memory or by a fault; export it again as PNG or JPEG"
            ) from error
        else:
            with self._lock:
                self._busy.remove(process)
                self._idle.append(process)
            process = None
        finally:
            if process is not None:
                self._drop(process)
        if isinstance(result, UserError):
            raise result
        return result

    def close(self) -> None:
        """End all processes, readings under way as well."""
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.end()

    def _take(self) -> _Process:
        with self._lock:
            process = self._idle.pop() if self._idle else None
            if process is not None:
                self._busy.add(process)
                return process
        process = _Process(self.max_pixels, self.seconds)
        with self._lock:
            self._busy.add(process)
        if not process.connection.poll(START_SECONDS):
            self._drop(process)
            raise OSError("the process that reads photos does not start")
        process.connection.recv()  # that it is ready
        return process

    def _drop(self, process: _Process) -> None:
        with self._lock:
            self._busy.discard(process)
        process.end()


def _serve(connection: Connection, max_pixels: int, seconds: float) -> None:
    """Read what is asked for until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the page ends this one
    most = BYTES + BYTES_A_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    read_here()
    connection.send(True)
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        # Should nobody be there any more to end it, the system does so, within a decoder too.
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
        try:
            result = images.open_picture(path, max_pixels=max_pixels)
        except UserError as error:
            result = error
        except MemoryError:
            result = UserError(f"{path}: reading it takes too much memory; export it again as PNG or JPEG")
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(result)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]))
