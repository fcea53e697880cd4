"""What a batch is to do: which files are restored, into which files, and what is left out."""

import dataclasses
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mprnet_jax import images
from mprnet_jax.batch.source_record import SourceRecord
from mprnet_jax.images import video
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path, real
from mprnet_jax.support.words import counted

# What is counted as left out, beside endings.
LINKED, FOLDERS, NO_ENDING = "linked folder", "folder", "without an ending"
REPORT_COPIES = "report_files"  # folder of the report's small copies in the output folder


class Job(NamedTuple):
    """A file to be restored, and the file that comes of it."""

    source: Path
    result: Path
    replace: bool = False  # an existing result

    @property
    def is_video(self) -> bool:
        """By the ending of the source."""
        return self.source.suffix.lower() in video.SUFFIXES


@dataclasses.dataclass(frozen=True)
class Naming:
    """Where results go and what they are called: folders below an input folder are mirrored."""

    output: Path
    suffix: str = ""  # put behind the name, before the ending
    ending: str | None = None  # ".png", for example; None: that of the input, as always with videos
    recursive: bool = False  # also what is in folders below an input folder

    def job(self, path: Path, folder: Path) -> Job:
        """For one file; `folder` is where its result belongs in the output. Raises UserError for unknown endings."""
        is_video = path.suffix.lower() in video.SUFFIXES
        ending = path.suffix if is_video else self.ending or images.result_suffix(path.suffix)
        if (
            not is_video and ending.lower() not in images.FORMATS and path.exists()
        ):  # else opening it reports the failure
            raise UserError(
                f"{path}: results cannot be written as {ending or 'a file without an ending'}; give --format png (or "
                f"jpg, tif, webp) if it is a picture; videos end in {', '.join(video.SUFFIXES)}"
            )
        return Job(path, self.output / folder / f"{path.stem}{self.suffix}{ending}")


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


def find_share(asked: Share | str | None) -> Share:
    """Which part of the batch this process does: what was asked for, or by its number in jax.distributed."""
    if isinstance(asked, Share):
        return asked
    import jax  # here: --help need not wait for it

    if asked == "auto":
        from mprnet_jax.runtime import processes  # here, because few need it

        processes.start(None, None, None)
    return Share(jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else Share()


@dataclasses.dataclass
class Batch:
    """What a run finds to do: every file once, pictures before videos."""

    jobs: list[Job] = dataclasses.field(default_factory=list)  # to be restored
    existing: list[Job] = dataclasses.field(default_factory=list)  # the result exists and stays
    failures: list[UserError] = dataclasses.field(default_factory=list)
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)  # of the folders, by ending or kind
    own_results: int = 0  # in the input folders: what earlier runs wrote, which is not restored again
    record: SourceRecord | None = None  # of the output folder

    @classmethod
    def find(
        cls, inputs: Iterable[str | Path], naming: Naming, *, overwrite: bool = False, share: Share | None = None
    ) -> "Batch":
        """Look through files and folders; nothing is made, and contents are read only where times do not tell."""
        batch = cls(record=SourceRecord(naming.output))
        found: list[Job] = []
        for entry in inputs:
            try:
                root = as_path(entry)
                if root.is_dir():
                    found += batch._in_folder(root, naming)
                else:
                    found += [naming.job(path, Path()) for path in images.find(root)]
            except UserError as error:
                batch.failures.append(error)
        found = _each_once(found)
        found.sort(key=lambda job: job.is_video)
        sources = {real(job.source) for job in found}
        owners: dict[Path, Path] = {}  # result -> the file it comes from
        for job in found:
            owners.setdefault(job.result, job.source)
        for job in (share or Share()).of(found):
            try:
                if real(job.result) in sources:
                    raise UserError(
                        f"{job.source}: the result would overwrite an input; choose another --output or --suffix"
                    )
                if owners[job.result] != job.source:
                    raise UserError(
                        f"{job.source}: its result would overwrite that of {owners[job.result]}; restore it into "
                        "another --output"
                    )
                if is_existing(job.source, job.result, batch.record, overwrite):
                    batch.existing.append(job)
                else:
                    batch.jobs.append(job._replace(replace=os.path.lexists(job.result)))
            except UserError as error:
                batch.failures.append(error)
            except OSError as error:
                batch.failures.append(result_error(job, error))
        return batch

    def _in_folder(self, root: Path, naming: Naming) -> Iterator[Job]:
        """The jobs of a folder, without what earlier runs wrote, and counts of what is left out.

        Raises UserError if there is nothing to restore.
        """
        output, inside = real(naming.output), real(root)
        below = output if output != inside and output.is_relative_to(inside) else None  # results among the inputs
        copies = output / REPORT_COPIES
        self.left_out += _count_others(root, naming.recursive, {output, copies} if below else {copies})
        own = 0
        for path in images.find(root, naming.recursive, _suffixes()):
            where = real(path.parent)
            if (below and where.is_relative_to(below)) or where.is_relative_to(copies) or self._is_result(path):
                own += 1
                continue
            yield naming.job(path, path.relative_to(root).parent)
        self.own_results += own

    def _is_result(self, path: Path) -> bool:
        try:
            return self.record.is_result(path)
        except OSError:  # opening it reports the failure
            return False

    def left_out_note(self) -> str | None:
        """One line on what of the folders is neither restored nor a failure; None if there is nothing."""
        counts = [_left_out(kind, count) for kind, count in sorted(self.left_out.items()) if count]
        parts = []
        if counts:
            parts.append(f"left out: {', '.join(counts)}")
            if any(count and kind not in (LINKED, FOLDERS) for kind, count in self.left_out.items()):
                parts.append("a picture among them is restored if it is named itself, with --format png")
        if raw := sum(self.left_out[ending] for ending in images.RAW):
            files = "1 of them is" if raw == 1 else f"{raw} of them are"
            parts.append(f"{files} camera raw, which needs pip install 'mprnet_jax[raw]'")
        if self.own_results:
            files = counted(self.own_results, "file in the input folders is", "files in the input folders are")
            results = "the result of an earlier run" if self.own_results == 1 else "results of earlier runs"
            parts.append(f"{files} {results}, and left out")
        return "; ".join(parts) or None


def _left_out(kind: str, count: int) -> str:
    if kind not in (LINKED, FOLDERS):
        return f"{count} {kind}"
    return f"{counted(count, kind)} ({'give --recursive' if kind == FOLDERS else 'name it to have it restored'})"


def _each_once(jobs: Sequence[Job]) -> list[Job]:
    """One file reached by several names is restored once: by its own name, else by the first that leads to it."""
    by_file: dict[Path, Job] = {}
    for job in jobs:
        file = real(job.source)
        if file not in by_file or (by_file[file].source.is_symlink() and not job.source.is_symlink()):
            by_file[file] = job
    kept = {id(job) for job in by_file.values()}
    return [job for job in jobs if id(job) in kept]


def _suffixes() -> tuple[str, ...]:
    """The endings that are searched for in folders."""
    return (*images.to_restore(), *video.SUFFIXES)


def _count_others(root: Path, recursive: bool, without: set[Path]) -> Counter[str]:
    """What a search of a folder does not look at: by ending, and links to folders, and folders unless recursive."""
    counts: Counter[str] = Counter()
    suffixes = _suffixes()
    for folder, folders, names in os.walk(root):
        shown = [Path(folder, name) for name in folders if not name.startswith(".")]
        shown = [path for path in shown if real(path) not in without]
        links = [path for path in shown if path.is_symlink()]
        counts[LINKED] += len(links)
        if not recursive:
            counts[FOLDERS] += len(shown) - len(links)
        folders[:] = [path.name for path in shown if recursive and path not in links]
        for name in names:
            ending = Path(name).suffix.lower()
            if not name.startswith(".") and ending not in suffixes:
                counts[ending or NO_ENDING] += 1
    return counts


def is_existing(source: Path, result: Path, record: SourceRecord | None, overwrite: bool) -> bool:
    """Whether the result of a file exists and is to stay; an empty file is none.

    Raises UserError if something else is in its place, or the result of another file; OSError if the folder cannot be
    searched.
    """
    try:
        status = os.stat(result)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise UserError(f"{source}: {result} is {kind}; remove it, or choose another --output")
    if overwrite or status.st_size == 0:
        return False
    entry = record.entry(result) if record is not None else None
    if entry is not None:
        try:
            same = entry.origin.is_still(source)
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror}); check the file or the link") from error
        if not same:
            changed = entry.origin.path == str(real(source))
            other = "this file before it changed" if changed else f"another file, {entry.origin.path}"
            raise UserError(
                f"{source}: not restored, {result} was made from {other}; --overwrite replaces it, or choose another "
                "--output"
            )
    return True


def result_error(job: Job, error: OSError) -> UserError:
    """What the file system says about a result, for people."""
    return UserError(f"{job.source}: {job.result.name} cannot be used ({error.strerror}); choose another name")
