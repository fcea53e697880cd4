"""Files and folders of pictures and videos: what is to be restored, into which files, and the loop that does it."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from mprnet_jax import images
from mprnet_jax.batch.read_work_write import overlapped
from mprnet_jax.images import video
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.images.headers import header_of
from mprnet_jax.restoring.restorer import Progress, Restorer
from mprnet_jax.support.atomic_files import remove_leftovers
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.progress import Meter, say

QUALITY = 95  # of JPEGs, unless another is asked for
ROOM = 60_000_000  # pixels of the pictures that are in memory at once; a larger one is alone


class Job(NamedTuple):
    """A file to be restored, and the file that comes of it."""

    source: Path
    result: Path

    @property
    def is_video(self) -> bool:
        return self.source.suffix.lower() in video.SUFFIXES


@dataclasses.dataclass(frozen=True)
class Naming:
    """Where results go and what they are called: folders below an input folder are mirrored."""

    output: Path
    suffix: str = ""  # put behind the name, before the ending
    ending: str | None = None  # ".png", for example; None: that of the input, as always with videos
    recursive: bool = False  # also what is in folders below an input folder

    def jobs(self, entry: str | Path) -> Iterator[Job]:
        """For a file, or for each picture and video of a folder. Raises UserError if there is none."""
        root = Path(entry)
        for path in images.find(root, self.recursive, (*images.SUFFIXES, *video.SUFFIXES)):
            folder = path.relative_to(root).parent if root.is_dir() else Path()
            ending = path.suffix if path.suffix.lower() in video.SUFFIXES else self.ending or path.suffix
            yield Job(path, self.output / folder / f"{path.stem}{self.suffix}{ending}")


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a batch that one of several processes does: the parts do not overlap, and together are the whole."""

    index: int = 0  # from 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """ "2/5" is the second of five. Raises ValueError."""
        index, count = (int(part) for part in text.split("/"))
        if not 1 <= index <= count:
            raise ValueError(text)
        return cls(index - 1, count)

    def of(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Every count-th, so that each process gets its part of every folder. By place in the list alone, not by what
        others have done by now: processes that start at different times agree."""
        return jobs[self.index :: self.count]


@dataclasses.dataclass
class Batch:
    """What a run finds to do: every file once, pictures before videos."""

    jobs: list[Job] = dataclasses.field(default_factory=list)  # to be restored
    there: list[Job] = dataclasses.field(default_factory=list)  # the result exists and stays
    refused: list[UserError] = dataclasses.field(default_factory=list)

    @classmethod
    def find(
        cls, inputs: Iterable[str | Path], naming: Naming, *, overwrite: bool = False, share: Share | None = None
    ) -> "Batch":
        """Look through files and folders; nothing is opened or made."""
        batch = cls()
        found: list[Job] = []
        for entry in inputs:
            try:
                found += naming.jobs(entry)
            except UserError as error:
                batch.refused.append(error)
        # One file reached by two spellings is one file.
        found = list({job.source.resolve(): job for job in reversed(found)}.values())[::-1]
        found.sort(key=lambda job: job.is_video)
        sources = {job.source.resolve() for job in found}
        owners: dict[Path, Path] = {}  # result -> the file it comes from
        for job in found:
            owners.setdefault(job.result, job.source)
        for job in (share or Share()).of(found):
            try:
                if job.result.resolve() in sources:
                    raise UserError(
                        f"{job.source}: the result would overwrite an input; choose another --output or --suffix"
                    )
                if owners[job.result] != job.source:
                    raise UserError(
                        f"{job.source}: its result would overwrite that of {owners[job.result]}; restore it into "
                        "another --output"
                    )
                (batch.there if job.result.exists() and not overwrite else batch.jobs).append(job)
            except UserError as error:
                batch.refused.append(error)
            except OSError as error:
                batch.refused.append(_about_result(job, error))
        return batch


@dataclasses.dataclass
class Summary:
    """What became of the files of a run."""

    command: str = "mprnet_jax.infer"  # in front of what is printed
    restored: int = 0
    skipped: int = 0  # the result was there already
    failed: list[str] = dataclasses.field(default_factory=list)  # a line for each: file, reason, remedy
    notes: list[str] = dataclasses.field(default_factory=list)  # what else the user should know at the end

    def fail(self, error: UserError) -> None:
        """Note an error, and print it on stderr."""
        line = one_line(str(error))
        self.failed.append(line)
        say(f"{self.command}: error: {line}")

    def __str__(self) -> str:
        there = "there already (--overwrite restores them again)"
        counts = [(self.restored, "restored"), (self.skipped, there), (len(self.failed), "failed")]
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"


def open_checked(job: Job) -> Picture:
    """The picture of a job, if its result can hold it. Raises UserError."""
    picture = images.open_picture(job.source)
    images.check_savable(job.result, picture)  # before the work, not after it
    return picture


def restore_picture(restorer: Restorer, picture: Picture, on_tile: Progress | None = None) -> np.ndarray:
    """The restored pixels of a picture, H W 3."""
    # Grey is the mean of three restored channels, and CMYK is converted back: both are rounded once, at the end.
    pixels = picture.pixels if picture.mode == "rgb" else images.to_float(picture.pixels)
    return restorer(pixels, on_tile)


def restore_file(
    restorer: Restorer, path: Path, result: Path, quality: int = QUALITY, on_tile: Progress | None = None
) -> None:
    """Restore one picture into a file with its depth, alpha, profile and notes. Raises UserError."""
    picture = open_checked(Job(path, result))
    images.save_picture(result, restore_picture(restorer, picture, on_tile), picture, quality=quality)


def sizes(jobs: Iterable[Job]) -> dict[Job, tuple[int, int]]:
    """Height and width of the pictures among the jobs, by their headers alone; without those that cannot be read."""
    found = {}
    for job in jobs:
        if not job.is_video:
            with contextlib.suppress(UserError):  # who opens it will say so
                header = header_of(job.source)
                found[job] = header.height, header.width
    return found


def restore_batch(restorer: Restorer, batch: Batch, quality: int = QUALITY, summary: Summary | None = None) -> Summary:
    """Do what a batch holds. What cannot be restored is reported on stderr and left out.

    While the devices work on pictures, the next are read and the last are written. With at least as many pictures as
    devices, each device has its own; else they share the tiles of one.
    """
    summary = summary or Summary()
    for error in batch.refused:
        summary.fail(error)
    summary.skipped += len(batch.there)
    for folder in {job.result.parent for job in batch.jobs}:
        remove_leftovers(folder)

    pictures = [job for job in batch.jobs if not job.is_video]
    size_of = sizes(pictures)
    restorer = prepare(restorer, size_of.values())
    several = len(pictures) >= len(restorer.devices) > 1
    idle = SimpleQueue[Restorer]()  # a restorer for each picture that is worked on at a time
    for each in restorer.on_each_device() if several else [restorer]:
        idle.put(each)

    with Meter(len(batch.jobs), "file") as meter:

        def note(job: Job, error: Exception | None) -> None:
            match error:
                case None:
                    summary.restored += 1
                case UserError():
                    summary.fail(error)
                case MemoryError():
                    summary.fail(UserError(f"{job.source}: not enough memory; give smaller tiles, --tile 256"))
                case OSError():  # a name that the file system does not take, a disk that fails
                    summary.fail(_about_result(job, error))
                case _:
                    raise error
            meter.end()

        def work(job: Job, picture: Picture) -> tuple[Picture, np.ndarray]:
            meter.begin(job.source.name)
            mine = idle.get()
            try:
                return picture, restore_picture(mine, picture, None if several else meter.part)
            finally:
                idle.put(mine)

        def write(job: Job, done: tuple[Picture, np.ndarray]) -> None:
            images.save_picture(job.result, done[1], done[0], quality=quality)

        weight = lambda job: math.prod(size_of.get(job, (0, 0)))
        workers = len(restorer.devices) if several else 1
        for job, error in overlapped(
            pictures, open_checked, work, write, weight=weight, room=ROOM * workers, workers=workers
        ):
            note(job, error)
        for job in batch.jobs[len(pictures) :]:
            meter.begin(job.source.name)
            try:
                video.restore_video(restorer, job.source, job.result, lambda *part: meter.part(*part, "frame"))
                note(job, None)
            except (UserError, MemoryError, OSError) as error:
                note(job, error)
    return summary


def prepare(restorer: Restorer, found: Iterable[tuple[int, int]]) -> Restorer:
    """The restorer with programs for pictures of these heights and widths: a few for many sizes."""
    turned = (size[::-1] for size in found) if restorer.self_ensemble else ()
    return restorer.for_sizes({*found, *turned})


def restore_files(
    restorer: Restorer,
    inputs: Iterable[str | Path],
    naming: Naming,
    overwrite: bool = False,
    quality: int = QUALITY,
    share: Share | None = None,
) -> Summary:
    """Restore files and folders of pictures and videos.

    What cannot be restored is reported on stderr and left out; an input is never overwritten; a result that is there
    already is kept unless `overwrite`, so that a run that was interrupted goes on. `quality` is that of JPEGs.
    """
    return restore_batch(restorer, Batch.find(inputs, naming, overwrite=overwrite, share=share), quality)


def _about_result(job: Job, error: OSError) -> UserError:
    return UserError(f"{job.source}: {job.result.name} cannot be used ({error.strerror}); choose another name")
