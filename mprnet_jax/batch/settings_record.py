"""A note in the folder of results of how they were made, so that a later run with other options does not pass over
them as if it had made them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mprnet_jax.restoring.restorer import Restorer
from mprnet_jax.support.atomic_files import whole_file

NAME = ".mprnet_jax.json"
WEIGHTS = "weights"
# The fields of Restorer that change what a picture looks like by more than float rounding.
OPTIONS = ("dtype", "stages", "tlc", "patch_size", "self_ensemble", "tile", "overlap", "halo")
Settings = Mapping[str, Any]


def settings_of(restorer: Restorer, bundle: Path) -> Settings:
    """All that decides what a restored picture looks like: the options, and a checksum of the bundle."""
    options = {name: getattr(restorer, name) for name in OPTIONS}
    sums = bundle / "SHA256SUMS"
    weights = hashlib.sha256(sums.read_bytes()).hexdigest()[:12] if sums.is_file() else bundle.name
    return {WEIGHTS: weights} | options


def read_record(folder: Path) -> list[Settings]:
    """The settings that results in a folder were made with; none if there is no record, or none that can be read."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))["settings"]
        return [dict(settings) for settings in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def other_settings(folder: Path, settings: Settings) -> str | None:
    """In what results in a folder may differ from what these settings would give; None if all were made with them."""
    different: dict[str, list[Any]] = {}
    for made in read_record(folder):
        for name in settings:
            if made.get(name) != settings[name] and made.get(name) not in different.setdefault(name, []):
                different[name].append(made.get(name))
    said = (
        f"{name} {' or '.join(map(str, values))}, now {settings[name]}" for name, values in different.items() if values
    )
    return "; ".join(said) or None


def record(folder: Path, settings: Settings, replace: bool) -> None:
    """Add the settings to a folder's record; with `replace`, forget those before. Raises OSError."""
    before = [] if replace else [made for made in read_record(folder) if made != settings]
    with whole_file(folder / NAME) as temporary:
        temporary.write_text(json.dumps({"settings": [*before, settings]}, indent=1) + "\n", encoding="utf-8")
