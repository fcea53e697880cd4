"""The only folder that the page reads and writes, and how long a visitor's files stay there."""

import contextlib
import dataclasses
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SAMPLES = "samples"  # the one folder of the store that no visitor brought
INCOMING = "incoming"  # uploads under way
SWEEP_SECONDS = 20.0


@dataclasses.dataclass
class Visit:
    """One opened page, or one program's connection."""

    folder: Path  # for results; nobody can guess its name
    uploads: set[Path] = dataclasses.field(default_factory=set)  # that it was seen to use
    runs: list[threading.Event] = dataclasses.field(default_factory=list)  # set: that run is not wanted any more

    def stop(self) -> None:
        """Have the runs under way end at their next tile."""
        for run in list(self.runs):
            run.set()

    @contextlib.contextmanager
    def run(self) -> Iterator[tuple[Path, threading.Event]]:
        """A folder of its own for what one run makes, and the event that asks it to stop."""
        folder, stop = self.folder / secrets.token_hex(8), threading.Event()
        folder.mkdir(parents=True)
        self.runs.append(stop)
        try:
            yield folder, stop
        finally:
            self.runs.remove(stop)


class Full(Exception):
    """There is no room for an upload at the moment."""


class Store:
    """Uploads (each in a folder of its own), results by visit, sample photos; all below `home`."""

    def __init__(self, home: Path, keep_seconds: float, most_bytes: int) -> None:
        self.home = home.resolve()
        self.keep_seconds = keep_seconds
        self.most_bytes = most_bytes
        self._visits: dict[str, Visit] = {}
        self._under_way = 0  # bytes that uploads under way may still bring
        self._lock = threading.Lock()

    def add_samples(self, folder: Path, task: str) -> list[Path]:
        """Copy the sample photos of a task into the store, because nothing outside it is served."""
        copies = self.home / SAMPLES / task
        shutil.copytree(folder, copies)
        return sorted(copies.iterdir())

    def visit(self, session: str, upload: Path | None = None) -> Visit:
        """The visit of a session, begun if it is new; `upload` is a file that it uses."""
        with self._lock:
            if session not in self._visits:
                folder = self.home / "results" / secrets.token_hex(16)
                folder.mkdir(parents=True)
                self._visits[session] = Visit(folder)
            visit = self._visits[session]
            if upload is not None and self.holds(upload) and not self._is_sample(upload):
                visit.uploads.add(upload)
            return visit

    def end(self, session: str) -> None:
        """The page was closed: stop its work and delete its files, but for uploads that others brought too."""
        with self._lock:
            visit = self._visits.pop(session, None)
            if visit is None:
                return
            others = set().union(*(other.uploads for other in self._visits.values()))
        visit.stop()
        shutil.rmtree(visit.folder, ignore_errors=True)
        for upload in visit.uploads - others:
            with contextlib.suppress(OSError):
                upload.unlink()
                upload.parent.rmdir()

    def end_all(self) -> None:
        """End every visit and delete its photos."""
        for session in list(self._visits):
            self.end(session)

    def holds(self, path: str | Path) -> bool:
        """Whether a path, links and dots followed, lies in the store."""
        try:
            return Path(path).resolve().is_relative_to(self.home)
        except (OSError, ValueError):  # a name that cannot be
            return False

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes may come in beside what is here and under way: visitors could fill the disk."""
        return size + self._under_way + sum(status.st_size for _, status in self._files()) <= self.most_bytes

    @contextlib.contextmanager
    def incoming(self, size: int) -> Iterator[Path]:
        """A folder for an upload of at most `size` bytes, with room reserved for it; what is left in it goes.

        Raises Full, and OSError if the folder cannot be made.
        """
        with self._lock:
            if not self.has_room(size):
                raise Full
            self._under_way += size
        folder = self.home / INCOMING / secrets.token_hex(16)
        try:
            folder.mkdir(parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with self._lock:
                self._under_way -= size

    def keep(self, file: Path) -> Path:
        """Move a whole upload to where it stays: a folder that nobody can guess. Returns its new path."""
        folder = self.home / secrets.token_hex(32)
        folder.mkdir(parents=True)
        return file.rename(folder / file.name)

    def sweep(self, now: float) -> None:
        """Delete what came more than keep_seconds before `now` (seconds since 1970), whoever still looks at it."""
        for path, status in self._files():
            if now - status.st_ctime > self.keep_seconds:
                with contextlib.suppress(OSError):
                    path.unlink()
        for folder in (Path(root) for root, _, _ in os.walk(self.home, topdown=False)):
            with contextlib.suppress(OSError):
                if (
                    folder != self.home
                    and INCOMING not in folder.parts
                    and now - folder.stat().st_ctime > self.keep_seconds
                ):
                    folder.rmdir()  # refuses what is not empty
        with self._lock:
            for session in [session for session, visit in self._visits.items() if not visit.folder.exists()]:
                del self._visits[session]

    @contextlib.contextmanager
    def sweeping(self) -> Iterator[None]:
        """Sweep every now and then while this lasts."""
        done = threading.Event()

        def work() -> None:
            while not done.wait(SWEEP_SECONDS):
                self.sweep(time.time())

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _is_sample(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.home / SAMPLES)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Visitors' files, but for those under way."""
        for root, folders, names in os.walk(self.home):
            if Path(root) == self.home:
                folders[:] = [name for name in folders if name not in (SAMPLES, INCOMING)]
            for path in (Path(root) / name for name in names):
                with contextlib.suppress(OSError):  # deleted in between
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        yield path, status
