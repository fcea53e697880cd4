"""The folder that all files of a page lie in: gone when it ends, or at the next start if it was killed."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mprnet_jax.support.errors import UserError

PREFIX = "mprnet_jax_demo_"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder below the system's temporary folder, empty, for this process alone.

    Removes those that killed processes left. Raises UserError if none can be made.
    """
    try:
        remove_leftovers(Path(tempfile.gettempdir()))
        folder, lock = _locked_folder()
    except OSError as error:
        raise UserError(
            f"no temporary folder for photos can be made ({error.strerror}); make room, or set TMPDIR to another folder"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_leftovers(where: Path) -> None:
    """Remove the folders of processes that are no more. A killed process loses its lock on its folder.

    Folders of other users, and links, stay.
    """
    for folder in where.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, or gone meanwhile, or on a file system without locks
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        with contextlib.suppress(FileNotFoundError):  # another process took it for a leftover
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(OSError):  # a file system without locks: nothing is removed there either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)
