"""Files that appear whole or not at all: written under a temporary name, then renamed.

A killed process cannot remove its temporary file. It does lose its lock on it, so a later run knows which are nobody's.
"""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

ENDING = ".mprnet.tmp"  # of temporary files; they begin with a dot, so that no folder search finds them


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name of an empty file to write to; it becomes `path` when the block ends, and is removed if the block fails.

    Makes the folder. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _locked_file(path.parent)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that are no more; those that are being written stay."""
    for path in folder.glob(f".*{ENDING}"):
        with contextlib.suppress(OSError):  # in use, or gone meanwhile, or on a file system without locks
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(file)


def _locked_file(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f".{uuid.uuid4().hex}{ENDING}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: nothing is removed there either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return path, file
        os.close(file)  # another process took it for a leftover between the two lines
