"""Score the pairs of a set, several at a time, and keep the result on disk: results.json and scores.csv.

Threads, not processes: NumPy and Pillow let go of Python's lock while they work, and nothing has to be copied or
imported again (100 pairs of 480 x 320 by the GoPro protocol on 2 busy cores: 8 to 12 s against 14 s).
"""

import collections
import csv
import dataclasses
import importlib.metadata
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.evaluation.protocols import PROTOCOLS, Pair, Protocol
from mprnet_jax.support.errors import UserError

RESULTS, SCORES, RESTORED = "results.json", "scores.csv", "restored"  # names in the folder of a run
Images = dict[str, np.ndarray]  # variant -> restored image; "" where there is only one
Row = dict[str, Any]  # name, scores, input_psnr, gain
BESIDE = ("input_psnr", "gain")  # columns beside the scores: the input's PSNR, and what restoring added to it


@dataclasses.dataclass(frozen=True)
class Run:
    """One source of restored images: a network, in one or several variants (stages, dtypes), or a folder."""

    label: str
    variants: tuple[str, ...]
    restore: Callable[[Pair], Images]
    about: dict[str, Any]  # weights or folder, their SHA-256, options
    parallel: bool = False  # reading files; a network restores one image at a time


@dataclasses.dataclass(frozen=True)
class Result:
    """What one variant of a run scored on one set."""

    protocol: str
    label: str
    found: int  # pairs named by the data set's folder, scored or refused
    images: list[Row]
    refused: list[str]
    dataset: dict[str, Any]
    restored_by: dict[str, Any]
    seconds: float

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the scores that there are, in order."""
        extra = [name for name in BESIDE if any(name in row for row in self.images)]
        return (*PROTOCOLS[self.protocol].columns, *extra)

    def values(self, column: str) -> np.ndarray:
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
        """PSNR and SSIM of the paper, or of TLC's paper if the run used it."""
        protocol = PROTOCOLS[self.protocol]
        tlc = self.restored_by.get("options", {}).get("tlc")
        return protocol.published_tlc if tlc and protocol.published_tlc else protocol.published

    @property
    def comparable(self) -> bool:
        return len(self.images) == PROTOCOLS[self.protocol].pairs

    @property
    def verdict(self) -> str:
        """The set, how much of it was scored, and whether the paper's number may stand beside it."""
        protocol, scored = PROTOCOLS[self.protocol], len(self.images)
        if protocol.pairs is None:
            return f"{protocol.title}, {scored:,} of {self.found:,} pairs"
        if protocol.score is None:
            return f"{protocol.title}, {scored:,} of {protocol.pairs:,} crops: written for the benchmark's server"
        outcome = "as many as in the paper" if self.comparable else "not comparable with the paper"
        return f"{protocol.title}, {scored:,} of {protocol.pairs:,} pairs: {outcome}"

    @property
    def notes(self) -> list[str]:
        """What a reader of the mean must know."""
        notes = [f"{len(self.refused)} refused: see the list"] if self.refused else []
        psnr = self.values(PROTOCOLS[self.protocol].columns[0]) if self.columns else np.empty(0)
        identical = np.isinf(psnr)
        if identical.any():
            rest = psnr[~identical]
            others = f"{rest.mean():.3f} dB" if rest.size else "none"
            notes.append(f"{identical.sum()} images equal their truth, PSNR inf; mean PSNR of the others: {others}")
        clean = np.isinf(self.values("input_psnr")).sum()
        if clean:
            notes.append(f"{clean} inputs equal their truth: left out of the input's PSNR and of the gain")
        if self.restored_by.get("rounded"):
            notes.append("restored images were read from 8-bit files; the paper's scores are of unrounded floats")
        return notes


def score_pair(protocol: Protocol, pair: Pair, restored: Images, with_input: bool) -> dict[str, Row]:
    """The scores of each variant of a pair. Raises UserError if something cannot be read or compared."""
    target = pair.read_target()
    degraded = pair.read_input() if with_input and pair.read_input else None
    if protocol.unrounded:
        restored = {variant: images.to_float(image) for variant, image in restored.items()}
        target, degraded = (None if image is None else images.to_float(image) for image in (target, degraded))
    for what, image in [("input", degraded), *(("restored", image) for image in restored.values())]:
        if image is not None and image.shape != target.shape:
            sizes = " and ".join(f"{x.shape[1]} x {x.shape[0]}" for x in (image, target))
            where = f"{protocol.title} {pair.name}"
            raise UserError(f"{where}: {what} and target differ in size ({sizes}); crop or restore it again")
    try:
        before = None if degraded is None else protocol.input_psnr(degraded, target)
        scores = {variant: protocol.score(image, target) for variant, image in restored.items()}
    except (ValueError, UserError) as error:  # what the metrics say of shapes and types, and alignment that fails
        raise UserError(f"{protocol.title} {pair.name}: {error}") from error
    rows = {}
    for variant, by_name in scores.items():
        row = {"name": pair.name, **by_name}
        if before is not None:
            gain = row[protocol.columns[0]] - before
            row |= {"input_psnr": before, "gain": 0.0 if math.isnan(gain) else gain}  # inf - inf: nothing changed
        rows[variant] = row
    return rows


def refuse(refused: list[str], line: str) -> None:
    """Note what is not scored and why, and say it at once, above a progress bar."""
    refused.append(line)
    tqdm.write(f"mprnet_jax.evaluate: refused: {line}", file=sys.stderr)


def score_set(
    protocol: Protocol, pairs: Sequence[Pair], run: Run, workers: int, with_input: bool = True, keep: Path | None = None
) -> tuple[dict[str, list[Row]], list[str]]:
    """Scores of every variant in the order of the pairs, and a line for each pair that has none.

    With `keep`, restored images are written as PNG to keep/VARIANT/restored. Refusals go to stderr as they happen.
    """
    rows: dict[str, list[Row]] = {variant: [] for variant in run.variants}
    refused: list[str] = []

    def finish(pair: Pair, restored: Images | None) -> dict[str, Row]:
        restored = run.restore(pair) if restored is None else restored
        if keep is not None:
            for variant, image in restored.items():
                images.write(keep / variant / RESTORED / f"{pair.name}.png", image)
        return score_pair(protocol, pair, restored, with_input)

    with tqdm(total=len(pairs), unit="image", desc=f"{protocol.title} {run.label}", dynamic_ncols=True) as bar:
        for future in _in_order(pairs, run, finish, workers):
            try:
                for variant, row in future.result().items():
                    rows[variant].append(row)
            except UserError as error:
                refuse(refused, str(error))
            bar.update()
    return rows, refused


def _in_order(
    pairs: Sequence[Pair], run: Run, finish: Callable[[Pair, Images | None], dict[str, Row]], workers: int
) -> Iterator[Future]:
    """Work on a few pairs at a time, so that memory does not grow with the set; they come back in order."""
    waiting: collections.deque[Future] = collections.deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for pair in pairs:
            if run.parallel:
                waiting.append(pool.submit(finish, pair, None))
            else:
                waiting.append(_restore_then(pool, pair, run, finish))
            if len(waiting) > 2 * workers:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _restore_then(pool: ThreadPoolExecutor, pair: Pair, run: Run, finish: Callable) -> Future:
    try:
        return pool.submit(finish, pair, run.restore(pair))
    except UserError as error:
        failed: Future = Future()
        failed.set_exception(error)
        return failed


def for_json(value: Any) -> Any:
    """What JSON can hold: infinite and undefined numbers become the strings "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: for_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def save(folder: Path, result: Result) -> None:
    """Write results.json and scores.csv; a result of the same run that is there is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
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
    (folder / RESULTS).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with open(folder / SCORES, "w", newline="") as file:
        writer = csv.DictWriter(file, ["name", *columns])
        writer.writeheader()
        writer.writerows(result.images)


def load(folder: Path) -> Result:
    """Read back what save wrote. Raises UserError if there is no result in the folder, or not a whole one."""
    path = folder / RESULTS
    if not path.is_file():
        below = sorted(str(found.parent) for found in folder.glob(f"**/{RESULTS}"))[:3] if folder.is_dir() else []
        hint = f"; did you mean {' or '.join(below)}?" if below else "; name the folder that --output made"
        raise UserError(f"{folder}: no {RESULTS} in it{hint}")
    try:
        content = json.loads(path.read_text())
        fields = {field.name: content[field.name] for field in dataclasses.fields(Result)}
        result = Result(**fields)
        for row in result.images:
            row |= {key: float(value) for key, value in row.items() if key != "name"}
        if result.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {result.protocol}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a whole result ({type(error).__name__}: {error}); evaluate again") from None
    return result
