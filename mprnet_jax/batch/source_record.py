"""Records which file each result in a folder was made from, so that a result is not taken for that of another file of
the same name, nor for an input."""

import dataclasses
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from mprnet_jax.support.paths import real
from mprnet_jax.support.small_files import append_line, read_regular

NAME = ".mprnet_jax_sources.jsonl"  # in the folder of results; a line for each, the last one counts


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a file was when it was read."""

    path: str
    size: int  # bytes
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Origin":
        """Reads the whole file. Raises OSError."""
        status = path.stat()
        return cls(str(real(path)), status.st_size, status.st_mtime_ns, _sha256(path))

    def is_still(self, path: Path) -> bool:
        """Whether a file has the same contents; they are read only where the times differ. Raises OSError."""
        status = path.stat()
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.mtime_ns or _sha256(path) == self.sha256


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is recorded of a result."""

    origin: Origin
    size: int  # of the result, bytes: a file of another size is not the result any more


class SourceRecord:
    """The record of a folder of results; several processes may add to it at once."""

    def __init__(self, folder: Path) -> None:
        """Read the record, if there is one that can be read; broken lines are ignored."""
        self.folder = folder
        self._real = real(folder)
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        try:
            lines = read_regular(folder / NAME).splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                name, entry = _parse(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            self._entries[name] = entry

    def entry(self, result: Path) -> Entry | None:
        """What is recorded of a result, whether it exists or not."""
        return self._entries.get(self._name(result))

    def is_result(self, path: Path) -> bool:
        """Whether a file is what an earlier run wrote. Raises OSError."""
        entry = self.entry(path)
        return entry is not None and entry.size == path.stat().st_size

    def add(self, result: Path, origin: Origin) -> None:
        """Record a result that has just been written. Raises OSError."""
        name, size = self._name(result), result.stat().st_size
        line = json.dumps({"result": name, "size": size, "source": dataclasses.asdict(origin)})
        with self._lock:
            self._entries[name] = Entry(origin, size)
            append_line(self.folder / NAME, line)

    def _name(self, result: Path) -> str:
        """Relative to the folder, where it lies in it. A result that is a link is named by the link."""
        return os.path.relpath(real(result.parent) / result.name, self._real)


def _parse(line: Any) -> tuple[str, Entry]:
    source = line["source"]
    origin = Origin(str(source["path"]), int(source["size"]), int(source["mtime_ns"]), str(source["sha256"]))
    return str(line["result"]), Entry(origin, int(line["size"]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
