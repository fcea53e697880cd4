"""Small files of notes, which must neither hang nor end what they are beside: a pipe or a device is not opened."""

import os
import stat
from pathlib import Path

LIMIT = 2**28  # bytes; none of ours is near it


def read_regular(path: Path, limit: int = LIMIT) -> bytes:
    """The contents of an ordinary file. Raises OSError, also for what is none, or is larger than `limit` bytes."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for its writer
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path}: not an ordinary file")
        if status.st_size > limit:
            raise OSError(f"{path}: {status.st_size} bytes, more than {limit}")
        return stream.read(limit)


def append_line(path: Path, line: str) -> None:
    """Add a line to an ordinary file, in one write: lines of several processes do not mix. An empty line goes before,
    in case a killed process left half of one. Raises OSError.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path}: not an ordinary file")
        os.write(file, b"\n" + line.encode() + b"\n")
    finally:
        os.close(file)
