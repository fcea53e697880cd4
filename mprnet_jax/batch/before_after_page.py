"""The page of --report: every picture before and after, under a slider and with zoom.

The page shows small copies, loaded as they scroll into view, so that hundreds of pictures stay light; the zoom shows
the files themselves by relative links, or full copies where a browser cannot show them (TIFF, PPM).
"""

import hashlib
import os
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from mprnet_jax import images
from mprnet_jax.batch.jobs import REPORT_COPIES as COPIES
from mprnet_jax.batch.jobs import Job
from mprnet_jax.batch.read_work_write import WRITERS
from mprnet_jax.images.formats.codec import MAX_SIDE, Picture
from mprnet_jax.images.formats.colours import space
from mprnet_jax.reports import html_parts
from mprnet_jax.reports.html_parts import escape
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.progress import Meter

REPORT = "report.html"
COPY_SIDE = 1200  # pixels, the longest
SHOWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

STYLE = """
.pair{margin:0 0 2.5rem}.pair p{display:flex;flex-wrap:wrap;gap:.3rem 1rem;align-items:baseline}
.pair button,.zoom button{font:inherit;font-size:.85rem;padding:.2rem .8rem;border-radius:99px;color:var(--text);
border:1px solid var(--line);background:var(--back);cursor:pointer}.pair button{display:none}
.js .pair button{display:inline-block}.pair a{color:var(--mark)}.pair video{width:100%}
html:not(.js) .slider{display:grid;grid-template-columns:1fr 1fr;gap:4px}
html:not(.js) .slider img.over{position:static;clip-path:none;order:-1}
html:not(.js) .slider :is(i,input,span){display:none}
.zoom{width:100vw;height:100dvh;max-width:none;max-height:none;margin:0;padding:0;border:0;background:var(--back);
color:var(--text)}.zoom[open]{display:flex;flex-direction:column}
.zoom .bar2{display:flex;flex-wrap:wrap;gap:.4rem;padding:.5rem;align-items:center}
.zoom .bar2 b{flex:1 1 8rem;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-weight:600}
.zoom button[aria-pressed=true]{background:var(--mark);border-color:var(--mark);color:var(--back)}
.zoom .pane{flex:1;min-height:0;position:relative}
.zoom .view{position:absolute;inset:0;overflow:auto;background:#000}
.zoom .both{position:relative;margin:0 auto}.zoom .both img{position:absolute;inset:0;width:100%;height:100%}
.zoom.big .both img{image-rendering:pixelated}
.zoom .line{position:absolute;top:0;bottom:0;width:2px;margin-left:-1px;background:#fff;box-shadow:0 0 3px #000;
pointer-events:none}
.zoom input{width:100%;margin:.6rem 0;accent-color:var(--mark)}
"""

SCRIPT = """
const zoom = document.querySelector('.zoom'), view = zoom.querySelector('.view'), both = zoom.querySelector('.both');
const [after, before] = both.querySelectorAll('img'), range = zoom.querySelector('input');
const line = zoom.querySelector('.line'), scales = [...zoom.querySelectorAll('[data-scale]')];
let scale = 0;
const cut = () => {
  const x = range.value / 100 * view.clientWidth, left = both.offsetLeft - view.scrollLeft;
  line.style.left = x + 'px';
  before.style.clipPath = `inset(0 ${Math.max(0, both.offsetWidth - Math.max(0, x - left))}px 0 0)`;
};
const size = wanted => {
  const width = after.naturalWidth, height = after.naturalHeight;
  if (!width) return;
  const fit = Math.min(view.clientWidth / width, view.clientHeight / height), old = both.offsetWidth || 1;
  const middle = [(view.scrollLeft + view.clientWidth / 2) / old, (view.scrollTop + view.clientHeight / 2) / old];
  scale = wanted;
  both.style.width = Math.floor(width * (wanted || fit)) + 'px';
  both.style.height = Math.floor(height * (wanted || fit)) + 'px';
  const now = both.offsetWidth;
  view.scrollTo(middle[0] * now - view.clientWidth / 2, middle[1] * now - view.clientHeight / 2);
  zoom.classList.toggle('big', (wanted || fit) >= 2);
  for (const button of scales) button.setAttribute('aria-pressed', Number(button.dataset.scale) === wanted);
  cut();
};
for (const button of scales) button.onclick = () => size(Number(button.dataset.scale));
for (const button of document.querySelectorAll('.pair button')) button.onclick = () => {
  zoom.querySelector('b').textContent = button.dataset.name;
  after.onload = () => size(0);
  before.src = button.dataset.before;
  after.src = button.dataset.after;
  zoom.showModal();
};
zoom.onclose = () => { before.removeAttribute('src'); after.removeAttribute('src'); };
zoom.querySelector('.close').onclick = () => zoom.close();
range.oninput = cut;
view.onscroll = cut;
window.addEventListener('resize', () => zoom.open && size(scale));
let held = null;  // dragging with a mouse; fingers scroll by themselves
view.onpointerdown = e => { if (e.pointerType === 'mouse') held = [e.clientX, e.clientY]; };
view.onpointermove = e => {
  if (!held) return;
  view.scrollBy(held[0] - e.clientX, held[1] - e.clientY);
  held = [e.clientX, e.clientY];
};
window.addEventListener('pointerup', () => held = null);
"""

ZOOM = (
    '<dialog class="zoom" aria-label="zoom"><div class="bar2"><b></b>'
    + "".join(f'<button type="button" data-scale="{n}">{f"{n * 100}%" if n else "fit"}</button>' for n in (0, 1, 2, 4))
    + '<button type="button" class="close">close</button></div><div class="pane"><div class="view"><div class="both">'
    '<img class="after" alt="after" draggable="false"><img class="before" alt="before" draggable="false"></div></div>'
    '<div class="line"></div></div><input type="range" min="0" max="100" step="0.1" value="50" '
    'aria-label="where before ends and after begins"></dialog>'
)


def write(output: Path, jobs: Sequence[Job]) -> Path:
    """Write the page for files that are restored already, with its copies, into their folder; returns its path.

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
            temporary.write_text(_page(cards), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output / REPORT}: cannot be written ({error.strerror}); check the folder") from error
    return output / REPORT


def _page(cards: Sequence[str]) -> str:
    count = f"{len(cards)} file{'' if len(cards) == 1 else 's'}; the slider runs from before to after"
    head = f'<h1>Before and after</h1><p class="soft">{count}</p>'
    return html_parts.page("Before and after", head + "".join(cards) + ZOOM, STYLE, SCRIPT)


def _card(output: Path, job: Job) -> str:
    name = one_line(str(job.result.relative_to(output)))
    try:
        body = _videos(output, job) if job.is_video else _pictures(output, job, name)
    except UserError as error:
        body = f'<p class="notice">{escape(one_line(str(error)))}</p>'
    return f'<section class="pair"><h3>{escape(name)}</h3>{body}</section>\n'


def _videos(output: Path, job: Job) -> str:
    figures = "".join(
        f'<figure><video controls preload="metadata" src="{_link(output, path)}"></video>'
        f"<figcaption>{what}</figcaption></figure>"
        for what, path in (("before", job.source), ("after", job.result))
    )
    return f'<div class="strip" style="--n:2">{figures}</div>'


def _pictures(output: Path, job: Job, name: str) -> str:
    small, full, size = {}, {}, (0, 0)
    for what, path in (("before", job.source), ("after", job.result)):
        copy = _Copy(output, job, what, path)
        size = copy.make()
        small[what], full[what] = _link(output, copy.small), _link(output, copy.full)
    width, height = size
    shown = {
        what: f'src="{small[what]}" alt="{what}: {escape(name)}" loading="lazy" decoding="async" '
        f'width="{width}" height="{height}"'
        for what in small
    }
    widest = max(width, html_parts.NARROWEST)
    slider = html_parts.slider(
        shown["after"], shown["before"], f"min({widest}px,80vh*{width}/{height})", "before", "after"
    )
    button = (
        f'<button type="button" data-name="{escape(name)}" data-before="{full["before"]}" '
        f'data-after="{full["after"]}">zoom</button>'
    )
    links = "".join(f'<a href="{full[what]}">{what}</a>' for what in full)
    return f"{slider}<p>{button}{links}</p>"


class _Copy:
    """The copies of a picture that the page needs."""

    def __init__(self, output: Path, job: Job, what: str, path: Path) -> None:
        key = hashlib.sha256(os.fsencode(job.result.relative_to(output))).hexdigest()[:16]
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
                _save(path, picture, COPY_SIDE if path == self.small else MAX_SIDE["JPEG"])
        with Image.open(self.small) as copy:
            return copy.size


def _save(path: Path, picture: Picture, longest: int) -> None:
    pixels = images.to_float(picture.pixels)
    if picture.alpha is not None:  # over white, as on paper
        alpha = images.to_float(picture.alpha)[..., None]
        pixels = pixels * alpha + 1 - alpha
    copy = Image.fromarray(images.to_uint8(pixels))
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    options = {"icc_profile": picture.icc} if picture.mode == "rgb" and space(picture.icc) == b"RGB " else {}
    with whole_file(path) as temporary:
        copy.save(temporary, "JPEG", quality=92, subsampling=0, **options)


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
    return escape(urllib.parse.quote(os.fsencode(os.path.relpath(path.resolve(), output.resolve()))))
