"""What happens on a click on the page, and on a program's call: photos are looked at, restored and shown.

One photo is restored at a time, whoever sent it; several photos of one visitor one after another.
"""

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError
from mprnet_jax.web import archive, log, photos
from mprnet_jax.web import models as offers
from mprnet_jax.web.addresses import HEARTBEAT
from mprnet_jax.web.models import Model
from mprnet_jax.web.photos import Limits
from mprnet_jax.web.store import RESTORED, Chosen, Store, Visit
from mprnet_jax.web.uploads import DISK_FULL, FULL, MOST_FILES, NO_ROOM

NO_PHOTO = "choose a photo first"
STOPPED = "stopped"
YOUR_PHOTO, PART, WHOLE = "Your photo", "Before and after, this part only", "Before and after"
COMPARED = "compared"  # class of a slider whose two sides differ, and are therefore named
Shown = tuple[Any, ...]  # slider, photo to click on, facts, download, list of photos, download of all


@contextmanager
def refusals() -> Iterator[None]:
    """Show what a visitor can mend as a sentence, and what the machine could not do."""
    try:
        with failures_told():
            yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error


@contextmanager
def failures_told() -> Iterator[None]:
    """Raise UserError for a failure of the machine, such as a full disk; the log says it, too."""
    try:
        yield
    except OSError as error:
        log.failure("a photo", error)
        sentence = DISK_FULL if error.errno in FULL else f"the machine that serves this page failed ({error.strerror})"
        raise UserError(sentence) from error


def _path(photo: Any) -> Path:
    """Where a photo lies, from what a page or program sent. Raises UserError if it sent none."""
    path = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(path, str) or not path:
        raise UserError(NO_PHOTO)
    return Path(path)


def _paths(chosen: Any) -> list[Path]:
    """The same for several. Raises UserError if there is none, or more than may be."""
    if not isinstance(chosen, list) or not chosen:
        raise UserError(NO_PHOTO)
    if len(chosen) > MOST_FILES:
        raise UserError(f"at most {MOST_FILES} photos at once, and these are {len(chosen)}; take some off the list")
    return [_path(photo) for photo in chosen]


@dataclasses.dataclass(frozen=True)
class Page:
    """What is behind the page: models, where files are kept, and what may come in."""

    models: Sequence[Model]
    store: Store
    limits: Limits
    _worker: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def restore(
        self,
        photo: dict[str, Any] | None,
        task: Any,
        request: gr.Request,
        model: Any = None,  # in a program that names none: the task's own
        stage: Any = 3,
        strength: Any = 1,
        tlc: Any = False,
        self_ensemble: Any = False,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> tuple[str, tuple[str, str], str]:
        """Restore one photo for a program; the options are as it sent them.

        Returns the restored photo in the format of the photo, the photo before and after as JPEGs, and what kind of
        photo it is.
        """
        with refusals():
            one = Chosen(_path(photo))
            visit = self.store.visit(str(request.session_hash), one.photo)
            restorer = self._restorer(task, model, stage, strength, tlc, self_ensemble)
            with visit.run() as (folder, stop):
                self._restore(one, restorer, folder, set(), stop, progress)
            return str(one.result), (str(one.before), str(one.after)), one.about

    def restore_all(
        self,
        chosen: Any,
        task: Any,
        model: Any,
        stage: Any,
        strength: Any,
        tlc: Any,
        self_ensemble: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[Shown]:
        """Restore the photos chosen on the page one after another; the page is told after each.

        One that cannot be restored is told in a line, and the others are done.
        """
        with refusals():
            paths = _paths(chosen)
            visit = self.store.visit(str(request.session_hash), *paths)
            restorer = self._restorer(task, model, stage, strength, tlc, self_ensemble)
            visit.stop()  # of a look at these photos that is not done yet, nothing is wanted any more
            every = visit.choose_again(paths)
            names: set[str] = set()
            with visit.run() as (folder, stop):
                for number, one in enumerate(every):
                    which = f"Photo {number + 1} of {len(every)}: " if len(every) > 1 else ""
                    try:
                        with failures_told():
                            self._restore(one, restorer, folder, names, stop, progress, which)
                        if which:
                            one.thumbnail = _thumbnail(one.after, folder, number)
                    except UserError as error:
                        if stop.is_set():
                            return
                        if not which:
                            raise
                        one.refuse(error)
                    if visit.looked_at is None and one.after:
                        visit.looked_at = one
                    yield self._shown(visit, folder, changed=one is visit.looked_at)
                restored = [one for one in every if one.after]
                if restored and visit.looked_at not in restored:
                    visit.looked_at = restored[0]
                    yield self._shown(visit, folder, changed=True)

    def preview(
        self,
        chosen: Any,
        task: Any,
        model: Any,
        strength: Any,
        request: gr.Request,
        at: gr.SelectData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, str]:
        """The part around a click of the photo that the page shows, before and after, and what it is."""
        with refusals():
            paths = _paths(chosen)
            visit = self.store.visit(str(request.session_hash), *paths)
            path = visit.looked_at.photo if visit.looked_at and visit.looked_at.photo in paths else paths[0]
            restorer = offers.choose(self.models, task, model).restorer.with_options(strength=strength)
            with visit.run() as (folder, stop):
                progress(0, desc="Looking at the part around your click; the first look takes longest")
                picture = self._read(path)
                x, y = photos.point_of_photo(at.index, picture)
                with self._worker:
                    if stop.is_set():
                        raise UserError(STOPPED)
                    before, after = photos.preview_photo(picture, restorer, (x, y))
                sides = _show(before, folder / "part_before.jpg"), _show(after, folder / "part_after.jpg")
        facts = f"Only the part around your click. Press Restore for the whole photo.\n{photos.facts(picture)}"
        return _slider(*sides, PART), facts

    def look(self, chosen: Any, request: gr.Request) -> Iterator[Shown]:
        """Show the photos as they came, one after another, with what kind they are or why they are refused."""
        try:
            paths = _paths(chosen)
        except UserError as error:
            yield _nothing("" if not chosen else str(error))
            return
        visit = self.store.visit(str(request.session_hash), *paths)
        visit.stop()  # what was under way is of other photos
        every = visit.chosen = [Chosen(path) for path in paths]
        visit.looked_at = None
        with visit.run() as (folder, stop):
            for number, one in enumerate(every):
                try:
                    with failures_told():
                        picture = self._read(one.photo)
                        one.before = _show(picture, folder / f"before{number}.jpg")
                        one.about = photos.facts(picture)
                        if len(every) > 1:
                            one.thumbnail = _thumbnail(one.before, folder, number)
                except UserError as error:
                    one.refuse(error)
                if stop.is_set():
                    return
                first = visit.looked_at is None and one.before is not None
                if first:
                    visit.looked_at = one
                yield self._shown(visit, folder, changed=first or number == 0)

    def pick(self, request: gr.Request, event: gr.SelectData) -> Shown:
        """Show another of the photos: the one whose thumbnail was clicked on."""
        with refusals():
            visit = self.store.visit(str(request.session_hash))
            listed = [one for one in visit.chosen if one.thumbnail]
            if not isinstance(event.index, int) or not 0 <= event.index < len(listed):
                raise UserError(NO_PHOTO)
            one = listed[event.index]
            if not (one.before and one.before.exists()):
                raise UserError(f"{one.photo.name}: not here any more; choose the photo again")
            visit.looked_at = one
        return *_view(visit), gr.skip(), gr.skip()

    def stop(self, request: gr.Request) -> None:
        """End the visitor's runs: at the next tile, since XLA's computation of one cannot be broken off."""
        visit = self.store.visit(str(request.session_hash))
        if visit.runs:
            gr.Info("It stops as soon as the part at hand is done.", duration=4)
        visit.stop()

    def end(self, request: gr.Request) -> None:
        """The page was closed. That is told by the end of a connection; a call that claims it is not heeded."""
        if request.url.path.startswith(HEARTBEAT):
            self.store.end(str(request.session_hash))

    def close(self, seconds: float) -> bool:
        """End all work for good. False if a tile is still being worked on after so many seconds."""
        self.store.end_all()
        return self._worker.acquire(timeout=seconds)

    def _restorer(self, task: Any, model: Any, stage: Any, strength: Any, tlc: Any, self_ensemble: Any) -> Restorer:
        """Weights and options as a page or program sent them. Raises UserError for what cannot be."""
        stages = int(stage) if str(stage) in "123" else stage  # Gradio tells programs to write "1", "2" or "3"
        options = {"stages": stages, "tlc": bool(tlc), "self_ensemble": bool(self_ensemble), "strength": strength}
        return offers.choose(self.models, task, model).restorer.with_options(**options)

    def _restore(
        self,
        one: Chosen,
        restorer: Restorer,
        folder: Path,
        names: set[str],
        stop: threading.Event,
        progress: Callable[..., Any],
        which: str = "",
    ) -> None:
        """Restore a photo into `folder`, whose results are called `names`. Raises UserError, also if it was stopped."""
        progress(0, desc=f"{which}Reading the photo")
        if not self.store.has_room(0):
            raise UserError(f"{one.photo.name}: {NO_ROOM}")
        picture = self._read(one.photo)
        result = folder / RESTORED / archive.unlike(photos.result_name(one.photo, picture), names)

        def report(done: int, total: int) -> None:
            if stop.is_set():
                raise UserError(STOPPED)
            progress((done, total), desc=f"{which}Restoring", unit="tiles")

        progress(0, desc=f"{which}Preparing the network for {photos.size(picture)}")
        # Who leaves gives up the place in Gradio's queue at once, but the processor only at the next tile.
        with self._worker:
            if stop.is_set():
                raise UserError(STOPPED)
            said = photos.restore_photo(picture, restorer, result, report)
        one.before = _show(picture, folder / f"before{len(names)}.jpg")
        one.after = _show(self._read(result), folder / f"after{len(names)}.jpg")
        one.result, one.about = result, "\n".join(filter(None, (photos.facts(picture), said)))

    def _read(self, path: Path) -> Picture:
        if not path.exists():
            raise UserError(f"{path.name}: not here any more; choose the photo again")
        return photos.read_photo(path, self.limits.pixels)

    def _shown(self, visit: Visit, folder: Path, changed: bool) -> Shown:
        """What the page shows after one more photo; `changed`: it is the one that is looked at."""
        view = _view(visit)
        if not changed:
            view = gr.skip(), gr.skip(), view[2], gr.skip()
        named = [(one, f"\u2713 {one.photo.name}" if one.after else one.photo.name) for one in visit.chosen]
        listed = [(str(one.thumbnail), name) for one, name in named if one.thumbnail]
        several = sum(one.result is not None for one in visit.chosen) > 1
        # With `download`: the browser would take a mere link for the end of the visit, at which photos are deleted.
        address = f"{folder.relative_to(self.store.home).as_posix()}/{archive.NAME}"
        link = f'<a href="{address}" download="{archive.NAME}">Download all</a>' if several else ""
        return *view, gr.update(value=listed, visible=bool(listed)), gr.update(value=link, visible=several)


def _view(visit: Visit) -> Shown:
    """Slider, photo to click on, facts and download of the photo that is looked at."""
    one = visit.looked_at
    result = str(one.result) if one and one.result else None
    download = gr.update(value=result, interactive=result is not None)
    if one is None or one.before is None:
        return _slider(None, None, YOUR_PHOTO), gr.update(value=None, visible=False), _facts(visit), download
    slider = _slider(one.before, one.after or one.before, WHOLE if one.after else YOUR_PHOTO)
    return slider, gr.update(value=str(one.before), visible=True), _facts(visit), download


def _facts(visit: Visit) -> str:
    if len(visit.chosen) == 1:
        return visit.chosen[0].about
    restored = sum(one.after is not None for one in visit.chosen)
    lines = [f"{restored} of {len(visit.chosen)} photos are restored."] if restored else []
    lines += [one.about for one in visit.chosen if one.refused]
    if visit.looked_at and not visit.looked_at.refused:
        lines.append(f"{visit.looked_at.photo.name}: {visit.looked_at.about}")
    return "\n".join(lines)


def _nothing(why: str) -> Shown:
    """The page without a photo."""
    hidden, download = gr.update(value=None, visible=False), gr.update(value=None, interactive=False)
    return _slider(None, None, WHOLE), hidden, why, download, hidden, hidden


def _slider(before: Path | None, after: Path | None, label: str) -> Any:
    sides = None if before is None else (str(before), str(after))
    return gr.update(value=sides, label=label, elem_classes=[COMPARED] if before != after else [])


def _show(picture: Picture, path: Path) -> Path:
    photos.write_shown(picture, path)
    return path


def _thumbnail(shown: Path | None, folder: Path, number: int) -> Path | None:
    if shown is None:
        return None
    return photos.write_thumbnail(shown, folder / f"thumbnail{number}.jpg")
