"""The page in Gradio: what is on it, and what happens on a click. One photo is restored at a time."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.support.errors import UserError
from mprnet_jax.web import models as offers
from mprnet_jax.web import photos
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.models import Model
from mprnet_jax.web.photos import Limits
from mprnet_jax.web.store import Store

TITLE = "Restore photos with MPRNet"
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]  # the system's: nothing is fetched
# Samples in one row under their heading, which Gradio would lay over them.
CSS = """
#samples label { position: static; }
#samples .grid-wrap { min-height: 0 !important; overflow: visible; padding: 6px; }
#samples .grid-container { grid-template: auto / repeat(6, 1fr) !important; grid-auto-rows: auto !important; gap: 6px; }
#samples .grid-container { padding: 0; }
#samples .thumbnail-item { width: 100%; height: auto; aspect-ratio: 1; }
"""
LABELS = {"deblurring": "Deblurring", "denoising": "Denoising", "deraining": "Deraining", offers.OTHER: "Other"}
NO_PHOTO = "choose a photo first"
STOPPED = "stopped"


@contextmanager
def refusals() -> Iterator[None]:
    """Show what a visitor can mend as a sentence."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error


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
        model: Any,
        stage: Any,
        strength: Any,
        tlc: Any,
        self_ensemble: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> tuple[str, tuple[str, str], str]:
        """Restore one photo; the options are as a program sent them.

        Returns the restored photo in the format of the photo, the photo before and after as JPEGs for the page, and
        what kind of photo it is.
        """
        with refusals():
            if photo is None:
                raise UserError(NO_PHOTO)
            path = Path(photo["path"])
            visit = self.store.visit(str(request.session_hash), path)
            chosen = offers.choose(self.models, task, model)
            stages = int(stage) if str(stage) in "123" else stage  # Gradio tells programs to write "1", "2" or "3"
            options = {"stages": stages, "tlc": bool(tlc), "self_ensemble": bool(self_ensemble)}
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
                    photos.restore_photo(picture, restorer, result, strength, report)
                shown = _show(picture, folder / "before.jpg"), _show(self._read(result), folder / "after.jpg")
            return str(result), shown, photos.facts(picture)

    def look(self, photo: str | None, request: gr.Request) -> tuple[Any, str]:
        """The photo as it came, on both sides of the slider, and what kind it is or why it is refused."""
        if photo is None:
            return None, ""
        path = Path(photo)
        try:
            with self.store.visit(str(request.session_hash), path).run() as (folder, _):
                picture = self._read(path)
                shown = _show(picture, folder / "before.jpg")
            return (shown, shown), photos.facts(picture)
        except UserError as error:
            return None, str(error)

    def stop(self, request: gr.Request) -> None:
        """End the visitor's runs."""
        self.store.visit(str(request.session_hash)).stop()

    def end(self, request: gr.Request) -> None:
        """The page was closed."""
        self.store.end(str(request.session_hash))

    def close(self, seconds: float) -> bool:
        """End all work for good. False if a tile is still being worked on after so many seconds."""
        self.store.end_all()
        return self._worker.acquire(timeout=seconds)

    def _read(self, path: Path) -> Picture:
        if not path.exists():
            raise UserError(f"{path.name}: not here any more; choose the photo again")
        return photos.read_photo(path, self.limits)


def _show(picture: Picture, path: Path) -> str:
    photos.write_shown(picture, path)
    return str(path)


def build(page: Page, samples: dict[str, list[Path]], queue_length: int) -> gr.Blocks:
    """The page; `samples` are photos in the store by task, `queue_length` how many visitors may wait."""
    tasks = offers.tasks(page.models)
    names = [model.name for model in page.models]

    def offered(task: str) -> tuple[Any, Any]:
        own = [model.name for model in page.models if model.task == task]
        photos = samples.get(task, [])
        return gr.update(choices=own, value=own[0]), gr.update(value=photos, visible=bool(photos))

    def pick(task: str, event: gr.SelectData) -> str:
        return str(samples[task][event.index])

    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}")
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
                task = gr.Radio([(LABELS[name], name) for name in tasks], value=tasks[0], label="Task", elem_id="task")
                # All names at first, so that programs may name any; a page gets those of its task when it opens.
                model = gr.Dropdown(names, value=names[0], label="Model", elem_id="model")
                with gr.Accordion("Options", open=False, elem_id="options"):
                    stage = gr.Radio([1, 2, 3], value=3, label="Stage", info="1 and 2: a little worse, much faster")
                    strength = gr.Slider(
                        0, 1, value=1, step=0.05, label="Strength", info="0: the photo as it came, 1: fully restored"
                    )
                    tlc = gr.Checkbox(label="TLC", info="Means over windows: better on photos larger than the patches")
                    ensemble = gr.Checkbox(label="Self-ensemble", info="A little better, eight times slower")
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

        private = {"api_visibility": "private", "show_progress": "hidden"}
        quick = {**private, "concurrency_limit": 4, "concurrency_id": "quick"}
        run = start.click(
            page.restore,
            [photo, task, model, stage, strength, tlc, ensemble],
            [download, slider, about],
            api_name="restore",
            preprocess=False,  # Gradio would put a traceback on the terminal for every option that cannot be
            concurrency_limit=1,
            concurrency_id="restore",
            show_progress_on=[slider],
        )
        run.success(lambda: gr.update(interactive=True), None, download, **quick)
        halt.click(page.stop, None, None, cancels=[run], **quick)
        photo.change(page.look, photo, [slider, about], **quick).then(
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


def launch(blocks: gr.Blocks, page: Page, host: str, port: int) -> None:
    """Serve in the background; returns when the page can be opened. Raises UserError if the address cannot be used."""
    guard = Middleware(Guard, store=page.store, most_bytes=page.limits.bytes)
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
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot be used ({error}); choose another --port") from error
