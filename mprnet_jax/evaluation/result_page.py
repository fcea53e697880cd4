"""The page of one result: scores, the best, median and worst images, histograms, and every image in a table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mprnet_jax.evaluation import results, tables
from mprnet_jax.evaluation.protocols import LABELS, PROTOCOLS
from mprnet_jax.evaluation.results import Result
from mprnet_jax.evaluation.test_sets import Pair
from mprnet_jax.reports import pages, pictures, svg_plots
from mprnet_jax.reports.picks import highest_median_lowest
from mprnet_jax.support.errors import UserError

REPORT = "report.html"
BEFORE, AFTER, TRUTH = "before", "after", "truth"
BEST_MEDIAN_WORST = ("best", "median", "worst")


def write(path: Path, result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> None:
    """Write the page of a result that has scores, whole or not at all. Raises UserError if it cannot be written."""
    results.write_text(path, render(result, pairs, restore))


def render(result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> str:
    """The page. `restore` gives a pair's restored image once more: it is not kept while a set is scored."""
    number, columns = tables.number, result.columns
    plots = [svg_plots.histogram(result.values(column), LABELS[column], column == "gain") for column in columns]
    if "input_psnr" in columns:
        first = PROTOCOLS[result.protocol].columns[0]
        names = [row["name"] for row in result.images]
        before, after = result.values("input_psnr"), result.values(first)
        plots.append(svg_plots.scatter(before, after, names, LABELS["input_psnr"], LABELS[first]))
    rows = [
        [(row["name"], row["name"]), *((number(c, row.get(c)), str(row.get(c, "nan"))) for c in columns)]
        for row in result.images
    ]
    return pages.render(
        "mprnet_jax.evaluation",
        "result.html",
        title=f"{PROTOCOLS[result.protocol].title}: {result.label}",
        result=result,
        means=[(number(column, result.mean(column), signed=column == "gain"), LABELS[column]) for column in columns],
        published=list(zip(*tables.summary_rows(result), strict=True)) if result.published else [],
        picks=_picks(result, pairs, restore),
        plots=plots,
        head=["image", *(LABELS[column] for column in columns)],
        rows=rows,
        about=_about(result),
    )


def _picks(result: Result, pairs: Sequence[Pair], restore: Callable[[Pair], np.ndarray]) -> list[dict[str, Any]]:
    """The images to look at: what each is, its name and scores, and its views, or why there are none."""
    by_name = {pair.name: pair for pair in pairs}
    first, second = PROTOCOLS[result.protocol].columns[:2]
    shown_first = []
    for what, index in highest_median_lowest(result.values(first), BEST_MEDIAN_WORST).items():
        row = result.images[index]
        pair = by_name[row["name"]]
        after = f"{tables.number(first, row[first])} dB, SSIM {tables.number(second, row[second])}"
        pick: dict[str, Any] = {"what": what, "name": row["name"], "scores": after}
        shown_first.append(pick)
        try:
            shown = {BEFORE: pair.read_input()} if pair.read_input else {}
            shown |= {AFTER: restore(pair), TRUTH: pair.read_target()}
        except UserError as error:  # the file went away since it was scored
            pick["fault"] = str(error)
            continue
        if len({image.shape for image in shown.values()}) > 1:
            shown.pop(BEFORE)  # scored without its input
        captions = {AFTER: f"after: {after}"}
        if "input_psnr" in row:
            captions[BEFORE] = f"before: {tables.number(first, row['input_psnr'])} dB"
        pick["views"] = pictures.views(shown, captions)
    return shown_first


def _about(result: Result) -> dict[str, str]:
    by, protocol = result.restored_by, PROTOCOLS[result.protocol]
    source = "weights" if by.kind == "weights" else "restored images"
    about = {
        "protocol": f"{result.protocol}: {', '.join(LABELS[column] for column in protocol.columns)}, mean of images",
        "data set": result.dataset.folder,
        "SHA-256 of the data set": f"{result.dataset.sha256} ({result.dataset.sha256_of})",
        source: by.source,
        f"SHA-256 of the {source}": f"{by.sha256} ({by.sha256_of})",
    }
    if by.options:
        about["options"] = tables.options_text(by.options)
    if by.share_of_compute is not None:
        about["compute"] = f"{by.share_of_compute:.1%} of the whole network"
    if by.restore_seconds_median is not None:
        about["seconds to restore an image"] = f"{by.restore_seconds_median:.3f} (median)"
    return about | {"seconds in all": f"{result.seconds:.1f}"}
