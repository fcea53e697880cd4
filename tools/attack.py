"""Attack the package with hostile files and kills: `python tools/attack.py WHAT`. Exit code 1: something gave way.

Inputs are made at run time, from a seed. A process reads each of them, and may take 10 s of processor time and 1 GB of
memory for it. What must come of it: it is read whole, or refused by one clear line that names it.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attacks import bundles, checkpoints, evaluation_sets, kills, pictures, training_checkpoints, trials

from mprnet_jax import images
from mprnet_jax.support.command_line import Parser
from mprnet_jax.support.progress import Meter

KINDS = {  # what is read, how many, and a line of help
    "pictures": (pictures.cases, 600, "pictures of every format, damaged, or built to take time or memory"),
    "checkpoints": (checkpoints.cases, 75, "PyTorch and safetensors files of strangers"),
    "bundles": (bundles.cases, 150, "bundles of strangers: every flipped bit must be told"),
    "runs": (training_checkpoints.cases, 60, "checkpoints of a training run, one of two damaged"),
    "sets": (evaluation_sets.cases, 50, "data sets of an evaluation, and results"),
}
KILLS = 20
HEADINGS = ("kind", "what", "tried", "whole", "refused", "gave way", "longest", "most memory")


def attack(kind: str, count: int, seed: int) -> list[trials.Trial]:
    """Try `count` inputs of a kind; failures are printed when they come."""
    found = []
    with tempfile.TemporaryDirectory(prefix="attack-") as folder, Meter(count, kind.removesuffix("s")) as meter:
        made = Path(folder) / "made"
        made.mkdir()
        for trial in trials.run(kind, KINDS[kind][0](count, seed, made), Path(folder)):
            found.append(trial)
            meter.begin(trial.case.name)
            meter.end()
            if trial.outcome == "failed":
                print(f"{kind}: {trial.case.name}: {trial.reason}", file=sys.stderr)
    return found


def rows(kind: str, found: Sequence[trials.Trial]) -> list[tuple[str, ...]]:
    """A line of the table for each group of inputs."""
    groups = defaultdict(list)
    for trial in found:
        groups[trial.case.group].append(trial)
    lines = []
    for group, members in groups.items():
        counts = [sum(trial.outcome == outcome for trial in members) for outcome in ("whole", "refused", "failed")]
        longest = f"{max(trial.seconds for trial in members):.1f} s"
        memory = f"{max(trial.memory for trial in members) / 1e6:.0f} MB"
        lines.append((kind, group, str(len(members)), *map(str, counts), longest, memory))
    return lines


def attack_training(count: int, seed: int) -> tuple[list[tuple[str, ...]], bool]:
    """Kill a small training run so many times: the line of the table, and whether all held."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder, Meter(count, "kill") as meter:
        for number in range(kills.PHOTOS):
            blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            images.write(Path(folder) / "photos" / f"{number}.png", np.kron(blocks, np.ones((4, 4, 1), np.uint8)))
        try:
            outcome = kills.kill_again_and_again(Path(folder), count, meter.end, seed)
        except RuntimeError as error:
            print(f"kills: {error}", file=sys.stderr)
            return [("kills", "a training run", str(count), "0", "", "1", "", "")], False
    held = outcome.same_bits and outcome.same_log
    what = f"a training run (times resumed: {outcome.resumed})"
    return [("kills", what, str(count), str(int(held)), "", str(int(not held)), "", "")], held


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """Markdown, with columns that line up."""
    everything = [HEADINGS, *lines]
    widths = [max(len(line[column]) for line in everything) for column in range(len(HEADINGS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in everything
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def positive(text: str) -> int:
    """A whole number from 1 on. Raises ValueError, which argparse reports."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    lines_of_help = [f"{kind}: {line} ({count})" for kind, (_, count, line) in KINDS.items()]
    lines_of_help += [f"kills: a training run that is killed ({KILLS})", "all: each of these"]
    parser.add_argument("what", metavar="WHAT", choices=[*KINDS, "kills", "all"], help="; ".join(lines_of_help))
    parser.add_argument("--count", type=positive, metavar="N", help="how many of each (default: the numbers above)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other inputs (default: 0)")
    args = parser.parse_args(argv)
    lines, held = [], True
    for kind, (_, count, _) in KINDS.items():
        if args.what in (kind, "all"):
            found = attack(kind, args.count or count, args.seed)
            lines += rows(kind, found)
            held &= all(trial.outcome != "failed" for trial in found)
    if args.what in ("kills", "all"):
        of_kills, survived = attack_training(args.count or KILLS, args.seed)
        lines, held = lines + of_kills, held and survived
    print(table(lines))
    sys.exit(not held)


if __name__ == "__main__":
    main()
