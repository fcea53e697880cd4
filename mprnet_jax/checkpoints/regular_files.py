"""Files that a stranger may have made: regular ones alone, and never more of them than is plausible."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_FILES = 10_000
DEEPEST = 8  # folders inside each other


class NotPlausible(ValueError):
    """What a file or folder is that it must not be: a link, a device, too large."""


@contextlib.contextmanager
def open_regular(path: str | Path, follow: bool = True) -> Iterator[BinaryIO]:
    """A regular file, opened for reading; a pipe or a device is neither waited for nor read.

    Without `follow` a link is refused, too. Raises NotPlausible, or OSError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    _check_regular((os.stat if follow else os.lstat)(path).st_mode)  # opening a device may do something already
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor).st_mode)
        yield file


def _check_regular(mode: int) -> None:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(mode):
        raise NotPlausible(f"{kinds.get(stat.S_IFMT(mode), 'a device')} instead of a file")


def list_files(folder: Path) -> dict[str, int]:
    """Name, relative to the folder and with /, -> size in bytes of every file below it; nothing is opened.

    Raises NotPlausible for anything but folders and regular files, and for too many; OSError.
    """
    found: dict[str, int] = {}
    waiting = [("", 0)]
    seen = 0
    while waiting:
        below, depth = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                seen += 1
                name = f"{below}{entry.name}"
                about = entry.stat(follow_symlinks=False)
                if seen > MOST_FILES or depth > DEEPEST:
                    raise NotPlausible(f"more than {MOST_FILES} files, or folders more than {DEEPEST} deep")
                if stat.S_ISDIR(about.st_mode):
                    waiting.append((f"{name}/", depth + 1))
                    continue
                try:
                    _check_regular(about.st_mode)
                except NotPlausible as error:
                    raise NotPlausible(f"{ascii(name)[1:-1]} is {error}") from None
                found[name] = about.st_size
    return found
