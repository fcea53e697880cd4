"""The report of one result: one HTML file with scores, the best, median and worst images, and histograms."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax.evaluation import tables
from mprnet_jax.evaluation.protocols import LABELS, PROTOCOLS, Pair
from mprnet_jax.evaluation.scoring import Result, Row
from mprnet_jax.reports import html_parts, svg_plots
from mprnet_jax.reports.html_parts import escape
from mprnet_jax.support.errors import UserError

BEFORE, AFTER, TRUTH = "before", "after", "truth"


def chosen(rows: Sequence[Row], column: str) -> dict[str, Row]:
    """The rows to look at by what they are: best, median, worst; one row stands once."""
    ordered = sorted(rows, key=lambda row: row[column])
    picks = {"best": ordered[-1], "median": ordered[(len(ordered) - 1) // 2], "worst": ordered[0]}
    once: dict[str, Row] = {}
    for what, row in picks.items():
        if all(row is not other for other in once.values()):
            once[what] = row
    return once


def _pictures(result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> str:
    by_name = {pair.name: pair for pair in pairs}
    first, second = PROTOCOLS[result.protocol].columns[:2]
    parts = []
    for what, row in chosen(result.images, first).items():
        pair = by_name[row["name"]]
        after = f"{tables.number(first, row[first])} dB, SSIM {tables.number(second, row[second])}"
        try:
            shown = {BEFORE: pair.read_input()} if pair.read_input else {}
            shown |= {AFTER: restore(pair), TRUTH: pair.read_target()}
        except UserError as error:  # the file went away since it was scored
            parts.append(f'<p class="notice">{escape(str(error))}</p>')
            continue
        if len({image.shape for image in shown.values()}) > 1:
            shown.pop(BEFORE)  # scored without its input
        captions = {AFTER: f"after: {after}"}
        if "input_psnr" in row:
            captions[BEFORE] = f"before: {tables.number(first, row['input_psnr'])} dB"
        parts.append(f"<h3>{what}: {escape(row['name'])}, {after}</h3>{html_parts.views(shown, captions)}")
    return "".join(parts)


def _about(result: Result) -> dict[str, object]:
    by, protocol = result.restored_by, PROTOCOLS[result.protocol]
    source = "weights" if by["kind"] == "weights" else "restored images"
    about = {
        "protocol": f"{result.protocol}: {', '.join(LABELS[column] for column in protocol.columns)}, mean of images",
        "data set": result.dataset["folder"],
        "SHA-256 of the data set": f"{result.dataset['sha256']} ({result.dataset['sha256_of']})",
        source: by["source"],
        f"SHA-256 of the {source}": f"{by['sha256']} ({by['sha256_of']})",
    }
    if by["options"]:
        about["options"] = tables.options_text(by["options"])
    if "share_of_compute" in by:
        about["compute"] = f"{by['share_of_compute']:.1%} of the whole network"
    if "restore_seconds_median" in by:
        about["seconds to restore an image"] = f"{by['restore_seconds_median']:.3f} (median)"
    return about | {"seconds in all": f"{result.seconds:.1f}"}


def render(result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> str:
    """The page. `restore` gives a pair's restored image once more: it is not kept while a set is scored."""
    title = f"{PROTOCOLS[result.protocol].title}: {result.label}"
    verdict_style = "soft" if result.comparable or not result.published else "notice"
    tiles = "".join(
        f'<div class="tile"><b>{tables.number(column, result.mean(column), signed=column == "gain")}</b>'
        f"<span>{escape(LABELS[column])}</span></div>"
        for column in result.columns
    )
    plots = [svg_plots.histogram(result.values(column), LABELS[column], column == "gain") for column in result.columns]
    if "input_psnr" in result.columns:
        first = PROTOCOLS[result.protocol].columns[0]
        names = [row["name"] for row in result.images]
        before, after = result.values("input_psnr"), result.values(first)
        plots.append(svg_plots.scatter(before, after, names, LABELS["input_psnr"], LABELS[first]))
    rows = [
        [(row["name"], row["name"]), *((tables.number(c, row.get(c)), str(row.get(c, "nan"))) for c in result.columns)]
        for row in result.images
    ]
    refused = "".join(f'<p class="notice">{escape(line)}</p>' for line in result.refused)
    return html_parts.page(
        title,
        f"<h1>{escape(title)}</h1>"
        + f'<p class="{verdict_style}">{escape(result.verdict)}</p>'
        + "".join(f'<p class="notice">{escape(note)}</p>' for note in result.notes)
        + f'<div class="tiles">{tiles}</div>'
        + (html_parts.table(list(zip(*tables.summary_rows(result), strict=True))) if result.published else "")
        + f"<h2>Best, median and worst</h2>{_pictures(result, pairs, restore)}"
        + f'<h2>Distributions</h2><div class="plots">{"".join(plots)}</div>'
        + "<h2>Every image</h2>"
        + html_parts.sortable_table(["image", *(LABELS[column] for column in result.columns)], rows)
        + (f"<h2>Refused</h2>{refused}" if refused else "")
        + f"<h2>How it was measured</h2>{html_parts.about_table(_about(result))}",
    )


def write(path: Path, result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> None:
    """Write the report of a result that has scores."""
    path.write_text(render(result, pairs, restore), encoding="utf-8")
