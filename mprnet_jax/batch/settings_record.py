"""Records the options that produced a folder's results, to say when those that are skipped were made with others."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mprnet_jax.restoring import Restorer
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.small_files import read_regular

NAME = ".mprnet_jax.json"
WEIGHTS = "weights"
LIMIT = 2**20  # bytes of a record
Settings = Mapping[str, Any]


def settings_of(restorer: Restorer, bundle: Path) -> Settings:
    """All that decides what a restored picture looks like: the options, and a checksum of the bundle."""
    sums = bundle / "SHA256SUMS"
    weights = hashlib.sha256(sums.read_bytes()).hexdigest()[:12] if sums.is_file() else bundle.name
    return {WEIGHTS: weights} | restorer.options.of_result()


def read_record(folder: Path) -> list[Settings]:
    """The settings that results in a folder were made with; none if there is no record, or none that can be read."""
    try:
        found = json.loads(read_regular(folder / NAME, LIMIT).decode())["settings"]
        return [dict(settings) for settings in found]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def other_settings(folder: Path, settings: Settings) -> str | None:
    """In what results in a folder may differ from what these settings would give; None if all were made with them."""
    different: dict[str, list[Any]] = {}
    for made in read_record(folder):
        for name in settings:
            if made.get(name) != settings[name] and made.get(name) not in different.setdefault(name, []):
                different[name].append(made.get(name))
    described = (
        f"{name} {' or '.join(map(str, values))}, now {settings[name]}" for name, values in different.items() if values
    )
    return "; ".join(described) or None


def note_of_others(folder: Path, settings: Settings, existing: int) -> str | None:
    """A line if some of the `existing` results, which are skipped, may be made with other options; else None."""
    other = other_settings(folder, settings) if existing else None
    if other is None:
        return None
    kept = "the existing result" if existing == 1 else f"some of the {existing} existing results"
    return f"{kept} may be made with other options ({one_line(other)}); --overwrite restores again"


def record(folder: Path, settings: Settings, replace: bool) -> None:
    """Add the settings to a folder's record; with `replace`, forget those before. Raises UserError."""
    before = [] if replace else [made for made in read_record(folder) if made != settings]
    try:
        text = json.dumps({"settings": [*before, settings]}, indent=1) + "\n"
        with whole_file(folder / NAME) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder / NAME}: cannot be written ({error.strerror}); make room or remove it, so that a later run knows "
            "what these results were made with"
        ) from error
