"""What the training command does once its options are parsed."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax.runtime import processes
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.runtime.devices import cores, make_devices_of_cores
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.overrides import apply_overrides, check_spelling, of_another_length
from mprnet_jax.training.recipes import load_recipe
from mprnet_jax.training.run import dry_run, say, train_parts

__all__ = ["check_spelling", "run"]


def run(own: argparse.Namespace, overrides: Sequence[str], default_workdir: Path, command: str) -> None:
    """Train by a recipe and the fields that `overrides` give; `own`: the command's options.

    Raises UserError for what a user can mend.
    """
    asks_for_help = bool({"-h", "--help"} & set(overrides))
    several = own.distributed or (own.coordinator, own.processes, own.process) != (None, None, None)
    if several and not asks_for_help:
        processes.start(own.coordinator, own.processes, own.process)
    if not own.no_compile_cache:
        use_compile_cache()
    with processes.raise_on_all_processes():
        recipe = load_recipe(own.config)
        first = (own.part or 1) - 1
        parts = list(recipe)
        notes = []
        for number in range(len(recipe)) if own.part is None else range(first, min(first + 1, len(recipe))):
            parts[number], adapted = overridden(recipe[number], overrides, own.config)
            notes += adapted
        if not several:
            share = math.gcd(*(part.batch_size // part.accumulate for part in parts))
            make_devices_of_cores(math.gcd(share, cores()))
    workdir = Path(own.workdir).expanduser() if own.workdir else default_workdir
    if own.dry_run:
        dry_run(parts[min(first, len(parts) - 1)], command)
        return
    if not own.workdir:
        say(f"workdir: {workdir}")
    for note in dict.fromkeys(notes):
        say(note)
    options = {"resume": own.resume, "accept_other_data": own.accept_other_data}
    train_parts(parts, workdir, command, own.part, **options)


def overridden(config: TrainConfig, overrides: Sequence[str], recipe: str) -> tuple[TrainConfig, list[str]]:
    """A part of a recipe with the fields that the command line gives, and what was adapted to them, in words."""
    ready, notes = of_another_length(config, overrides)
    return apply_overrides(
        ready,
        overrides,
        prog=f"python -m mprnet_jax.train --config {recipe}",
        description=f"Fields of {recipe}, all of which can be given here:",
    ), notes
