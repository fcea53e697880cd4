"""Restoring the files of a batch: pictures are read, restored and written at the same time, then videos."""

import contextlib
import dataclasses
import errno
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from mprnet_jax import images
from mprnet_jax.batch import fallback_maps, source_record
from mprnet_jax.batch.jobs import Batch, Job, result_error
from mprnet_jax.batch.read_work_write import pipelined
from mprnet_jax.batch.source_record import Origin
from mprnet_jax.images import video
from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.camera_raw import develop
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.images.headers import header_of
from mprnet_jax.restoring import QUALITY, Restorer, guard, open_checked, restore_picture
from mprnet_jax.support.atomic_files import remove_leftovers
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.progress import Meter, say
from mprnet_jax.support.words import counted

Done = tuple[Picture, Origin, np.ndarray, list[np.ndarray]]  # restored pixels, and where the guard fell back
ROOM = 60_000_000  # pixels of the pictures that are in memory at once; a larger one is alone


def make_folder(path: Path) -> None:
    """Make the folder for the results before anything is restored. Raises UserError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "not writable")
    except OSError as error:
        reason = "is a file" if path.is_file() else f"cannot be made ({error.strerror})"
        raise UserError(f"--output {path}: {reason}; name a folder to write to") from error


@dataclasses.dataclass
class Summary:
    """What became of the files of a run."""

    command: str = "mprnet_jax.infer"  # in front of what is printed
    restored: int = 0
    skipped: int = 0  # the result existed
    failed: list[str] = dataclasses.field(default_factory=list)  # a line for each: file, reason, remedy
    notes: list[str] = dataclasses.field(default_factory=list)  # what else the user should know at the end
    raw: Counter[str] = dataclasses.field(default_factory=Counter)  # camera raw that was developed, by camera and ISO

    def fail(self, error: UserError) -> None:
        """Count a failure, and print it on stderr."""
        line = one_line(str(error))
        self.failed.append(line)
        say(f"{self.command}: error: {line}")

    def raw_note(self) -> str | None:
        """One line on the camera raw files of the run; None if there were none."""
        if not self.raw:
            return None
        shots = ", ".join(f"{count} of {shot}" for shot, count in sorted(self.raw.items()))
        return f"camera raw: {shots}; developed as shot to sRGB of 16 bits, their EXIF kept without maker notes"

    def __str__(self) -> str:
        skipped = "existing (--overwrite restores again)"
        counts = [(self.restored, "restored"), (self.skipped, skipped), (len(self.failed), "failed")]
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"


def sizes(jobs: Iterable[Job]) -> dict[Job, tuple[int, int]]:
    """Height and width of the pictures among the jobs, by their headers alone; without those that cannot be read."""
    found = {}
    for job in jobs:
        if not job.is_video:
            with contextlib.suppress(UserError):  # opening it reports the failure
                header = header_of(job.source)
                found[job] = header.height, header.width
    return found


def restore_batch(
    restorer: Restorer,
    batch: Batch,
    quality: int = QUALITY,
    summary: Summary | None = None,
    maps: Path | None = None,
) -> Summary:
    """Do what a batch holds. What cannot be restored is reported on stderr and left out.

    `quality` (1 to 100) is that of JPEGs. Where the guard fell back is a note of the summary and, with `maps` (the
    folder of the results), a map for its report. While the devices work on pictures, the next are read and the last are
    written. With at least as many pictures as devices, each device has its own; else they share the tiles of one.
    """
    summary = summary or Summary()
    for error in batch.failures:
        summary.fail(error)
    summary.skipped += len(batch.existing)
    for folder in {job.result.parent for job in batch.jobs}:
        remove_leftovers(folder)

    pictures = [job for job in batch.jobs if not job.is_video]
    size_of = sizes(pictures)
    restorer = restorer.for_sizes(size_of.values())
    several = len(pictures) >= len(restorer.devices) > 1
    idle = SimpleQueue[Restorer]()  # a restorer for each picture that is worked on at a time
    for each in restorer.on_each_device() if several else [restorer]:
        idle.put(each)

    unrecorded: list[OSError] = []
    shots: dict[Job, str] = {}  # of camera raw: camera and ISO
    with Meter(len(batch.jobs), "file") as meter:

        def finish(job: Job, error: Exception | None) -> None:
            match error:
                case None:
                    summary.restored += 1
                    if shot := shots.pop(job, None):
                        summary.raw[shot] += 1
                case UserError():
                    summary.fail(error)
                case MemoryError():
                    summary.fail(UserError(f"{job.source}: not enough memory; give smaller tiles, --tile 256"))
                case OSError():  # a name that the file system does not take, a disk that fails
                    summary.fail(result_error(job, error))
                case _:
                    raise error
            meter.end()

        def read(job: Job) -> tuple[Picture, Origin]:
            picture = open_checked(job.source, job.result)
            if picture.format == develop.FORMAT:
                shots[job] = exif.shot_with(picture.exif or b"") or "a camera that it does not name"
            for what in picture.lost:
                say(one_line(f"{job.source}: note: the result is without {what}"))
            return picture, Origin.of(job.source)

        def work(job: Job, opened: tuple[Picture, Origin]) -> Done:
            meter.begin(job.source.name)
            mine = idle.get()
            try:
                astray: list[np.ndarray] = []
                restored = restore_picture(mine, opened[0], None if several else meter.part, astray.append)
                return *opened, restored, astray
            finally:
                idle.put(mine)

        def write(job: Job, done: Done) -> None:
            picture, origin, restored, astray = done
            images.save_picture(
                job.result, restored, picture, quality=quality, replace=job.replace, attributes_of=job.source
            )
            for fell_back in astray:
                note(job, guard.where(fell_back))
                if maps is not None:
                    fallback_maps.write(maps, job, fell_back)
            record(job, origin)

        def note(job: Job, what: str) -> None:
            summary.notes.append(one_line(f"{job.source}: the network went astray {what}"))

        def record(job: Job, origin: Origin) -> None:
            try:
                if batch.record is not None:
                    batch.record.add(job.result, origin)
            except OSError as error:
                unrecorded.append(error)

        weight = lambda job: math.prod(size_of.get(job, (0, 0)))
        workers = len(restorer.devices) if several else 1
        for job, error in pipelined(pictures, read, work, write, weight=weight, room=ROOM * workers, workers=workers):
            finish(job, error)
        for job in batch.jobs[len(pictures) :]:
            meter.begin(job.source.name)
            try:
                part = lambda *done: meter.part(*done, "frame")
                origin = Origin.of(job.source)
                astray: list[np.ndarray] = []
                for_frames = restorer.with_options(uses=max(1, video.survey(job.source).frames))
                restore = lambda frame, one=for_frames, astray=astray: one(
                    frame, on_fallback=lambda _: astray.append(_[:1, :1])
                )
                lost = video.restore_video(restore, job.source, job.result, part, replace=job.replace)
                if astray:
                    note(job, f"in {counted(len(astray), 'frame')}; there an earlier stage or the input is kept")
                for what in lost:
                    say(one_line(f"{job.source}: note: the result is without {what}"))
                record(job, origin)
                finish(job, None)
            except (UserError, MemoryError, OSError) as error:
                finish(job, error)
    if unrecorded:
        reason = unrecorded[0].strerror or unrecorded[0]
        results = counted(len(unrecorded), "result is", "results are")
        what = f"{results} not recorded ({reason}); a later run will not know what they were made from"
        summary.fail(UserError(f"{batch.record.folder / source_record.NAME}: {what}; make room, or remove it"))
    if raw := summary.raw_note():
        summary.notes.append(one_line(raw))
    return summary
