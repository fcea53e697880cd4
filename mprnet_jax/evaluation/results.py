"""What a candidate scored on a set, and its files: results.json and scores.csv."""

import csv
import dataclasses
import importlib.metadata
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mprnet_jax.evaluation.protocols import PROTOCOLS
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.small_files import read_regular
from mprnet_jax.support.words import counted

RESULTS, SCORES, RESTORED = "results.json", "scores.csv", "restored"  # names in the folder of a result
Row = dict[str, Any]  # name, scores, input_psnr, gain
BESIDE = ("input_psnr", "gain")  # columns beside the scores: the input's PSNR, and what restoring added to it
# A spreadsheet takes a cell that begins so for a formula; the wide ones are the same signs of East Asian keyboards.
FORMULA_STARTS = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
EQUAL = "image equals its truth", "images equal their truth"
FORMULA_STARTS += ("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What was scored on."""

    folder: str
    sha256: str
    sha256_of: str  # what the hash is of, in words
    contents_sha256: str = ""  # of the pictures' own hashes in order, whatever they are called; empty in old results


@dataclasses.dataclass(frozen=True)
class RestoredBy:
    """Where restored images come from: a network, or files of another program."""

    kind: Literal["weights", "files"]
    source: str  # task, bundle or folder
    sha256: str  # of the parameters, or of the files
    sha256_of: str  # what the hash is of, in words
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the restorer
    config: dict[str, Any] | None = None  # sizes of the network
    provenance: dict[str, Any] | None = None  # of the weights
    rounded: bool = False  # read from 8-bit files, where the paper scores floats
    operations: float | None = None  # floating-point operations of a 256 x 256 image, up to the exit that was scored
    share_of_compute: float | None = None  # of the whole network's operations, 0..1
    restore_seconds_median: float | None = None  # an image, without the first


@dataclasses.dataclass(frozen=True)
class Result:
    """What one variant of a candidate scored on one set."""

    protocol: str
    label: str
    found: int  # pairs that the data set's folder names, whether they could be scored or not
    images: list[Row]
    refused: list[str]
    dataset: Dataset
    restored_by: RestoredBy
    seconds: float

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the scores that there are, in order."""
        extra = [name for name in BESIDE if any(name in row for row in self.images)]
        return (*PROTOCOLS[self.protocol].columns, *extra)

    def values(self, column: str) -> np.ndarray:
        """A column's scores in the order of the images; NaN where an image has none."""
        return np.array([row.get(column, math.nan) for row in self.images])

    def mean(self, column: str) -> float:
        """Mean of the per-image scores; infinite if one image equals its truth, NaN if there are none.

        Inputs that equal their truth are left out of the input's PSNR and of the gain.
        """
        values = self.values(column)
        if column in BESIDE:
            values = values[np.isfinite(values)]
        return float(values.mean()) if values.size else math.nan

    @property
    def published(self) -> tuple[float, float] | None:
        """PSNR and SSIM of the paper, or of TLC's paper if the candidate used it."""
        protocol = PROTOCOLS[self.protocol]
        tlc = self.restored_by.options.get("tlc")
        return protocol.published_tlc if tlc and protocol.published_tlc else protocol.published

    @property
    def comparable(self) -> bool:
        """Whether as many pairs were scored as in the paper."""
        return len(self.images) == PROTOCOLS[self.protocol].pairs

    @property
    def scored(self) -> str:
        """How many pairs were scored, of how many: "50 of 1,111"."""
        expected = PROTOCOLS[self.protocol].pairs
        return f"{len(self.images):,} of {self.found if expected is None else expected:,}"

    @property
    def verdict(self) -> str:
        """The set, how much of it was scored, and whether the paper's number may stand beside it."""
        protocol = PROTOCOLS[self.protocol]
        if protocol.pairs is None:
            return f"{protocol.title}, {self.scored} pairs"
        if protocol.score is None:
            return f"{protocol.title}, {self.scored} crops: written for the benchmark's server"
        outcome = "as many as in the paper" if self.comparable else "not comparable with the paper"
        return f"{protocol.title}, {self.scored} pairs: {outcome}"

    @property
    def notes(self) -> list[str]:
        """What a reader of the mean must know."""
        notes = [f"{len(self.refused)} refused: see the list"] if self.refused else []
        psnr = self.values(PROTOCOLS[self.protocol].columns[0]) if self.columns else np.empty(0)
        identical = np.isinf(psnr)
        if identical.any():
            rest = psnr[~identical]
            others = f"{rest.mean():.3f} dB" if rest.size else "none"
            notes.append(f"{counted(int(identical.sum()), *EQUAL)}, PSNR inf; mean PSNR of the others: {others}")
        clean = np.isinf(self.values("input_psnr")).sum()
        if clean:
            notes.append(f"{clean} inputs equal their truth: left out of the input's PSNR and of the gain")
        if self.restored_by.rounded:
            notes.append("restored images were read from 8-bit files; the paper's scores are of unrounded floats")
        return notes


def for_json(value: Any) -> Any:
    """What JSON can hold: infinite and undefined numbers become the strings "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: for_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """A file, whole or not at all. Raises UserError if it cannot be written."""
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); make room there, or choose another --output"
        ) from error


def spreadsheet_text(text: str) -> str:
    """Text for a cell of a CSV file that no spreadsheet takes for a formula: with an apostrophe in front, if need be.

    >>> spreadsheet_text("=1+1"), spreadsheet_text("0001")
    ("'=1+1", '0001')
    """
    text = one_line(text)  # tabs and line ends may begin a formula, too
    return f"'{text}" if text.lstrip().startswith(FORMULA_STARTS) else text


def save(folder: Path, result: Result) -> None:
    """Write results.json and scores.csv, each whole or not at all; those of an earlier run are replaced.

    Raises UserError if they cannot be written.
    """
    columns = result.columns
    published = dict(zip(columns, result.published, strict=False)) if result.published else {}
    summary = {
        "verdict": result.verdict,
        "notes": result.notes,
        "pairs_expected": PROTOCOLS[result.protocol].pairs,
        "pairs_scored": len(result.images),
        "comparable": result.comparable,
        "mean": {name: result.mean(name) for name in columns},
        "published": published,
        "difference": {name: result.mean(name) - value for name, value in published.items()},
        "versions": {name: importlib.metadata.version(name) for name in ("mprnet_jax", "jax", "numpy")},
    }
    content = for_json({**summary, **dataclasses.asdict(result)})
    table = io.StringIO()
    # Texts are quoted, so that a name stays one cell where a semicolon separates them.
    writer = csv.DictWriter(table, ["name", *columns], quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({**row, "name": spreadsheet_text(row["name"])} for row in result.images)
    write_text(folder / SCORES, table.getvalue())
    write_text(folder / RESULTS, json.dumps(content, indent=1, allow_nan=False) + "\n")


def load(folder: Path) -> Result:
    """Read back what save wrote. Raises UserError if there is no result in the folder, or not a whole one."""
    path = folder / RESULTS
    if not path.is_file():
        below = sorted(str(found.parent) for found in folder.glob(f"**/{RESULTS}") if found.is_file())[:3]
        hint = f"; did you mean {' or '.join(below)}?" if below else "; name the folder that --output made"
        raise UserError(f"{folder}: no {RESULTS} in it{hint}")
    try:
        return _parse(json.loads(read_regular(path)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{path}: not a whole result ({reason}); evaluate again") from None


def _parse(content: dict[str, Any]) -> Result:
    """What json.loads gave as a Result.

    If it is none, raises ValueError, KeyError, TypeError, AttributeError, or OverflowError (integers beyond any float).
    """
    protocol = content["protocol"]
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol}")
    rows = []
    for row in content["images"]:
        scores = {key: float(value) for key, value in row.items() if key != "name"}
        if not isinstance(row["name"], str) or not set(PROTOCOLS[protocol].columns) <= scores.keys():
            raise ValueError("an image without its name or one of its scores")
        rows.append({"name": row["name"], **scores})
    if len({row["name"] for row in rows}) < len(rows):
        raise ValueError("two images of one name")
    made = {
        "images": rows,
        "dataset": Dataset(**content["dataset"]),
        "restored_by": _restored_by(content["restored_by"]),
    }
    result = Result(**{field.name: made.get(field.name, content[field.name]) for field in dataclasses.fields(Result)})
    texts = (result.label, *result.refused, *dataclasses.astuple(result.dataset))
    if not all(isinstance(text, str) for text in texts) or not isinstance(result.found, int):
        raise TypeError("a field of another kind")
    return dataclasses.replace(result, seconds=float(result.seconds))


def _restored_by(content: dict[str, Any]) -> RestoredBy:
    found = RestoredBy(**content)
    texts = (found.kind, found.source, found.sha256, found.sha256_of)
    numbers = (found.operations, found.share_of_compute, found.restore_seconds_median)
    if not all(isinstance(text, str) for text in texts) or not isinstance(found.options, dict):
        raise TypeError("restored_by holds a field of another kind")
    for number in numbers:
        if not (number is None or isinstance(number, int | float)):
            raise TypeError("restored_by holds a number of another kind")
        float(number or 0)  # raises OverflowError
    return found
