"""Files that appear whole or not at all: written under a temporary name, then renamed.

A killed process cannot remove its temporary file. It does lose its lock on it, so a later run knows which are nobody's.
"""

import contextlib
import errno
import fcntl
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

ENDING = ".mprnet.tmp"  # of temporary files; they begin with a dot, so that no folder search finds them


class NotReplaced(FileExistsError):
    """Another program has written the file meanwhile, and it stays."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool = True, attributes_of: Path | None = None) -> Iterator[Path]:
    """The name of an empty file to write to; it becomes `path` when the block ends, and is removed if the block fails.

    Makes the folder. Without `replace`, what another program has put at `path` meanwhile stays, and NotReplaced is
    raised. `attributes_of`: an existing file whose permissions and times the new one gets, where the file system can.
    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _locked_file(path.parent)
    try:
        yield temporary
        if attributes_of is not None:
            _copy_attributes(attributes_of, temporary)
        if replace:
            os.replace(temporary, path)
        else:
            _move_to_new_name(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def _copy_attributes(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        status = source.stat()
        os.chmod(target, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _move_to_new_name(source: Path, target: Path) -> None:
    """Rename in one step, unless there is something at `target`. Raises NotReplaced if there is."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise NotReplaced(target) from None
    except OSError:  # a file system without hard links: two steps
        if os.path.lexists(target):
            raise NotReplaced(target) from None
        os.replace(source, target)
    else:
        source.unlink()


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
