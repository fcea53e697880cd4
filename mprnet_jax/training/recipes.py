"""Recipe files and the fields of them that the command line gives, through tyro."""

import contextlib
import dataclasses
import difflib
import io
import re
import runpy
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path
from mprnet_jax.training.config import LENGTHS, TrainConfig

WARM_UP_SHARE = 4  # a run of fewer epochs than four times its warm-up gets a shorter one


def load_recipe(path: str | Path) -> list[TrainConfig]:
    """Run a config file and take what its get_config() returns: one TrainConfig, or a list whose parts are trained in
    order, each from the one before.

    Raises UserError if there is no such file or it gives no recipe.
    """
    path = as_path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such config file; the recipes are in configs/, for example configs/denoise.py")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        recipe = get_config() if callable(get_config) else None
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config file is a program, and can fail as any
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = getattr(error, "lineno", None) or (line.lineno if line.filename == str(path) else "unknown")
        raise UserError(f"{path}: line {where}: {type(error).__name__}: {error}; correct the recipe") from error
    parts = list(recipe) if isinstance(recipe, list | tuple) else [recipe]
    if not parts or not all(isinstance(part, TrainConfig) for part in parts):
        raise UserError(
            f"{path}: no recipe; a config file defines get_config(), which returns a TrainConfig or a list of them"
        )
    return parts


def check_spelling(arguments: Sequence[str], own: Sequence[str]) -> None:
    """Raise UserError for an option that no recipe can have; `own`: the command's options, as --config.

    What needs the recipe itself (the fields of its degradation, the values) is left to apply_overrides.
    """
    fields = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(TrainConfig)}
    known = {*fields, *own, *(f"--no-{name[2:]}" for name in fields)}
    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-")
        if re.fullmatch(r"--[A-Za-z][\w.-]*", name) and name.partition(".")[0] not in known:
            near = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.7)
            suggestion = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"Unrecognized options: {argument}{suggestion}; --config FILE --help lists the fields")


def given(arguments: Sequence[str], field: str) -> str | None:
    """The text that the arguments give for a field; None if they do not name it, "" if nothing follows it."""
    name = f"--{field.replace('_', '-')}"
    for number, argument in enumerate(arguments):
        option, separator, value = argument.partition("=")
        if option.replace("_", "-") == name:
            return value if separator else next(iter(arguments[number + 1 : number + 2]), "")
    return None


def of_another_length(config: TrainConfig, arguments: Sequence[str]) -> tuple[TrainConfig, list[str]]:
    """The config made ready for the length that the arguments ask for, and what was adapted to it, in words.

    --epochs, --steps and --minutes replace each other. With other epochs than the recipe's, what it counts in epochs
    keeps its place in the run: the official cosine would otherwise hardly have begun when a shorter run ends.
    """
    named = next((name for name in LENGTHS if given(arguments, name) is not None), None)
    if named is None or (named == "epochs" and config.epochs is None):
        placeholder = {} if named is None else {"epochs": 10**9, "steps": None, "minutes": None}
        return dataclasses.replace(config, **placeholder), []
    if named != "epochs":
        return dataclasses.replace(config, **{**dict.fromkeys(LENGTHS), named: 1}), []
    try:
        epochs = int(given(arguments, "epochs"))
    except ValueError:
        return config, []  # tyro says what is wrong with it
    if epochs < 1 or epochs == config.epochs:
        return config, []
    changed: dict[str, Any] = {}
    warmup = min(config.warmup_epochs, epochs // WARM_UP_SHARE)
    if warmup != config.warmup_epochs:
        changed["warmup_epochs"] = warmup
    if config.cosine_epochs:
        whole = (config.cosine_epochs + config.warmup_epochs) * epochs / config.epochs
        changed["cosine_epochs"] = max(1, round(whole) - warmup)
    if config.mixup_from_epoch:
        changed["mixup_from_epoch"] = 1 + (config.mixup_from_epoch - 1) * epochs // config.epochs
    changed = {name: value for name, value in changed.items() if given(arguments, name) is None}
    notes = [f"{name} {getattr(config, name)} -> {value}" for name, value in changed.items()]
    adapted = dataclasses.replace(config, epochs=max(epochs, config.epochs), **changed)
    return adapted, [f"with {epochs} epochs instead of {config.epochs}: {', '.join(notes)}"] if notes else []


def apply_overrides(config: TrainConfig, arguments: Sequence[str], prog: str, description: str) -> TrainConfig:
    """The config with the fields that the arguments name (--batch-size 8 --model.n-feat 32); --help lists them.

    Raises UserError for a field that there is not, or a value of the wrong type.
    """
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                tyro.conf.AvoidSubcommands[TrainConfig],  # --degradation.sigma is of the kind that the file chose
                default=config,
                args=arguments,
                prog=prog,
                description=description,
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise UserError(f"{unboxed(boxed.getvalue())}; --config FILE --help lists the fields") from None


def unboxed(text: str) -> str:
    """What tyro says in a box of several parts, as one line: the first part, and the names that it suggests."""
    # The first line is a title. The box is drawn in lines, or, where stdout does not take UTF-8, with hyphens alone.
    lines = [line.strip("│ ") for line in text.splitlines()[1:] if not line.startswith("╰")]
    parts = [part.strip() for part in re.split(r"^[─-]{3,}$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]
    message = " ".join((parts or [text])[0].split()).rstrip(".")
    suggested = [
        option
        for part in parts[1:]
        if part.startswith("Perhaps you meant")
        for option in re.findall(r"^(--[\w.-]+)", part, flags=re.MULTILINE)
    ]
    return f"{message} (did you mean {' or '.join(suggested[:2])}?)" if suggested else message


def override_recipe(
    recipe: Sequence[TrainConfig], arguments: Sequence[str], part: int | None, path: str | Path
) -> tuple[list[TrainConfig], list[str]]:
    """The parts of a recipe with the fields that the arguments give to all of them, or to `part` (1 is the first)
    alone; and what was adapted to them, in words. `path`: of the recipe, for --help.

    A start bundle that the arguments give is that of the first part: the others start from the part before them.
    """
    parts, notes = list(recipe), []
    for index, config in enumerate(recipe):
        if part in (None, index + 1):
            ready, adapted = of_another_length(config, arguments)
            parts[index] = apply_overrides(
                ready,
                arguments,
                prog=f"python -m mprnet_jax.train --config {path}",
                description=f"Fields of {path}, all of which can be given here:",
            )
            if part is None and index > 0:
                start = {name: getattr(config, name) for name in ("init_from", "init_from_sha256")}
                parts[index] = dataclasses.replace(parts[index], **start)
            notes += adapted
    return parts, list(dict.fromkeys(notes))
