"""The page in Gradio: what is on it, and what happens on a click. One photo is restored at a time.

Gradio, and not an app of four routes of our own: its slider, gallery, queue with progress, clients for programs and
layout for phones would have to be written and kept working in browsers; what it serves too much, guard.py shuts out.
"""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.queueing
from starlette.middleware import Middleware

from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.support.errors import UserError
from mprnet_jax.web import connections, log, photos
from mprnet_jax.web import models as offers
from mprnet_jax.web.addresses import HEARTBEAT, Names
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.models import Model
from mprnet_jax.web.photos import Limits
from mprnet_jax.web.store import Store
from mprnet_jax.web.uploads import DISK_FULL, FULL

TITLE = "Restore photos"
INTRODUCTION = "Choose a photo, say what spoils it, press Restore, and compare. Your photo itself is never changed."
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]  # the system's: nothing is fetched
# Samples in one row under their heading, which Gradio would lay over them; the slider's two sides named.
CSS = """
#samples label { position: static; }
#samples .grid-wrap { min-height: 0 !important; overflow: visible; padding: 6px; }
#samples .grid-container { grid-template: auto / repeat(6, 1fr) !important; grid-auto-rows: auto !important; gap: 6px; }
#samples .grid-container { padding: 0; }
#samples .thumbnail-item { width: 100%; height: auto; aspect-ratio: 1; }
#slider .slider-wrap::before, #slider .slider-wrap::after {
  position: absolute; bottom: 10px; z-index: 20; padding: 1px 9px; border-radius: 9px; pointer-events: none;
  background: rgba(0, 0, 0, .6); color: white; font-size: 14px;
}
#slider .slider-wrap::before { content: "Before"; left: 10px; }
#slider .slider-wrap::after { content: "After"; right: 10px; }
"""
# On a phone the slider lies below the choices: bring it into view when there is something to see.
SHOW_RESULT = "() => document.querySelector('#slider').scrollIntoView({ behavior: 'smooth', block: 'nearest' })"
LABELS = {
    "deblurring": "Take out shake",
    "denoising": "Take out noise",
    "deraining": "Take out rain",
    offers.OTHER: "Other",
}
MEANINGS = {
    "deblurring": "Shake: the blur of a camera or a person that moved.",
    "denoising": "Noise: grain and coloured specks, as in dim light.",
    "deraining": "Rain: streaks of falling drops.",
    offers.OTHER: "Other: networks that whoever runs this page has added.",
}
RUNS = 2  # at once: a photo that takes long to read does not keep the next one from the network
NO_PHOTO = "choose a photo first"
STOPPED = "stopped"


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
        """Restore one photo; the options are as a program sent them.

        Returns the restored photo in the format of the photo, the photo before and after as JPEGs for the page, and
        what kind of photo it is.
        """
        with refusals():
            path = _path(photo)
            visit = self.store.visit(str(request.session_hash), path)
            chosen = offers.choose(self.models, task, model)
            stages = int(stage) if str(stage) in "123" else stage  # Gradio tells programs to write "1", "2" or "3"
            options = {"stages": stages, "tlc": bool(tlc), "self_ensemble": bool(self_ensemble), "strength": strength}
            restorer = chosen.restorer.with_options(**options)
            with visit.run() as (folder, stop):
                progress(0, desc="Reading the photo")
                picture = self._read(path)
                result = folder / photos.result_name(path, picture)

                def report(done: int, total: int) -> None:
                    if stop.is_set():
                        raise UserError(STOPPED)
                    progress((done, total), desc="Restoring", unit="tiles")

                progress(0, desc=f"Preparing the network for {photos.size(picture)}")
                # Who leaves gives up the place in Gradio's queue at once, but the processor only at the next tile.
                with self._worker:
                    if stop.is_set():
                        raise UserError(STOPPED)
                    said = photos.restore_photo(picture, restorer, result, report)
                shown = _show(picture, folder / "before.jpg"), _show(self._read(result), folder / "after.jpg")
            return str(result), shown, "\n".join(filter(None, (photos.facts(picture), said)))

    def preview(
        self, photo: dict[str, Any] | None, task: Any, model: Any, strength: Any, request: gr.Request, at: gr.SelectData
    ) -> tuple[tuple[str, str], str]:
        """The part of the photo around a click, before and after, and what it is."""
        with refusals():
            path = _path(photo)
            restorer = offers.choose(self.models, task, model).restorer.with_options(strength=strength)
            with self.store.visit(str(request.session_hash), path).run() as (folder, stop):
                picture = self._read(path)
                x, y = photos.point_of_photo(at.index, picture)
                with self._worker:
                    if stop.is_set():
                        raise UserError(STOPPED)
                    before, after = photos.preview_photo(picture, restorer, (x, y))
                shown = _show(before, folder / "before.jpg"), _show(after, folder / "after.jpg")
        return shown, f"A look at the part around {x}, {y}; press Restore for the whole. {photos.facts(picture)}"

    def look(self, photo: dict[str, Any] | None, request: gr.Request) -> tuple[Any, str, Any]:
        """The photo as it came, on both sides of the slider, what kind it is or why it is refused, and to click on."""
        hidden = gr.update(value=None, visible=False)
        if photo is None:
            return None, "", hidden
        try:
            path = _path(photo)
            with failures_told(), self.store.visit(str(request.session_hash), path).run() as (folder, _):
                picture = self._read(path)
                shown = _show(picture, folder / "before.jpg")
            return (shown, shown), photos.facts(picture), gr.update(value=shown, visible=True)
        except UserError as error:
            return None, str(error), hidden

    def stop(self, request: gr.Request) -> None:
        """End the visitor's runs."""
        self.store.visit(str(request.session_hash)).stop()

    def end(self, request: gr.Request) -> None:
        """The page was closed. That is told by the end of a connection; a call that claims it is not heeded."""
        if request.url.path.startswith(HEARTBEAT):
            self.store.end(str(request.session_hash))

    def close(self, seconds: float) -> bool:
        """End all work for good. False if a tile is still being worked on after so many seconds."""
        self.store.end_all()
        return self._worker.acquire(timeout=seconds)

    def _read(self, path: Path) -> Picture:
        if not path.exists():
            raise UserError(f"{path.name}: not here any more; choose the photo again")
        return photos.read_photo(path, self.limits.pixels)


def _show(picture: Picture, path: Path) -> str:
    photos.write_shown(picture, path)
    return str(path)


def build(page: Page, samples: dict[str, list[Path]], queue_length: int) -> gr.Blocks:
    """The page; `samples` are photos in the store by task, `queue_length` how many visitors may wait."""
    tasks = offers.tasks(page.models)
    names = [model.name for model in page.models]

    def offered(task: str) -> tuple[Any, Any]:
        with refusals():
            chosen = offers.choose(page.models, task, None)
        own = [model.name for model in page.models if model.task == task]
        photos = samples.get(task, [])
        return gr.update(choices=own, value=chosen.name), gr.update(value=photos, visible=bool(photos))

    def pick(task: str, event: gr.SelectData) -> str:
        with refusals():
            offers.choose(page.models, task, None)
            if not isinstance(event.index, int) or not 0 <= event.index < len(samples.get(task, [])):
                raise UserError(NO_PHOTO)
        return str(samples[task][event.index])

    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                photo = gr.File(label="Photo", height=140, elem_id="photo")
                gallery = gr.Gallery(
                    samples.get(tasks[0], []),
                    label="Or try one of these",
                    columns=6,
                    height="auto",
                    allow_preview=False,
                    interactive=False,
                    object_fit="cover",
                    buttons=[],
                    elem_id="samples",
                )
                task = gr.Radio(
                    [(LABELS[name], name) for name in tasks],
                    value=tasks[0],
                    label="What shall be taken out?",
                    info=" ".join(MEANINGS[name] for name in tasks),
                    elem_id="task",
                )
                strength = gr.Slider(
                    0,
                    1,
                    value=1,
                    step=0.05,
                    label="How much",
                    info="1 takes out all that is found, 0 leaves the photo as it came.",
                    elem_id="strength",
                )
                clicked = gr.Image(
                    label="Click where you want to see first what it does",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    buttons=[],
                    height=220,
                    elem_id="click",
                )
                with gr.Accordion("For experts", open=False, elem_id="options"):
                    # All names at first, so that programs may name any, and none, for that of the task; a page gets
                    # those of its task when it opens.
                    model = gr.Dropdown(
                        names, value=None, label="Model", info="The network and its weights.", elem_id="model"
                    )
                    stage = gr.Radio(
                        [1, 2, 3],
                        value=3,
                        label="Stage",
                        info="How many of the network's three stages run: 1 and 2 are a little worse, and much faster.",
                    )
                    tlc = gr.Checkbox(
                        label="TLC",
                        info="Means over windows instead of the whole picture: "
                        "better on photos that are larger than the patches of the training.",
                    )
                    ensemble = gr.Checkbox(
                        label="Self-ensemble",
                        info="The mean of eight turned and mirrored copies: a little better, eight times slower.",
                    )
                with gr.Row():
                    start = gr.Button("Restore", variant="primary", min_width=120, elem_id="restore")
                    halt = gr.Button("Stop", min_width=120, elem_id="stop")
            with gr.Column(scale=3, min_width=320):
                slider = gr.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=640,
                    elem_id="slider",
                )
                download = gr.DownloadButton("Download", interactive=False, elem_id="download")
                about = gr.Textbox(label="About the photo", interactive=False, lines=2, elem_id="about")
        gr.Markdown(_notice(page), elem_id="notice")

        # Gradio's own checks of what is sent would put a traceback into the log for each value that cannot be.
        private = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
        quick = {**private, "concurrency_limit": 4, "concurrency_id": "quick"}
        run = start.click(
            page.restore,
            [photo, task, model, stage, strength, tlc, ensemble],
            [download, slider, about],
            api_name="restore",
            preprocess=False,
            concurrency_limit=RUNS,
            concurrency_id="restore",
            show_progress_on=[slider],
        )
        run.success(lambda: gr.update(interactive=True), None, download, **quick).then(None, js=SHOW_RESULT)
        halt.click(page.stop, None, None, cancels=[run], **quick)
        clicked.select(
            page.preview,
            [photo, task, model, strength],
            [slider, about],
            api_visibility="private",
            preprocess=False,
            concurrency_limit=RUNS,
            concurrency_id="restore",
            show_progress_on=[slider],
        ).success(None, js=SHOW_RESULT)
        photo.change(page.look, photo, [slider, about, clicked], **quick).then(
            lambda: gr.update(value=None, interactive=False), None, download, **quick
        )
        task.change(offered, task, [model, gallery], **quick)
        gallery.select(pick, task, photo, **quick)
        blocks.load(offered, task, [model, gallery], **quick)
        blocks.unload(page.end)
    blocks.queue(max_size=queue_length, api_open=False)
    return blocks


def _notice(page: Page) -> str:
    minutes = page.store.keep_seconds / 60
    return (
        "Scroll or pinch on the photo to zoom, drag the bar to compare.\n\n"
        f"Photos stay on the machine that serves this page. They are deleted when you close it, and after "
        f"{minutes:g} minutes at the latest. At most {page.limits.megapixels:g} megapixels and "
        f"{page.limits.megabytes:g} MB."
    )


def launch(blocks: gr.Blocks, page: Page, names: Names, port: int) -> None:
    """Serve in the background; returns when the page can be opened. Raises UserError if the address cannot be used."""
    host = names.listening
    guard = Middleware(Guard, store=page.store, most_bytes=page.limits.bytes, names=names)
    gradio.queueing.traceback = log.InsteadOfTraceback
    system_fonts = [gr.themes.Font(name) for name in FONTS]
    theme = gr.themes.Default(font=system_fonts, font_mono=[gr.themes.Font("monospace")])
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            share=False,
            show_error=True,
            # Not empty, or the environment would decide.
            allowed_paths=[str(page.store.home / "samples")],
            blocked_paths=[str(page.store.home / "blocked")],
            max_file_size=page.limits.bytes,
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            num_workers=0,
            pwa=False,
            app_kwargs={
                "middleware": [guard],
                "docs_url": None,
                "redoc_url": None,
            },
            theme=theme,
            css=CSS,
        )
        connections.bound(blocks.server.config)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot be used ({error}); choose another --port") from error
