"""The page of --report: every picture before and after, under a slider and with zoom.

The page shows small copies, loaded as they scroll into view, so that hundreds of pictures stay light; the zoom shows
the files themselves by relative links, or full copies where a browser cannot show them (TIFF, PPM).
"""

import contextlib
import dataclasses
import os
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from mprnet_jax import images
from mprnet_jax.batch import fallback_maps
from mprnet_jax.batch.jobs import REPORT_COPIES as COPIES
from mprnet_jax.batch.jobs import Job
from mprnet_jax.batch.read_work_write import WRITERS
from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.codec import MAX_SIDE
from mprnet_jax.images.formats.pillow import quiet_opening
from mprnet_jax.reports import pages
from mprnet_jax.reports.pictures import NARROWEST, write_browser_jpeg
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.progress import Meter

REPORT = "report.html"
COPY_SIDE = 1200  # pixels, the longest
SHOWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def write(output: Path, jobs: Sequence[Job], computed_by: str = "") -> Path:
    """Write the page for files that are restored already, with its copies, into their folder; returns its path.

    `computed_by`: what computed the results, for people.

    Copies that are newer than their pictures are used again. What cannot be shown is a line on the page. Raises
    UserError if the folder cannot be written.
    """
    cards = []
    try:
        with ThreadPoolExecutor(WRITERS) as pool, Meter(len(jobs), "pair") as meter:
            for job, card in zip(jobs, pool.map(lambda job: _card(output, job), jobs), strict=True):
                meter.begin(job.result.name)
                cards.append(card)
                meter.end()
        with whole_file(output / REPORT) as temporary:
            about = {"title": "Before and after", "cards": cards, "computed_by": computed_by}
            temporary.write_text(pages.render("mprnet_jax.batch", "before_after.html", **about), "utf-8")
    except OSError as error:
        raise UserError(f"{output / REPORT}: cannot be written ({error.strerror}); check the folder") from error
    return output / REPORT


@dataclasses.dataclass(frozen=True)
class _Card:
    """What the page shows of a file."""

    name: str
    is_video: bool = False
    full: dict[str, str] = dataclasses.field(default_factory=dict)  # before and after -> URL of the file
    small: dict[str, str] = dataclasses.field(default_factory=dict)  # before and after -> URL of the small copy
    size: tuple[int, int] = (0, 0)  # of the small copies, width and height
    shot: str = ""  # camera and ISO
    fell_back: str = ""  # URL of the map of where the guard fell back, if it did
    fault: str = ""  # why it cannot be shown

    def image(self, what: str) -> dict[str, object]:
        """Attributes of the <img> of a small copy: with its size, so that the page does not jump when it loads."""
        width, height = self.size
        attributes = {"src": self.small[what], "alt": f"{what}: {self.name}", "loading": "lazy", "decoding": "async"}
        return {**attributes, "width": width, "height": height}

    @property
    def width(self) -> str:
        """The largest width of the slider, in CSS: it fits on the screen."""
        width, height = self.size
        return f"min({max(width, NARROWEST)}px,80vh*{width}/{height})"


def _card(output: Path, job: Job) -> _Card:
    name = one_line(str(job.result.relative_to(output)))
    files = {"before": job.source, "after": job.result}
    if job.is_video:
        return _Card(name, True, {what: _link(output, path) for what, path in files.items()})
    try:
        copies = {what: _Copy(output, job, what, path) for what, path in files.items()}
        _, size = (copy.make() for copy in copies.values())
    except UserError as error:
        return _Card(name, fault=str(error))
    full = {what: _link(output, copy.full) for what, copy in copies.items()}
    small = {what: _link(output, copy.small) for what, copy in copies.items()}
    fallback = fallback_maps.path_of(output, job)
    fell_back = _link(output, fallback) if _changed(fallback) >= max(0, _changed(job.result)) else ""
    return _Card(name, False, full, small, size, _shot(job.result), fell_back)


def _shot(path: Path) -> str:
    """Camera and ISO by the EXIF of a picture, if Pillow can read it."""
    with contextlib.suppress(Exception), quiet_opening(), Image.open(path) as picture:
        tags = picture.getexif()
        iso = tags.get_ifd(exif.EXIF).get(exif.ISO)
        iso = iso[0] if isinstance(iso, tuple) else iso
        names = (str(tags.get(tag) or "").strip("\0 ") for tag in (exif.MAKE, exif.MODEL))
        return exif.name_of_shot(*names, iso if isinstance(iso, int) else 0)
    return ""


class _Copy:
    """The copies of a picture that the page needs."""

    def __init__(self, output: Path, job: Job, what: str, path: Path) -> None:
        key = fallback_maps.key(output, job)
        self.path, self.newest = path, max(_changed(job.source), _changed(job.result))
        self.small = output / COPIES / f"{key}_{what}.jpg"
        shown = path.suffix.lower() in SHOWN_BY_BROWSERS
        self.full = path if shown else output / COPIES / f"{key}_{what}_full.jpg"

    def make(self) -> tuple[int, int]:
        """Write those that are not there, or older than their picture; width and height of the small one."""
        wanted = [path for path in {self.small, self.full} - {self.path} if _changed(path) < self.newest]
        if wanted:
            picture = images.open_picture(self.path)
            for path in wanted:
                write_browser_jpeg(path, picture, COPY_SIDE if path == self.small else MAX_SIDE["JPEG"])
        with Image.open(self.small) as copy:
            return copy.size


def _changed(path: Path) -> int:
    """When a file was written, ns: results have the times of their sources, so the time of the change of the entry
    counts, too; -1 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return -1
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _link(output: Path, path: Path) -> str:
    """A relative URL from the page, whatever bytes the names are made of."""
    return urllib.parse.quote(os.fsencode(os.path.relpath(path.resolve(), output.resolve())))
