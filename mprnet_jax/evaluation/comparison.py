"""Two results on the same images: the paired difference, how sure it is, and a page that shows it.

Test: Wilcoxon's signed ranks for the p-value, as differences of scores are rarely normal, and Student's t for the 95 %
interval of their mean. SciPy computes both: the extra `evaluate`.
"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from mprnet_jax.evaluation import protocols, scoring, tables
from mprnet_jax.evaluation.protocols import LABELS, PROTOCOLS
from mprnet_jax.evaluation.scoring import Result
from mprnet_jax.reports import html_parts, svg_plots
from mprnet_jax.reports.html_parts import escape
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

CONFIDENCE = 0.95
METHOD = "p: Wilcoxon signed-rank test, two-sided; interval: paired t, 95 %"


@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean of B - A over the images that both have a finite score for."""

    images: int
    mean: float
    low: float
    high: float
    p: float
    better: int  # images on which B is higher
    worse: int


def paired_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """B - A, paired by position. Interval and p are NaN for fewer than two pairs."""
    stats = import_extra("scipy.stats", "scipy", "evaluate")
    both = np.isfinite(a) & np.isfinite(b)
    difference = b[both] - a[both]
    n = difference.size
    mean = float(difference.mean()) if n else math.nan
    low = high = p = math.nan
    if n > 1:
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * difference.std(ddof=1) / math.sqrt(n))
        low, high = mean - half, mean + half
        p = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    return Difference(n, mean, low, high, p, int((difference > 0).sum()), int((difference < 0).sum()))


def say(column: str, difference: Difference) -> str:
    """One line on one score."""
    signed = lambda value: tables.number(column, value, signed=True)
    sure = difference.low > 0 or difference.high < 0
    return (
        f"{LABELS[column]}: B - A = {signed(difference.mean)} (95 % {signed(difference.low)} to "
        f"{signed(difference.high)}, p {difference.p:.2g}), B higher on {difference.better} and lower on "
        f"{difference.worse} of {difference.images} images"
        + ("" if sure else ": no difference beyond chance" if difference.images > 1 else "")
    )


def _same_images(a: Result, b: Result) -> tuple[list[str], list[str]]:
    """Names that both scored, and what a reader must know about how the two runs differ."""
    if a.protocol != b.protocol:
        raise UserError(f"A was scored as {a.protocol}, B as {b.protocol}: nothing to compare; use one protocol")
    shared = sorted({row["name"] for row in a.images} & {row["name"] for row in b.images})
    if not shared:
        raise UserError("A and B have no image in common; score both on one data set")
    notes = []
    if a.dataset["sha256"] != b.dataset["sha256"]:
        notes.append("the data sets differ (SHA-256): images of the same name may not be the same")
    left_out = len(a.images) + len(b.images) - 2 * len(shared)
    if left_out:
        notes.append(f"{len(shared)} images in common; {left_out} that only one run has are left out")
    return shared, notes


def _restored_images(folder: Path, result: Result) -> Path | None:
    """Where the restored images of a run lie, if they were kept."""
    if (folder / scoring.RESTORED).is_dir():
        return folder / scoring.RESTORED
    return Path(result.restored_by["source"]) if result.restored_by["kind"] == "files" else None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two results on the images they share."""

    folders: tuple[Path, Path]
    results: tuple[Result, Result]
    images: list[str]
    values: dict[str, tuple[np.ndarray, np.ndarray]]  # column -> A's and B's scores, in the order of images
    differences: dict[str, Difference]
    notes: list[str]

    @property
    def title(self) -> str:
        a, b = self.results
        return f"{PROTOCOLS[a.protocol].title}: {a.label} (A) and {b.label} (B)"

    @property
    def change(self) -> np.ndarray:
        """B - A of the first score; 0 where both are infinite."""
        a, b = next(iter(self.values.values()))
        return np.where(a == b, 0.0, b - np.where(a == b, 0.0, a))


def measure(folder_a: Path, folder_b: Path) -> Comparison:
    """Compare two results. Raises UserError if a folder has none, or if the two share no image or protocol."""
    a, b = scoring.load(folder_a), scoring.load(folder_b)
    columns = PROTOCOLS[a.protocol].columns
    if not columns:
        raise UserError(f"{PROTOCOLS[a.protocol].title} has no scores here: its server gives them")
    shared, notes = _same_images(a, b)
    row_a, row_b = ({row["name"]: row for row in result.images} for result in (a, b))
    values = {
        column: tuple(np.array([rows[name][column] for name in shared]) for rows in (row_a, row_b))
        for column in columns
    }
    differences = {column: paired_difference(*both) for column, both in values.items()}
    return Comparison((folder_a, folder_b), (a, b), shared, values, differences, notes)


def _picks(compared: Comparison) -> dict[str, str]:
    """The images to look at: largest gain, median and largest loss of B; one image stands once."""
    change, names = compared.change, compared.images
    order = np.argsort(change, kind="stable")
    picks = {
        "B gains most" if change[order[-1]] > 0 else "B loses least": names[order[-1]],
        "B loses most" if change[order[0]] < 0 else "B gains least": names[order[0]],
        "median difference": names[order[(len(order) - 1) // 2]],
    }
    once: dict[str, str] = {}
    for what, name in picks.items():
        if name not in once.values():
            once[what] = name
    return once


def _pictures(compared: Comparison, picks: dict[str, str], captions: dict[str, dict[str, str]]) -> str:
    """Before | A | B | truth for each picked image; a line with the remedy where images were not kept."""
    name, data = compared.results[0].protocol, Path(compared.results[0].dataset["folder"])
    places = [_restored_images(*run) for run in zip(compared.folders, compared.results, strict=True)]
    if None in places:
        missing = " and ".join("AB"[i] for i, place in enumerate(places) if place is None)
        return f'<p class="soft">No pictures: run {missing} kept none. Evaluate again with --save-restored.</p>'
    parts = []
    try:
        pairs = {pair.name: pair for pair in protocols.open_set(name, data).pairs}
        read_a, read_b = (protocols.restored_reader(name, place)[0] for place in places)
        for what, image in picks.items():
            pair = pairs[image]
            shown = {"before": pair.read_input()} if pair.read_input else {}
            shown |= {"A": read_a(pair), "B": read_b(pair), "truth": pair.read_target()}
            parts.append(f"<h3>{escape(what)}: {escape(image)}</h3>{html_parts.views(shown, captions[image])}")
    except (UserError, KeyError) as error:
        return f'<p class="soft">No pictures: {escape(str(error))}</p>'
    return "".join(parts)


def render(compared: Comparison) -> str:
    """The page."""
    number, (a, b) = tables.number, compared.results
    first, (a_values, b_values) = next(iter(compared.values.items()))
    means = [["", "A", "B", "B - A", "95 % from", "to", "p"]]
    for column, difference in compared.differences.items():
        ends = (number(column, value, signed=True) for value in (difference.mean, difference.low, difference.high))
        both = (number(column, float(values.mean())) for values in compared.values[column])
        means.append([LABELS[column], *both, *ends, f"{difference.p:.2g}"])
    how: dict[str, str] = {}
    for run, result in (("A", a), ("B", b)):
        how[run] = f"{result.restored_by['source']}; {result.verdict}"
        how[f"{run}: SHA-256"] = result.restored_by["sha256"]
        how[f"{run}: options"] = tables.options_text(result.restored_by["options"]) or "-"
    captions, rows = {}, []
    for name, in_a, in_b, change in zip(compared.images, a_values, b_values, compared.change, strict=True):
        captions[name] = {"A": f"A: {number(first, in_a)} dB", "B": f"B: {number(first, in_b)} dB"}
        cells = [(number(first, x), str(x)) for x in (in_a, in_b)]
        rows.append([(name, name), *cells, (number(first, change, signed=True), str(change))])
    plots = [
        svg_plots.histogram(values_b - values_a, f"B - A: {LABELS[column]}", signed=True)
        for column, (values_a, values_b) in compared.values.items()
        if np.isfinite(values_a).all() and np.isfinite(values_b).all()
    ]
    plots.append(svg_plots.scatter(a_values, b_values, compared.images, "A", f"B: {LABELS[first]}"))
    return html_parts.page(
        compared.title,
        f"<h1>{escape(compared.title)}</h1>"
        + "".join(f"<p>{escape(say(column, difference))}</p>" for column, difference in compared.differences.items())
        + "".join(f'<p class="notice">{escape(note)}</p>' for note in compared.notes)
        + html_parts.table(means)
        + f'<p class="soft">{METHOD}; {len(compared.images)} images</p>'
        + f"<h2>Where they differ</h2>{_pictures(compared, _picks(compared), captions)}"
        + f'<h2>Distributions</h2><div class="plots">{"".join(plots)}</div>'
        + "<h2>Every image</h2>"
        + html_parts.sortable_table(["image", *(f"{run}: {LABELS[first]}" for run in "AB"), "B - A"], rows)
        + f"<h2>The two runs</h2>{html_parts.about_table(how)}",
    )


def compare(folder_a: Path, folder_b: Path, output: Path) -> str:
    """Compare the results of two folders: writes compare.html and compare.json, returns what to print.

    Raises UserError as measure does.
    """
    compared = measure(folder_a, folder_b)
    content = {
        "a": str(folder_a),
        "b": str(folder_b),
        "protocol": compared.results[0].protocol,
        "images": len(compared.images),
        "method": METHOD,
        "notes": compared.notes,
        "b_minus_a": {column: dataclasses.asdict(difference) for column, difference in compared.differences.items()},
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "compare.html").write_text(render(compared), encoding="utf-8")
    (output / "compare.json").write_text(json.dumps(scoring.for_json(content), indent=1, allow_nan=False) + "\n")
    lines = [say(column, difference) for column, difference in compared.differences.items()]
    return "\n".join([compared.title, *lines, *compared.notes, str(output / "compare.html")])
