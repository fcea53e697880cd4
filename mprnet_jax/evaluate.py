"""Score restored images by the protocols of the paper: `python -m mprnet_jax.evaluate --help`."""

import argparse
import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.checkpoints.pretrained import TASKS
from mprnet_jax.evaluation import candidates, comparison, matlab, protocols, result_page, scoring, tables
from mprnet_jax.evaluation.candidates import STAGES
from mprnet_jax.evaluation.protocols import PROTOCOLS, Pair, TestSet
from mprnet_jax.evaluation.scoring import Result, Run
from mprnet_jax.restoring import RestoreOptions, add_restore_options, restore_options
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import cores, find_devices
from mprnet_jax.support.command_line import Parser, add_cache_option, path_option
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, exit_on_user_error

COMMAND = "mprnet_jax.evaluate"
EPILOG = """\
examples
  the shipped denoiser on your own photos (mine/input/*.png, mine/target/*.png):
    python -m mprnet_jax.evaluate --protocol custom --data mine --task denoising --output out
  GoPro with converted official weights; a first look at 50 of the 1,111 pairs:
    python -m mprnet_jax.evaluate --protocol gopro --data GoPro --checkpoint deblurring --limit 50 --output out
  images that another program restored (restored/0001.png belongs to target/0001.png):
    python -m mprnet_jax.evaluate --protocol rain100h --data Rain100H --restored restored --output out
  every set below a folder, the paper's table with a column for each of two checkpoints:
    python -m mprnet_jax.evaluate --protocol all --data datasets --checkpoint a b --output out
  what the early exits and bfloat16 cost in quality:
    python -m mprnet_jax.evaluate --protocol custom --data mine --task denoising --stages --dtypes --output out
  is run B better than run A?
    python -m mprnet_jax.evaluate --compare out_a out_b --output out_ab

Pairs are matched by name up to the ending, never by position. --output gets report.html, results.json and scores.csv
(with several sets or runs: in a folder for each). DND is scored by its server: --output gets the .mat files to upload.
Exit code: 0 all was scored, 2 something was refused (one line for each on stderr; the rest is scored all the same).
SIDD and DND need SciPy and h5py, RealBlur needs OpenCV, --compare needs SciPy: pip install 'mprnet_jax[evaluate]'
"""


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


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=f"python -m {COMMAND}",
        description="Score restored images by the protocols of the MPRNet paper, and look at them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "all"], metavar="NAME", help=", ".join([*PROTOCOLS, "all"]))
    parser.add_argument(
        "--data", type=path_option, metavar="DIR", help="the set's folder; with all, a folder with many sets"
    )
    parser.add_argument("--output", type=path_option, metavar="DIR", required=True, help="where the results go")
    parser.add_argument(
        "--checkpoint", nargs="+", type=path_option, default=[], metavar="DIR", help="score these weights (bundles)"
    )
    parser.add_argument(
        "--task",
        nargs="+",
        default=[],
        choices=[*TASKS, "auto"],
        metavar="NAME",
        help=f"score shipped weights: {', '.join(TASKS)}; auto: those of the set's own task",
    )
    parser.add_argument(
        "--restored", nargs="+", type=path_option, default=[], metavar="DIR", help="score images restored before"
    )
    parser.add_argument("--stages", action="store_true", help="score all three exits, with their share of the compute")
    parser.add_argument("--dtypes", action="store_true", help="score float32 and bfloat16")
    add_restore_options(parser.add_argument_group("how weights are used"))
    parser.add_argument("--limit", type=int, metavar="N", help="only N pairs, evenly spaced by name")
    parser.add_argument("--workers", type=int, default=cores(), help="threads for the scores [%(default)s]")
    parser.add_argument("--save-restored", action="store_true", help="also write the restored images, as PNG")
    parser.add_argument("--skip-input", action="store_true", help="do not score the input (RealBlur: half the time)")
    parser.add_argument(
        "--compare", nargs=2, type=path_option, metavar=("RUN_A", "RUN_B"), help="two outputs, side by side"
    )
    add_cache_option(parser)
    args = parser.parse_args(argv)
    args.options = restore_options(parser, args)
    args.checkpoint = [str(path) for path in args.checkpoint]
    if args.compare:
        return args
    if not args.protocol or not args.data:
        parser.error("give --protocol and --data, or --compare; see the examples of --help")
    if not (args.checkpoint or args.task or args.restored):
        parser.error("nothing to score: give --checkpoint, --task or --restored")
    if args.stages and args.options.stages != STAGES[-1]:
        parser.error("--stages scores every stage, --stage one of them; give one of the two")
    if (args.stages or args.dtypes) and not (args.checkpoint or args.task):
        parser.error("--stages and --dtypes need weights: give --checkpoint or --task")
    if args.workers < 1 or (args.limit is not None and args.limit < 1):
        parser.error("--workers and --limit must be at least 1")
    return args


def evenly(pairs: list[Pair], limit: int | None) -> list[Pair]:
    """At most `limit` pairs, spread over the list."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // limit] for i in range(limit)]


def open_runs(request: Request, name: str, refused: list[str]) -> list[Run]:
    """What is to be scored on one set; a source that cannot be opened becomes a line of `refused`."""
    unrounded, runs = PROTOCOLS[name].unrounded, []
    for source in [*request.task, *request.checkpoint, *map(Path, request.restored)]:
        label = source if source in request.task else Path(source).resolve().name
        taken = {run.label for run in runs}
        numbered = itertools.chain([label], (f"{label}_{k}" for k in itertools.count(2)))
        label = next(name for name in numbered if name not in taken)
        try:
            if isinstance(source, Path):
                folder = protocols.restored_folder(name, source) if request.protocol == "all" else source
                runs.append(candidates.folder_run(label, name, folder, unrounded))
                continue
            if source == "auto" and PROTOCOLS[name].task is None:
                raise UserError("--task auto: a custom set has no task of its own; name one")
            weights = PROTOCOLS[name].task if source == "auto" else source
            restorers = candidates.open_restorers(weights, request.stages, request.dtypes, request.options)
            runs.append(candidates.network_run(label, restorers, unrounded, weights))
        except UserError as error:
            scoring.refuse(refused, str(error))
    return runs


def write_submission(pairs: list[Pair], run: Run, folder: Path) -> tuple[list[str], list[str]]:
    """DND: restore all crops and write the server's files to folder/VARIANT/dnd; names of crops done, and refusals."""
    done, refused = [], []
    groups = itertools.groupby(pairs, key=lambda pair: pair.name.split("_")[0])
    with tqdm(total=len(pairs), unit="crop", desc=f"DND {run.label}", dynamic_ncols=True) as bar:
        for number, group in groups:
            crops: dict[str, list] = {variant: [] for variant in run.variants}
            names = []
            try:
                for pair in group:
                    for variant, image in run.restore(pair).items():
                        crops[variant].append(images.to_float(image))
                    names.append(pair.name)
                    bar.update()
                for variant, restored in crops.items():
                    matlab.write_dnd(folder / variant / "dnd", int(number), restored)
                done += names
            except UserError as error:
                scoring.refuse(refused, f"DND {number}: {error}")
    return done, refused


def evaluate_set(request: Request, name: str, test_set: TestSet, runs: list[Run], output: Path) -> list[Result]:
    """Score every run on one set; each variant of each run gets a folder, unless there is only one."""
    protocol, results = PROTOCOLS[name], []
    dataset = {
        "folder": str(test_set.folder.resolve()),
        "sha256": protocols.sha256_of_files(test_set.folder, test_set.files),
        "sha256_of": "the lines that sha256sum prints for its pictures, in order of their names",
    }
    pairs = evenly(test_set.pairs, request.limit)
    several = len(request.checkpoint) + len(request.task) + len(request.restored) > 1
    for run in runs:
        start = time.perf_counter()
        folder = output / run.label if several else output
        if protocol.score is None:
            done, refused = write_submission(pairs, run, folder)
            rows = {variant: [{"name": crop} for crop in done] for variant in run.variants}
        else:
            keep = folder if request.save_restored else None
            rows, refused = scoring.score_set(protocol, pairs, run, request.workers, not request.skip_input, keep)
        again = functools.cache(run.restore)  # a few images for the reports: variants may show the same ones
        for variant in run.variants:
            result = Result(
                protocol=name,
                label=f"{run.label} {variant}".strip(),
                found=len(test_set.pairs) + len(test_set.refused),
                images=rows[variant],
                refused=[*test_set.refused, *refused],
                dataset=dataset,
                restored_by=candidates.about_variant(run, variant),
                seconds=time.perf_counter() - start,
            )
            scoring.save(folder / variant, result)
            if result.columns and result.images:
                restored = lambda pair, again=again, variant=variant: again(pair)[variant]
                result_page.write(folder / variant / "report.html", result, pairs, restored)
            results.append(result)
    return results


def evaluate(request: Request) -> tuple[list[Result], list[str]]:
    """Every set and run that was asked for: results, and a line for each thing that was refused."""
    results: list[Result] = []
    refused: list[str] = []
    every = request.protocol == "all"
    if every and not request.data.is_dir():
        raise UserError(f"{request.data}: no such folder; --data names the folder with the data sets")
    names = [name for name in PROTOCOLS if protocols.find_folder(name, request.data, below=True)] if every else []
    if every and not names:
        places = ", ".join(protocol.folders[0] for protocol in PROTOCOLS.values() if protocol.folders)
        raise UserError(f"{request.data}: no data set here; looked for {places} and the like")
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{request.output}: cannot be made ({error.strerror}); choose another --output") from None
    for name in names or [request.protocol]:
        try:
            test_set = protocols.open_set(name, request.data, below=every)
        except UserError as error:
            scoring.refuse(refused, str(error))
            continue
        for line in test_set.refused:
            scoring.refuse(refused, line)
        runs = open_runs(request, name, refused)
        found = evaluate_set(request, name, test_set, runs, request.output / name if every else request.output)
        refused += [line for result in found for line in result.refused if line not in refused]
        results += found
    return results, refused


def show(request: Request, results: list[Result], refused: list[str]) -> None:
    """Print what was measured, and where it lies."""
    if len(results) == 1:
        print(tables.summary(results[0]), end="\n\n")
    elif results:
        table = tables.paper_table(results) if request.protocol == "all" else tables.runs_table(results)
        (request.output / "table.txt").write_text(table + "\n")
        print(table, end="\n\n")
        for result in results:
            for note in result.notes:
                print(f"{result.label}, {result.verdict}: {note}")
    print(f"{request.output}: {len(results)} results, {len(refused)} refused" if results else "nothing was scored")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with exit_on_user_error(COMMAND):
        if args.compare:
            print(comparison.compare(*args.compare, args.output))
            return
        if not args.no_compile_cache:
            use_compile_cache()
        names = {field.name for field in dataclasses.fields(Request)}
        given = {name: value for name, value in vars(args).items() if name in names}
        devices = find_devices(args.options.devices, pictures=1)  # pairs are restored one after another
        request = Request(**given | {"options": args.options.replace(devices=devices)})
        results, refused = evaluate(request)
        show(request, results, refused)
        if refused:
            sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
