"""The only folder that the page reads and writes, and how long a visitor's files stay there."""

import contextlib
import dataclasses
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SAMPLES = "samples"  # the one folder of the store that no visitor brought
INCOMING = "incoming"  # uploads under way
RESTORED = "restored"  # in the folder of a run: its results, and nothing else
SWEEP_SECONDS = 20.0


@dataclasses.dataclass
class Chosen:
    """One of the photos that a visitor chose, and what has been made of it. It lies in the store, and so do those."""

    photo: Path
    about: str = ""  # what kind of photo it is and what restoring it brought, or why it is refused
    refused: bool = False
    thumbnail: Path | None = None
    before: Path | None = None  # as the page shows it
    after: Path | None = None  # None: not restored
    result: Path | None = None

    def refuse(self, why: Exception) -> None:
        """Have a line say why it cannot be restored, beginning with its name."""
        said, name = str(why), self.photo.name
        self.about, self.refused = said if said.startswith(name) else f"{name}: {said}", True


@dataclasses.dataclass
class Visit:
    """One opened page, or one program's connection."""

    folder: Path  # for results; nobody can guess its name
    uploads: set[Path] = dataclasses.field(default_factory=set)  # that it was seen to use
    chosen: list[Chosen] = dataclasses.field(default_factory=list)  # by the page, at last
    looked_at: Chosen | None = None  # which of these the page shows
    runs: list[threading.Event] = dataclasses.field(default_factory=list)  # set: that run is not wanted any more

    def choose_again(self, paths: Sequence[Path]) -> list[Chosen]:
        """These photos, not restored; what is known of them, and which of them is looked at, stays."""
        known = {one.photo: one for one in self.chosen}
        looked_at = self.looked_at.photo if self.looked_at else None
        self.chosen = [Chosen(path) for path in paths]
        for one in self.chosen:
            if one.photo in known:
                one.before, one.thumbnail = known[one.photo].before, known[one.photo].thumbnail
        self.looked_at = next((one for one in self.chosen if one.photo == looked_at), None)
        return self.chosen

    def stop(self) -> None:
        """Have the runs under way end at their next tile."""
        for run in list(self.runs):
            run.set()

    @contextlib.contextmanager
    def run(self) -> Iterator[tuple[Path, threading.Event]]:
        """A folder of its own for what one run makes, and the event that asks it to stop."""
        folder, stop = self.folder / secrets.token_hex(8), threading.Event()
        (folder / RESTORED).mkdir(parents=True)
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

    def visit(self, session: str, *uploads: Path) -> Visit:
        """The visit of a session, begun if it is new; `uploads` are files that it uses."""
        with self._lock:
            if session not in self._visits:
                folder = self.home / "results" / secrets.token_hex(16)
                folder.mkdir(parents=True)
                self._visits[session] = Visit(folder)
            visit = self._visits[session]
            visit.uploads |= {path.resolve() for path in uploads if self.holds(path) and not self._is_sample(path)}
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
        """Delete what came more than keep_seconds before `now` (seconds since 1970), whoever still looks at it.

        While a visit's photos are worked on, the time of its files has not begun: of many photos the last would be
        deleted before their turn, and the first before the visitor could have them.
        """
        with self._lock:
            busy = [visit for visit in self._visits.values() if visit.runs]
            uploads, folders = {path for visit in busy for path in visit.uploads}, {visit.folder for visit in busy}
        for path, status in self._files():
            if path in uploads or not folders.isdisjoint(path.parents):
                with contextlib.suppress(OSError):
                    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # for st_ctime
            elif now - status.st_ctime > self.keep_seconds:
                with contextlib.suppress(OSError):
                    path.unlink()
        for folder in (Path(root) for root, _, _ in os.walk(self.home, topdown=False)):
            with contextlib.suppress(OSError):
                if (
                    folder != self.home
                    and INCOMING not in folder.parts
                    and folders.isdisjoint((folder, *folder.parents))
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
