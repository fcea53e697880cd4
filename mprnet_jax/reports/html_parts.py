"""Parts of a report in HTML that stand alone: pictures as data, sliders, error maps, tables.

A page made of these loads nothing from outside: no script, font or picture. It works without scripts too, less the
slider and the sorting.
"""

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mprnet_jax import images

LONGEST_SIDE = 1600  # pixels; larger pictures are reduced by a whole factor
NARROWEST = 800  # pixels that a slider is shown at, if the page is wide enough: smaller pictures are enlarged
LARGEST_PNG = 200_000  # pixels; larger pictures are embedded as JPEG, or a page would take tens of MB
# Black-purple-orange-yellow, nine anchors of matplotlib's "inferno": as light as the error is large.
_INFERNO = "0,0,4 31,12,72 85,15,109 136,34,106 186,54,85 227,89,51 249,140,10 249,201,50 252,255,164"
ERROR_COLOURS = np.array([colour.split(",") for colour in _INFERNO.split()], int)

STYLE = """
:root{color-scheme:light dark;--text:#1c2127;--soft:#5c6773;--line:#d5dae0;--back:#fff;--card:#f5f7f9;--mark:#2467a8;
--other:#b8560f;--warn:#9a3412;--warnback:#fff3e6}
@media(prefers-color-scheme:dark){:root{--text:#e6e9ec;--soft:#9aa5b1;--line:#3a424b;--back:#15191d;--card:#1e242a;
--mark:#6cb0f0;--other:#f0a060;--warn:#fdba74;--warnback:#3a2410}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:1.5rem 1rem 4rem;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem}h3{font-size:1rem;margin:1.75rem 0 .5rem;overflow-wrap:anywhere}
p{margin:.4rem 0}.soft{color:var(--soft)}
.notice{background:var(--warnback);color:var(--warn);padding:.6rem .9rem;border-radius:6px;margin:.75rem 0;
overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin:1.25rem 0}
.tile{background:var(--card);border-radius:8px;padding:.7rem .9rem}.tile b{display:block;font-size:1.6rem;
line-height:1.2;font-weight:600;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto;max-width:100%}.tall{max-height:28rem;overflow-y:auto;border:1px solid var(--line);
border-radius:6px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;min-width:100%}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
.about td{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:9rem}
.tall thead th{position:sticky;top:0;background:var(--back)}.sort{cursor:pointer}
.tall th button{all:unset;cursor:pointer}.tall th button:focus-visible{outline:2px solid var(--mark)}
.slider{display:none;position:relative;border-radius:6px;overflow:hidden;background:#000;max-width:100%;
touch-action:pan-y;--x:50%}.js .slider{display:block}
.slider img{display:block;width:100%;height:auto;image-rendering:auto;user-select:none}
.slider img.over{position:absolute;inset:0;clip-path:inset(0 calc(100% - var(--x)) 0 0)}
.slider i{position:absolute;top:0;bottom:0;left:var(--x);width:2px;margin-left:-1px;background:#fff;
box-shadow:0 0 3px #000}
.slider input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize}
.slider:focus-within{outline:3px solid var(--mark)}
.slider span{position:absolute;top:.5rem;padding:.05rem .5rem;border-radius:4px;background:#000a;color:#fff;
font-size:.8rem;pointer-events:none}.slider .l{left:.5rem}.slider .r{right:.5rem}
.pick{display:none;flex-wrap:wrap;gap:.4rem;margin:.5rem 0}.js .pick{display:flex}
.pick button{font:inherit;font-size:.85rem;padding:.2rem .7rem;border-radius:99px;border:1px solid var(--line);
background:var(--back);color:var(--text);cursor:pointer}.pick button[aria-pressed=true]{background:var(--mark);
border-color:var(--mark);color:var(--back)}
.strip{display:grid;grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:.5rem;margin:.5rem 0}
figure{margin:0}figure img{width:100%;display:block;border-radius:4px}figcaption{font-size:.8rem;color:var(--soft);
overflow-wrap:anywhere}
.bar{height:.6rem;border-radius:3px;max-width:16rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:1.25rem}
.plot p{font-size:.85rem;color:var(--soft)}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}
svg .axis{stroke:var(--line)}svg .bar1{fill:var(--mark)}svg .bar2{fill:var(--other)}
svg .line{stroke:var(--text);stroke-dasharray:3 3}svg circle{fill:var(--mark);fill-opacity:.65}
@media(max-width:520px){body{padding:1rem .75rem 3rem}h1{font-size:1.3rem}
.tiles{grid-template-columns:1fr 1fr}.tile b{font-size:1.3rem}}
"""

SCRIPT = """
document.documentElement.classList.add('js');
for (const slider of document.querySelectorAll('.slider'))
  slider.querySelector('input').oninput = e => slider.style.setProperty('--x', e.target.value + '%');
for (const box of document.querySelectorAll('.views')) {
  const shown = box.querySelector('.slider'), [under, over] = shown.querySelectorAll('img');
  const sources = Object.fromEntries([...box.querySelectorAll('.strip img')].map(i => [i.alt, i.src]));
  const show = button => {
    const [left, right] = button.dataset.pair.split('|');
    over.src = sources[left]; under.src = sources[right];
    over.alt = left; under.alt = right;
    shown.querySelector('.l').textContent = left; shown.querySelector('.r').textContent = right;
    for (const other of box.querySelectorAll('.pick button')) other.setAttribute('aria-pressed', other === button);
  };
  for (const button of box.querySelectorAll('.pick button')) button.onclick = () => show(button);
  show(box.querySelector('.pick button'));
}
for (const button of document.querySelectorAll('th button')) button.onclick = () => {
  const head = button.parentElement, body = head.closest('table').tBodies[0], column = head.cellIndex;
  const down = head.getAttribute('aria-sort') !== 'descending';
  const value = row => { const cell = row.cells[column].dataset.value; return column ? Number(cell) : cell; };
  const order = (a, b) => { const x = value(a), y = value(b); return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); };
  for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  body.append(...[...body.rows].sort(order));
};
"""

escape = html.escape


def page(title: str, body: str, style: str = "", script: str = "") -> str:
    """A whole page, with style and script inside; those given come behind the common ones."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}{style}</style></head>\n<body>\n{body}\n<script>{SCRIPT}{script}</script></body></html>\n"
    )


def data_uri(image: np.ndarray, lossless: bool = True) -> str:
    """A uint8 image as the source of an <img>: PNG if it is small and so wanted, else JPEG of quality 95, 4:4:4."""
    picture = Image.fromarray(image)
    picture = picture.reduce(max(1, math.ceil(max(picture.size) / LONGEST_SIDE)))
    buffer = io.BytesIO()
    if lossless and picture.width * picture.height <= LARGEST_PNG:
        kind = "png"
        picture.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def error_map(image: np.ndarray, target: np.ndarray, full: float) -> np.ndarray:
    """Mean absolute difference over the channels as a colour, black for 0 to yellow for `full` (of 1) and more."""
    level = np.abs(images.to_float(image) - images.to_float(target)).mean(axis=-1) / full
    position = np.clip(level, 0, 1) * (len(ERROR_COLOURS) - 1)
    anchors = np.arange(len(ERROR_COLOURS))
    channels = [np.interp(position, anchors, ERROR_COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def error_scale(shown: Sequence[np.ndarray], target: np.ndarray) -> float:
    """Where error maps of these images become yellow: their largest 99th percentile, at least 4 grey levels."""
    errors = [np.abs(images.to_float(image) - images.to_float(target)).mean(axis=-1) for image in shown]
    return max(4 / 255, *(float(np.percentile(error, 99)) for error in errors))


def _figure(name: str, source: str, caption: str) -> str:
    return f'<figure><img alt="{escape(name)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>'


def slider(under: str, over: str, width: str, left: str = "", right: str = "") -> str:
    """Two pictures on top of each other, `left` of the line and `right` of it.

    `under` and `over` are the attributes of their <img>, the one over the other on the left; `width` is the largest, in
    CSS.
    """
    return (
        f'<div class="slider" style="max-width:{width}"><img {under}><img class="over" {over}><i></i>'
        f'<span class="l">{escape(left)}</span><span class="r">{escape(right)}</span>'
        '<input type="range" min="0" max="100" step="0.5" value="50" '
        'aria-label="where the left image ends and the right one begins"></div>'
    )


def views(shown: dict[str, np.ndarray], captions: dict[str, str]) -> str:
    """Slider over images by name, the last of them the truth, then all of them small, and error maps of the others."""
    as_bytes = {name: image if image.dtype == np.uint8 else images.to_uint8(image) for name, image in shown.items()}
    *restored, truth = list(shown)
    full = error_scale([shown[name] for name in restored], shown[truth])
    pairs = [(left, right) for i, left in enumerate(shown) for right in list(shown)[i + 1 :]]
    first = (restored[-2], restored[-1]) if len(restored) > 1 else pairs[0]
    pairs.sort(key=lambda pair: pair != first)
    buttons = "".join(
        f'<button type="button" data-pair="{escape(left)}|{escape(right)}">{escape(left)} | {escape(right)}</button>'
        for left, right in pairs
    )
    small = "".join(_figure(name, data_uri(image), captions.get(name, name)) for name, image in as_bytes.items())
    maps = "".join(
        _figure(what := f"error of {name}", data_uri(error_map(shown[name], shown[truth], full), lossless=False), what)
        for name in restored
    )
    widest = max(shown[truth].shape[1], NARROWEST)
    large = slider('alt=""', 'alt=""', f"{widest}px")
    gradient = ",".join(f"rgb({r},{g},{b})" for r, g, b in ERROR_COLOURS)
    return (
        f'<div class="views" style="--n:{len(shown)}">{large}'
        f'<div class="pick">{buttons}</div><div class="strip">{small}</div><div class="strip">{maps}</div>'
        f'<div class="bar" style="background:linear-gradient(90deg,{gradient})"></div>'
        f'<p class="soft">error maps: 0 to {255 * full:.0f} grey levels or more, mean of the channels</p></div>'
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Plain cells; the first row is the head."""
    head, *rest = rows
    return (
        '<div class="scroll"><table><thead><tr>'
        + "".join(f"<th>{escape(cell)}</th>" for cell in head)
        + "</tr></thead><tbody>"
        + "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rest)
        + "</tbody></table></div>"
    )


def sortable_table(head: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Cells of (text, value to sort by) under a head of buttons, in a box that scrolls."""
    heads = "".join(f'<th><button type="button">{escape(cell)}</button></th>' for cell in head)
    lines = "".join(
        "<tr>" + "".join(f'<td data-value="{escape(value)}">{escape(text)}</td>' for text, value in row) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll tall"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def about_table(about: dict[str, object]) -> str:
    """Two columns of plain text."""
    lines = "".join(f"<tr><td>{escape(key)}</td><td>{escape(str(value))}</td></tr>" for key, value in about.items())
    return f'<div class="scroll"><table class="about"><tbody>{lines}</tbody></table></div>'
