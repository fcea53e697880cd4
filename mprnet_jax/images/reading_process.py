"""Pictures whose header does not bound the work of decoding them, read in a process that can be ended.

Most pictures cost what their size says: they are read where they are wanted, unless strangers send them. A GIF of
millions of blocks, text for pixels, or a codec that nobody can look into may take for ever from a small file; a thread
could not be stopped. Such a file goes to a process of its own, started when the first one comes (0.5 s) and kept for
the next. What comes back goes through a pipe, at about a gigabyte a second.

The process is a plain `python -c`, neither a fork (JAX has threads) nor multiprocessing's spawn (that would import the
caller's script, and JAX with it).
"""

import atexit
import contextlib
import os
import pickle
import queue
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mprnet_jax.images.formats import codec
from mprnet_jax.images.formats.camera_raw import develop
from mprnet_jax.images.formats.picture import Picture, Refusal

SECONDS = 8  # of processor time for any picture
BYTES_A_SECOND = 4e6  # of the file, for which there is more time
WALL_FACTOR = 3  # as much time on the clock: other programs may have the processor
START_SECONDS = 60
LOOK_SECONDS = 0.25  # how often the time is looked at
BYTES, BYTES_A_PIXEL = 1 << 30, 24  # of memory, beyond what the process has at its start, and for each pixel allowed
LENGTH = struct.Struct("<Q")
TASKS = {"decode": codec.decode, "raw_size": develop.read_size}
SERVE = "import sys; sys.path[:] = {path!r}; from mprnet_jax.images.reading_process import serve; serve()"

_idle: "queue.SimpleQueue[_Reader]" = queue.SimpleQueue()
_owner = os.getpid()  # whose readers they are: a forked process must not share their pipes
_start = threading.Lock()


def decode(path: Path, max_pixels: int) -> Picture:
    """What codec.decode gives for the file, or raises: damage as a ValueError, however the decoder told it.

    Raises Refusal if it takes too long, and MemoryError.
    """
    return _ask("decode", path, max_pixels)


def raw_size(path: Path, max_pixels: int) -> tuple[int, int]:
    """Height and width of a camera's raw file by its header, which only its decoder can read. Raises as decode."""
    return _ask("raw_size", path, max_pixels)


def _ask(task: str, path: Path, max_pixels: int) -> Any:
    reader = _take()
    try:
        answer = reader.ask(task, path, max_pixels, SECONDS + os.stat(path).st_size / BYTES_A_SECOND)
    except _Ended as error:
        reader.end()
        raise Refusal(str(error)) from None
    except BaseException:
        reader.end()
        raise
    _idle.put(reader)
    if isinstance(answer, Exception):
        raise answer
    return answer


@atexit.register
def _end_idle() -> None:
    while _owner == os.getpid() and not _idle.empty():
        _idle.get().end()


def _take() -> "_Reader":
    global _idle, _owner
    with _start:
        if _owner != os.getpid():
            _idle, _owner = queue.SimpleQueue(), os.getpid()
    while True:
        try:
            reader = _idle.get_nowait()
        except queue.Empty:
            return _Reader()
        if reader.process.poll() is None:
            return reader
        reader.end()


class _Ended(Exception):
    """The reader is of no more use."""


class _Reader:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the command, which ends it by closing the pipe
        )
        self._deadline, self._processor_limit = time.monotonic() + START_SECONDS, float("inf")
        if self._receive() != "ready":
            self.end()
            raise _Ended("the process that reads pictures does not start; see if there is memory left")

    def ask(self, task: str, path: Path, max_pixels: int, seconds: float) -> Any:
        """The answer, or the exception that came instead."""
        self._deadline = time.monotonic() + WALL_FACTOR * seconds
        self._processor_limit = self._processor_seconds() + seconds
        try:
            _send(self.process.stdin, (task, os.path.abspath(path), max_pixels, seconds))
            return self._receive()
        except TimeoutError:
            raise _Ended(f"given up on after {seconds:.0f} s: damaged, or unsafe; export it again") from None
        except (EOFError, BrokenPipeError):
            raise _Ended("its decoder crashed: damaged, or unsafe; export it again") from None

    def _processor_seconds(self) -> float:
        """What the process has used, by all its threads."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{self.process.pid}/stat").read_text()
            user, system = text.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return 0.0  # no /proc: the clock decides alone

    def _receive(self) -> Any:
        return _receive(lambda view: self._read_into(view))

    def _read_into(self, view: memoryview) -> int:
        while not select.select([self.process.stdout], [], [], LOOK_SECONDS)[0]:
            if time.monotonic() > self._deadline or self._processor_seconds() > self._processor_limit:
                raise TimeoutError
        return self.process.stdout.readinto(view)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def _send(stream: BinaryIO, message: Any) -> None:
    """A message as a pickle, arrays behind it as they lie in memory."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(head), *(array.raw() for array in arrays)]
    lengths = b"".join(LENGTH.pack(part.nbytes) for part in parts)
    for part in (memoryview(LENGTH.pack(len(parts)) + lengths), *parts):
        while part.nbytes:
            part = part[stream.write(part) :]
    stream.flush()


def _receive(read_into: Any) -> Any:
    def read(size: int) -> bytearray | np.ndarray:
        block = np.empty(size, np.uint8)
        view = memoryview(block)
        while view.nbytes:
            count = read_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return block

    (count,) = LENGTH.unpack(read(LENGTH.size))
    sizes = [size for (size,) in LENGTH.iter_unpack(read(count * LENGTH.size))]
    head, *arrays = [read(size) for size in sizes]
    return pickle.loads(head, buffers=arrays)


def serve() -> None:
    """The process: read what stdin names, answer on stdout, until stdin is closed."""
    requests, answers = os.fdopen(0, "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    _send(answers, "ready")
    while True:
        try:
            task, path, max_pixels, seconds = _receive(requests.readinto)
        except EOFError:
            return
        _limit_memory(BYTES + BYTES_A_PIXEL * max_pixels)
        # Should nobody be there any more to end it, the system does so, within a decoder too.
        signal.setitimer(signal.ITIMER_REAL, 2 * WALL_FACTOR * seconds)
        answer = _answer(task, path, max_pixels)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, answer)


def _limit_memory(size: int) -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size, resource.RLIM_INFINITY))


def _answer(task: str, path: str, max_pixels: int) -> Any:
    try:
        with open(path, "rb") as file:
            return TASKS[task](file, max_pixels)
    except (Refusal, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is None:
            return ValueError(str(error))
        return error
    except Exception as error:  # of a class that may be unknown on the other side
        return ValueError(str(error) or type(error).__name__)
