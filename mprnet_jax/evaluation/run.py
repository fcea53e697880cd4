"""From a request to results on disk: every set that was asked for, and every candidate on it."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.evaluation import candidates, dnd, protocols, result_page, results, scoring, tables, test_sets
from mprnet_jax.evaluation.candidates import Candidate
from mprnet_jax.evaluation.protocols import PROTOCOLS
from mprnet_jax.evaluation.results import Dataset, Result
from mprnet_jax.evaluation.test_sets import Pair, TestSet
from mprnet_jax.restoring import RestoreOptions
from mprnet_jax.runtime.devices import cores
from mprnet_jax.support.atomic_files import remove_leftovers
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.paths import real
from mprnet_jax.support.small_files import read_regular
from mprnet_jax.support.words import counted

REQUEST = "request.json"  # in the output's folder: what its results are of
TABLE = "table.txt"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score, and how: the options of the command, under the same names."""

    protocol: str  # or "all"
    data: Path
    output: Path
    checkpoint: Sequence[str] = ()
    task: Sequence[str] = ()
    restored: Sequence[Path] = ()
    stages: bool = False
    dtypes: bool = False
    options: RestoreOptions = dataclasses.field(default_factory=RestoreOptions)
    limit: int | None = None
    workers: int = cores()
    save_restored: bool = False
    skip_input: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1 or (self.limit is not None and self.limit < 1):
            raise UserError(f"workers and limit must be at least 1, got {self.workers} and {self.limit}")

    @property
    def sources(self) -> list[tuple[str, str | Path]]:
        """What is to be scored, each under a label of its own: weights by task or path, folders as Path."""
        labelled: dict[str, str | Path] = {}
        for source in [*self.task, *self.checkpoint, *map(Path, self.restored)]:
            name = source if source in self.task else real(source).name or "root"
            numbered = itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2)))
            labelled[next(label for label in numbered if label not in labelled)] = source
        return list(labelled.items())

    @property
    def identity(self) -> dict[str, Any]:
        """What two requests must have in common for one to replace the results of the other."""
        sources = {
            label: source if isinstance(source, str) and source in self.task else str(real(source))
            for label, source in self.sources
        }
        return {
            "protocol": self.protocol,
            "data": str(real(self.data)),
            "candidates": sources,
            "stages": self.stages,
            "dtypes": self.dtypes,
            "options": self.options.of_result(),
            "limit": self.limit,
            "skip_input": self.skip_input,
        }


def refuse_others_results(request: Request, names: Sequence[str]) -> None:
    """Raise UserError if the output's folder holds results that are not of this very request."""
    record = request.output / REQUEST
    if os.path.lexists(record):
        try:
            recorded = json.loads(read_regular(record))
            differing = [key for key, value in request.identity.items() if recorded.get(key) != value]
        except (OSError, ValueError, AttributeError, RecursionError):
            raise UserError(f"{record}: cannot be read; choose another --output, or remove that folder") from None
        if differing:
            raise UserError(
                f"{request.output}: holds the results of another evaluation (it differs in {', '.join(differing)}); "
                "choose another --output, or remove that folder"
            )
        return
    files = [REQUEST, results.RESULTS, results.SCORES, result_page.REPORT, TABLE]
    files += [results.RESTORED] * request.save_restored + ["dnd"] * ("dnd" in names)
    for folder in [request.output, *(folder for name in names for folder in _result_folders(request, name))]:
        for file in files:
            if (folder / file).exists():
                raise UserError(
                    f"{folder / file}: exists, and is not of this evaluation; choose another --output, or remove it"
                )


def _result_folders(request: Request, name: str) -> Iterator[Path]:
    """Every folder that results on one set may go to."""
    for label, source in request.sources:
        folder = _candidate_folder(request, name, label)
        variants = [""] if isinstance(source, Path) else candidates.variants(request.stages, request.dtypes)
        yield from {folder, *(folder / variant for variant in variants)}


def _candidate_folder(request: Request, name: str, label: str) -> Path:
    folder = request.output / name if request.protocol == "all" else request.output
    return folder / label if len(request.sources) > 1 else folder


def _refuse_other_weights(folder: Path, candidate: Candidate) -> None:
    """The same request may name other weights by now, as training goes on: their results are not replaced."""
    for variant in candidate.variants:
        if (folder / variant / results.RESULTS).is_file():
            try:
                before = results.load(folder / variant).restored_by
            except UserError:  # not a whole result: nothing is lost with it
                continue
            if before.kind == "weights" and before.sha256 != candidate.about(variant).sha256:
                raise UserError(
                    f"{folder / variant}: holds the results of other weights (SHA-256 {before.sha256[:12]}...); "
                    "choose another --output, or remove it"
                )


def open_candidates(request: Request, name: str, test_set: TestSet, refused: list[str]) -> list[Candidate]:
    """What is to be scored on one set; what cannot be opened becomes a line of `refused`."""
    unrounded, opened = PROTOCOLS[name].unrounded, []
    for label, source in request.sources:
        try:
            if isinstance(source, Path):
                folder = test_sets.restored_folder(name, source) if request.protocol == "all" else source
                opened.append(candidates.folder_candidate(label, name, folder, test_set, unrounded))
                continue
            if source == "auto" and PROTOCOLS[name].task is None:
                raise UserError("--task auto: a custom set has no task of its own; name one")
            weights = PROTOCOLS[name].task if source == "auto" else source
            restorers = candidates.open_restorers(weights, request.stages, request.dtypes, request.options)
            opened.append(candidates.network_candidate(label, restorers, unrounded, weights))
        except UserError as error:
            scoring.refuse(refused, str(error))
    return opened


def write_submission(pairs: list[Pair], candidate: Candidate, folder: Path) -> tuple[list[str], list[str]]:
    """DND: restore all crops and write the server's files to folder/VARIANT/dnd; names of crops done, and refusals."""
    done, refused = [], []
    groups = itertools.groupby(pairs, key=lambda pair: pair.name.split("_")[0])
    with tqdm(total=len(pairs), unit="crop", desc=one_line(f"DND {candidate.label}"), dynamic_ncols=True) as bar:
        for number, group in groups:
            crops: dict[str, list] = {variant: [] for variant in candidate.variants}
            names = []
            try:
                for pair in group:
                    for variant, image in candidate.restore(pair).items():
                        crops[variant].append(images.to_float(image))
                    names.append(pair.name)
                    bar.update()
                for variant, restored in crops.items():
                    dnd.write_submission(folder / variant / "dnd", int(number), restored)
                done += names
            except UserError as error:
                scoring.refuse(refused, f"DND {number}: {error}")
    return done, refused


def evaluate_candidate(
    request: Request, name: str, test_set: TestSet, dataset: Dataset, candidate: Candidate
) -> Iterator[Result]:
    """Score a candidate on one set; each of its variants gets a folder, unless there is only one.

    Raises UserError if the results cannot be written, or would replace those of other weights.
    """
    protocol = PROTOCOLS[name]
    pairs = evenly(test_set.pairs, request.limit)
    folder = _candidate_folder(request, name, candidate.label)
    _refuse_other_weights(folder, candidate)
    results.write_text(request.output / REQUEST, json.dumps(request.identity, indent=1) + "\n")
    start = time.perf_counter()
    if protocol.score is None:
        done, refused = write_submission(pairs, candidate, folder)
        rows = {variant: [{"name": crop} for crop in done] for variant in candidate.variants}
    else:
        keep = folder if request.save_restored else None
        rows, refused = scoring.score_set(protocol, pairs, candidate, request.workers, not request.skip_input, keep)
    again = functools.cache(candidate.restore)  # a few images for the pages: variants may show the same ones
    for variant in candidate.variants:
        result = Result(
            protocol=name,
            label=f"{candidate.label} {variant}".strip(),
            found=test_set.found,
            images=rows[variant],
            refused=[*map(one_line, test_set.refused), *refused],
            dataset=dataset,
            restored_by=candidate.about(variant),
            seconds=time.perf_counter() - start,
        )
        remove_leftovers(folder / variant)
        results.save(folder / variant, result)
        if result.columns and result.images:
            restored = lambda pair, variant=variant: again(pair)[variant]
            result_page.write(folder / variant / result_page.REPORT, result, pairs, restored)
        yield result


def _dataset(test_set: TestSet) -> Dataset:
    hashes = test_sets.hashes_of_files(test_set.folder, test_set.files)
    return Dataset(
        folder=str(real(test_set.folder)),
        sha256=test_sets.sha256_of_lines(hashes),
        sha256_of="the lines that sha256sum prints for its pictures, in order of their names",
        contents_sha256=hashlib.sha256("\n".join(sorted(hashes.values())).encode()).hexdigest(),
    )


def evenly(pairs: list[Pair], limit: int | None) -> list[Pair]:
    """At most `limit` pairs, spread over the list."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // limit] for i in range(limit)]


def evaluate(request: Request) -> tuple[list[Result], list[str]]:
    """Every set and candidate that was asked for: results, and a line for each thing that was refused.

    Raises UserError for an unknown protocol, for data that are not there, and for an output that cannot be written or
    holds the results of another request.
    """
    names = _sets(request)
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{request.output}: cannot be made ({error.strerror}); choose another --output") from None
    refuse_others_results(request, names)
    is_new = not (request.output / REQUEST).exists()
    scored: list[Result] = []
    refused: list[str] = []
    try:
        for name in names:
            try:
                test_set = test_sets.open_set(name, request.data, below=request.protocol == "all")
            except UserError as error:
                scoring.refuse(refused, str(error))
                continue
            for line in test_set.refused:
                scoring.refuse(refused, line)
            opened = open_candidates(request, name, test_set, refused)
            dataset = _dataset(test_set)
            for candidate in opened:
                try:
                    for result in evaluate_candidate(request, name, test_set, dataset, candidate):
                        scored.append(result)
                        refused += [line for line in result.refused if line not in refused]
                except UserError as error:
                    scoring.refuse(refused, str(error))
        if len(scored) > 1:
            results.write_text(request.output / TABLE, results_table(request, scored) + "\n")
    finally:
        if is_new and not (scored or request.save_restored or "dnd" in names):
            (request.output / REQUEST).unlink(missing_ok=True)  # nothing is there that another request would replace
    return scored, refused


def _sets(request: Request) -> list[str]:
    """The protocols to score by: the one asked for, or those whose sets lie below the data's folder."""
    if request.protocol != "all":
        protocols.named(request.protocol)
        return [request.protocol]
    if not request.data.is_dir():
        raise UserError(f"{request.data}: no such folder; --data names the folder with the data sets")
    names = [name for name in PROTOCOLS if test_sets.find_folder(name, request.data, below=True)]
    if not names:
        places = ", ".join(protocol.folders[0] for protocol in PROTOCOLS.values() if protocol.folders)
        raise UserError(f"{request.data}: no data set here; looked for {places} and the like")
    return names


def results_table(request: Request, scored: Sequence[Result]) -> str:
    """Several results as text: the paper's table for all sets, else a row for each result."""
    return tables.paper_table(scored) if request.protocol == "all" else tables.results_table(scored)


def summary(request: Request, scored: Sequence[Result], refused: Sequence[str]) -> str:
    """What a user reads at the end: what was measured, and where it lies."""
    if not scored:
        return "nothing was scored"
    lines = [tables.summary(scored[0]) if len(scored) == 1 else results_table(request, scored), ""]
    if len(scored) > 1:
        lines += [f"{one_line(result.label)}, {result.verdict}: {note}" for result in scored for note in result.notes]
    return "\n".join(
        [*lines, f"{one_line(str(request.output))}: {counted(len(scored), 'result')}, {len(refused)} refused"]
    )
