"""The page in Gradio: what is on it, and which click does what.

Gradio, and not an app of four routes of our own: its slider, gallery, queue with progress, clients for programs and
layout for phones would have to be written and kept working in browsers; what it serves too much, guard.py shuts out.
"""

from pathlib import Path
from typing import Any

import gradio as gr
import gradio.queueing
from starlette.middleware import Middleware

from mprnet_jax.support.errors import UserError
from mprnet_jax.web import actions, connections, log
from mprnet_jax.web import models as offers
from mprnet_jax.web.actions import NO_PHOTO, Page, refusals
from mprnet_jax.web.addresses import Names
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.uploads import MOST_FILES

TITLE = "Restore photos"
INTRODUCTION = (
    "Choose one photo or several, say what spoils them, press Restore, and compare. "
    "Your photos themselves are never changed."
)
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]  # the system's: nothing is fetched
THUMBNAILS = {
    "height": "auto",
    "allow_preview": False,
    "interactive": False,
    "object_fit": "cover",
    "buttons": [],
    "elem_classes": ["thumbnails"],
}
# Headings above what Gradio would lay them over; as many photos in a list as it grows to; the slider's two sides named,
# and the bar there, when they differ; words for a phone, where nothing can be dropped; a result that stays in view.
CSS = """
#samples label, #listed label, #click label { position: static; }
.thumbnails .grid-wrap { min-height: 0 !important; overflow: visible; padding: 6px; }
.thumbnails .grid-container { grid-template: auto / repeat(6, 1fr) !important; grid-auto-rows: auto !important; }
.thumbnails .grid-container { gap: 6px; padding: 0; }
.thumbnails .thumbnail-item { width: 100%; height: auto; aspect-ratio: 1; }
#slider.compared .slider-wrap::before, #slider.compared .slider-wrap::after {
  position: absolute; bottom: 10px; z-index: 20; padding: 1px 9px; border-radius: 9px; pointer-events: none;
  background: rgba(0, 0, 0, .6); color: white; font-size: 14px;
}
#slider.compared .slider-wrap::before { content: "Before"; left: 10px; }
#slider.compared .slider-wrap::after { content: "After"; right: 10px; }
#slider:not(.compared) [data-testid=slider] { display: none; }
#task label { width: 100%; }
#photo .file-preview-holder { max-height: 215px !important; }
#photo [data-testid=upload-text], #photo [data-testid=upload-text] .or { font-size: 0; }
#photo [data-testid=upload-text]::after { content: "Choose photos, or drop them here"; font-size: 16px; }
#click { height: auto !important; }
#click img { max-height: 240px; }
#download_all, #download_all * { padding: 0; margin: 0; }
#download_all a {
  display: block; padding: 8px 16px; line-height: 24px; border-radius: var(--button-large-radius); text-align: center;
  text-decoration: none; font-weight: var(--button-large-text-weight); font-size: var(--button-large-text-size);
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
}
@media (max-width: 720px) { #listed .grid-container { grid-template-columns: repeat(3, 1fr) !important; } }
.gradio-container { overflow: clip !important; }
@media (min-width: 721px) { #result { position: sticky; top: 8px; align-self: flex-start; } }
#about { scroll-margin-top: 8px; }
"""
# On a phone the result lies below the choices: bring it into view when there is something to see; else, its head.
SHOW_RESULT = """() => {
  const below = matchMedia('(max-width: 720px)').matches;
  document.querySelector(below ? '#result' : '#about').scrollIntoView(
    { behavior: 'smooth', block: below ? 'start' : 'nearest' });
}"""
MEANINGS = {
    "deblurring": "Take out shake: the blur of a moved camera or person",
    "denoising": "Take out noise: grain and coloured specks, as in dim light",
    "deraining": "Take out rain: streaks of falling drops",
    offers.OTHER: "Other: networks that whoever runs this page has added",
}
RUNS = 4  # at once: a photo that takes long to read, or twenty of one visitor, do not keep others from the network


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

    def pick(task: str, event: gr.SelectData) -> list[str]:
        with refusals():
            offers.choose(page.models, task, None)
            if not isinstance(event.index, int) or not 0 <= event.index < len(samples.get(task, [])):
                raise UserError(NO_PHOTO)
        return [str(samples[task][event.index])]

    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                chosen = gr.File(label="Photos", file_count="multiple", height=140, elem_id="photo")
                gallery = gr.Gallery(
                    samples.get(tasks[0], []), label="Or try one of these", columns=6, elem_id="samples", **THUMBNAILS
                )
                task = gr.Radio(
                    [(MEANINGS[name], name) for name in tasks],
                    value=tasks[0],
                    label="What shall be taken out?",
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
                    label="Click on a spot to see first what it does there",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    buttons=[],
                    height=240,
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
            with gr.Column(scale=3, min_width=320, elem_id="result"):
                # Above the slider, because the progress lies over it: a phone shows both.
                about = gr.Textbox(label="About the photo", interactive=False, lines=2, elem_id="about")
                slider = gr.ImageSlider(
                    label=actions.WHOLE,
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=640,
                    elem_id="slider",
                )
                listed = gr.Gallery(
                    label="Your photos: click on one to see it above",
                    columns=6,
                    visible=False,
                    elem_id="listed",
                    **THUMBNAILS,
                )
                with gr.Row():
                    download = gr.DownloadButton("Download", interactive=False, min_width=120, elem_id="download")
                    everything = gr.HTML(visible=False, padding=False, min_width=120, elem_id="download_all")
        single = gr.File(label="Photo", visible=False)  # for programs, which send one photo; the page never does
        gr.Markdown(_notice(page), elem_id="notice")

        # Gradio's own checks of what is sent would put a traceback into the log for each value that cannot be.
        private = {"api_visibility": "private", "preprocess": False}
        quick = {**private, "concurrency_limit": 4, "concurrency_id": "quick", "show_progress": "hidden"}
        long = {"preprocess": False, "concurrency_limit": RUNS, "concurrency_id": "restore"}
        options = [task, model, stage, strength, tlc, ensemble]
        view = [slider, clicked, about, download, listed, everything]
        single.upload(page.restore, [single, *options], [download, slider, about], api_name="restore", **long)
        # Apart from what is quick: twenty large photos take their time, and a click on Stop has to get through.
        looking = chosen.change(page.look, chosen, view, **(quick | {"concurrency_id": "look"}))
        start.click(None, js=SHOW_RESULT)
        run = start.click(
            page.restore_all,
            [chosen, *options],
            view,
            api_visibility="private",
            show_progress_on=[about],
            cancels=[looking],
            **long,
        )
        run.success(None, js=SHOW_RESULT)
        halt.click(page.stop, None, None, cancels=[run, looking], **quick)
        part = clicked.select(
            page.preview,
            [chosen, task, model, strength],
            [slider, about],
            api_visibility="private",
            show_progress_on=[about],
            **long,
        )
        part.success(None, js=SHOW_RESULT)
        clicked.select(None, js=SHOW_RESULT)
        listed.select(page.pick, None, view, **quick)
        task.change(offered, task, [model, gallery], **quick)
        gallery.select(pick, task, chosen, **quick)
        blocks.load(offered, task, [model, gallery], **quick)
        blocks.unload(page.end)
    blocks.queue(max_size=queue_length, api_open=False)
    return blocks


def _notice(page: Page) -> str:
    minutes = page.store.keep_seconds / 60
    return (
        "Scroll or pinch on the photo to zoom, drag the bar to compare.\n\n"
        f"Photos stay on the machine that serves this page. They are deleted when you close it, and "
        f"{minutes:g} minutes after they were restored at the latest. At most {MOST_FILES} photos at once, each of at "
        f"most {page.limits.megapixels:g} megapixels and {page.limits.megabytes:g} MB."
    )


def launch(blocks: gr.Blocks, page: Page, names: Names, port: int) -> None:
    """Serve in the background; returns when the page can be opened. Raises UserError if the address cannot be used."""
    host = names.listening
    guard = Middleware(Guard, store=page.store, most_bytes=page.limits.bytes, names=names)
    gradio.queueing.traceback = log.InsteadOfTraceback
    system_fonts = [gr.themes.Font(name) for name in FONTS]
    theme = gr.themes.Default(font=system_fonts, font_mono=[gr.themes.Font("monospace")])
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")  # dark enough to read
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
            footer_links=[],
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
            i18n=gr.I18n(en={"common.upload": "Add photos"}),  # which Gradio has no words for
            css=CSS,
        )
        connections.bound(blocks.server.config)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot be used ({error}); choose another --port") from error
