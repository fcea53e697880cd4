"""Two results on the same images: the paired difference of each score, and whether it is more than chance.

One statistic decides and gives the interval: the mean of the differences, which is also the difference of the means
that papers print, by Student's paired t-test. Its p is below 5 % exactly where the 95 % interval leaves out 0, so the
two cannot disagree. Below MIN_IMAGES nothing is decided: there, no test that assumes nothing of the scores'
distribution (sign test, Wilcoxon's signed ranks: p is at least 2 / 2^n) can reach 5 %, and a t-test that did would owe
it to its assumption of normal differences alone.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from scipy import stats

from mprnet_jax.evaluation import results, tables
from mprnet_jax.evaluation.protocols import LABELS, PROTOCOLS
from mprnet_jax.evaluation.results import Result
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.words import counted

CONFIDENCE = 0.95
MIN_IMAGES = 6  # the least n with 2 / 2^n below 1 - CONFIDENCE
METHOD = f"paired t-test of the mean difference, two-sided, and its 95 % interval; from {MIN_IMAGES} images on"


@dataclasses.dataclass(frozen=True)
class Difference:
    """B - A of one score over the images that both runs scored."""

    images: int  # with a finite difference: those that the mean is of
    mean: float
    low: float  # of the 95 % interval of the mean; NaN where it is not decided
    high: float
    p: float  # that the mean is 0; NaN where it is not decided
    better: int  # images on which B is higher
    worse: int

    @property
    def verdict(self) -> str:
        """Which run is higher, in words, or that it cannot be told."""
        if math.isnan(self.p):
            return f"too few images to tell, it takes {MIN_IMAGES}"
        if self.p >= 1 - CONFIDENCE:
            return "no difference beyond chance"
        return f"{'B' if self.mean > 0 else 'A'} is higher"


def changes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """B - A, paired by position; 0 where both are infinite, infinite where one of them is."""
    same = a == b
    return np.where(same, 0.0, b - np.where(same, 0.0, a))


def paired_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """The mean of B - A, paired by position, with the interval and p of the paired t-test.

    Pairs of which one score is infinite have no part in the mean. Interval and p are NaN below MIN_IMAGES, unless all
    differences are 0.
    """
    change = changes(a, b)
    finite = change[np.isfinite(change)]
    n = finite.size
    mean = float(finite.mean()) if n else math.nan
    low = high = p = math.nan
    if n and not change.any():
        low, high, p = 0.0, 0.0, 1.0
    elif n >= MIN_IMAGES:
        error = float(finite.std(ddof=1)) / math.sqrt(n)
        half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
        low, high = mean - half, mean + half
        p = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Difference(n, mean, low, high, p, int((change > 0).sum()), int((change < 0).sum()))


def say(column: str, difference: Difference, images: int) -> str:
    """One line on one score of so many images."""
    signed = lambda value: tables.number(column, value, signed=True)
    sure = f" (95 % {signed(difference.low)} to {signed(difference.high)}, p {difference.p:.2g})"
    return (
        f"{LABELS[column]}: {difference.verdict}; B - A = {signed(difference.mean)}"
        f"{'' if math.isnan(difference.p) else sure}, B higher on {difference.better} and lower on {difference.worse} "
        f"of {images} images"
    )


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
        """The set and the two runs."""
        a, b = self.results
        return f"{PROTOCOLS[a.protocol].title}: {a.label} (A) and {b.label} (B)"

    @property
    def lines(self) -> list[str]:
        """What is found of each score."""
        return [say(column, difference, len(self.images)) for column, difference in self.differences.items()]


def measure(folder_a: Path, folder_b: Path) -> Comparison:
    """Compare two results. Raises UserError if a folder has none, or if the two share no image or protocol."""
    a, b = results.load(folder_a), results.load(folder_b)
    columns = PROTOCOLS[a.protocol].columns
    shared, notes = _same_images(a, b)
    if not columns:
        raise UserError(f"{PROTOCOLS[a.protocol].title} has no scores here: its server gives them")
    row_a, row_b = ({row["name"]: row for row in result.images} for result in (a, b))
    values = {
        column: tuple(np.array([rows[name][column] for name in shared]) for rows in (row_a, row_b))
        for column in columns
    }
    differences = {column: paired_difference(*both) for column, both in values.items()}
    infinite = len(shared) - differences[columns[0]].images
    if infinite:
        notes.append(f"{counted(infinite, *results.EQUAL)} in one run alone (PSNR inf): not in the mean difference")
    return Comparison((folder_a, folder_b), (a, b), shared, values, differences, notes)


def _same_images(a: Result, b: Result) -> tuple[list[str], list[str]]:
    """Names that both scored, and what a reader must know about how the two runs differ."""
    if a.protocol != b.protocol:
        raise UserError(f"A was scored as {a.protocol}, B as {b.protocol}: nothing to compare; use one protocol")
    shared = sorted({row["name"] for row in a.images} & {row["name"] for row in b.images})
    if not shared:
        raise UserError("A and B have no image in common; score both on one data set")
    notes = []
    contents = {a.dataset.contents_sha256, b.dataset.contents_sha256}  # one for a data set in two layouts
    if a.dataset.sha256 != b.dataset.sha256 and (len(contents) > 1 or "" in contents):
        notes.append("the data sets differ (SHA-256): images of the same name may not be the same")
    left_out = len(a.images) + len(b.images) - 2 * len(shared)
    if left_out:
        notes.append(f"{counted(len(shared), 'image')} in common; {left_out} that only one run has are left out")
    return shared, notes
