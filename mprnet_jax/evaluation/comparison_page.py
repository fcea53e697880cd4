"""The page of two results compared, and its figures as JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from mprnet_jax.evaluation import results, tables, test_sets
from mprnet_jax.evaluation.comparison import METHOD, Comparison, changes, measure
from mprnet_jax.evaluation.protocols import LABELS
from mprnet_jax.evaluation.results import Result
from mprnet_jax.reports import pages, pictures, svg_plots
from mprnet_jax.reports.picks import highest_median_lowest
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.paths import real
from mprnet_jax.support.small_files import read_regular

PAGE, FIGURES = "compare.html", "compare.json"  # names in the folder of a comparison


def compare(folder_a: Path, folder_b: Path, output: Path) -> str:
    """Compare the results of two folders: writes compare.html and compare.json, returns what to print.

    Raises UserError if a folder has no result, if the two share no image or protocol, or if the output cannot be
    written or holds the comparison of two others.
    """
    compared = measure(folder_a, folder_b)
    _refuse_another_comparison(output, compared)
    content = {
        "a": str(real(folder_a)),
        "b": str(real(folder_b)),
        "protocol": compared.results[0].protocol,
        "images": len(compared.images),
        "method": METHOD,
        "notes": compared.notes,
        "b_minus_a": {
            column: {**dataclasses.asdict(difference), "verdict": difference.verdict}
            for column, difference in compared.differences.items()
        },
    }
    results.write_text(output / PAGE, render(compared))
    results.write_text(output / FIGURES, json.dumps(results.for_json(content), indent=1, allow_nan=False) + "\n")
    return "\n".join(map(one_line, [compared.title, *compared.lines, *compared.notes, str(output / PAGE)]))


def _refuse_another_comparison(output: Path, compared: Comparison) -> None:
    """Raise UserError if the output holds the comparison of two other folders."""
    try:
        before = json.loads(read_regular(output / FIGURES))
        same = [before["a"], before["b"]] == [str(real(folder)) for folder in compared.folders]
        what = f"the comparison of {before['a']} and {before['b']}"
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        same, what = False, f"a {FIGURES} that cannot be read"
    if not same:
        raise UserError(f"{output}: holds {what}; choose another --output, or remove it")


def render(compared: Comparison) -> str:
    """The page."""
    number, (a, b) = tables.number, compared.results
    first, (a_values, b_values) = next(iter(compared.values.items()))
    change = changes(a_values, b_values)
    means = [["", "", "A", "B", "B - A", "95 % interval", "p", "B higher, lower"]]
    for column, difference in compared.differences.items():
        both = [number(column, float(values.mean())) for values in compared.values[column]]
        mean, low, high = (
            number(column, value, signed=True) for value in (difference.mean, difference.low, difference.high)
        )
        decided = not np.isnan(difference.p)
        sure = [f"{low} to {high}", f"{difference.p:.2g}"] if decided else ["-", "-"]
        counts = f"{difference.better}, {difference.worse}"
        means.append([LABELS[column], difference.verdict, *both, mean, *sure, counts])
    how: dict[str, str] = {}
    for run, result in (("A", a), ("B", b)):
        how[run] = f"{result.restored_by.source}; {result.verdict}"
        how[f"{run}: SHA-256"] = result.restored_by.sha256
        how[f"{run}: options"] = tables.options_text(result.restored_by.options) or "-"
    captions, rows = {}, []
    for name, in_a, in_b, step in zip(compared.images, a_values, b_values, change, strict=True):
        captions[name] = {"A": f"A: {number(first, in_a)} dB", "B": f"B: {number(first, in_b)} dB"}
        cells = [(number(first, x), str(x)) for x in (in_a, in_b)]
        rows.append([(name, name), *cells, (number(first, step, signed=True), str(step))])
    plots = [
        svg_plots.histogram(changes(*values), f"B - A: {LABELS[column]}", signed=True)
        for column, values in compared.values.items()
    ]
    plots.append(svg_plots.scatter(a_values, b_values, compared.images, "A", f"B: {LABELS[first]}"))
    picks, no_pictures = _picks(compared, change, captions)
    return pages.render(
        "mprnet_jax.evaluation",
        "comparison.html",
        title=compared.title,
        compared=compared,
        means=means,
        method=METHOD,
        picks=picks,
        no_pictures=no_pictures,
        plots=plots,
        head=["image", *(f"{run}: {LABELS[first]}" for run in "AB"), "B - A"],
        rows=rows,
        about=how,
    )


def _picks(
    compared: Comparison, change: np.ndarray, captions: dict[str, dict[str, str]]
) -> tuple[list[dict[str, Any]], str | None]:
    """The images to look at, by B's largest gain, the median and its largest loss; and why there are none, if so."""
    name, data = compared.results[0].protocol, Path(compared.results[0].dataset.folder)
    places = [_restored_images(*run) for run in zip(compared.folders, compared.results, strict=True)]
    if None in places:
        missing = " and ".join("AB"[i] for i, place in enumerate(places) if place is None)
        return [], f"run {missing} kept none. Evaluate again with --save-restored."
    gain = "B gains most" if change.max() > 0 else "B loses least"
    loss = "B loses most" if change.min() < 0 else "B gains least"
    picks = []
    try:
        pairs = {pair.name: pair for pair in test_sets.open_set(name, data).pairs}
        read_a, read_b = (test_sets.restored_reader(name, place)[0] for place in places)
        for what, index in highest_median_lowest(change, (gain, "median difference", loss)).items():
            image = compared.images[index]
            if image not in pairs:
                raise UserError(f"{data}: has no pair called {image} any more; evaluate again")
            pair = pairs[image]
            shown = {"before": pair.read_input()} if pair.read_input else {}
            shown |= {"A": read_a(pair), "B": read_b(pair), "truth": pair.read_target()}
            if len({picture.shape for picture in shown.values()}) > 1:
                raise UserError(f"{image}: the pictures differ in size by now; evaluate again")
            picks.append({"what": what, "name": image, "views": pictures.views(shown, captions[image])})
    except UserError as error:
        return [], str(error)
    return picks, None


def _restored_images(folder: Path, result: Result) -> Path | None:
    """Where the restored images of a run lie, if they were kept."""
    if (folder / results.RESTORED).is_dir():
        return folder / results.RESTORED
    return Path(result.restored_by.source) if result.restored_by.kind == "files" else None
