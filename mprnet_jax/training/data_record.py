"""Which pictures a run was started with, kept in its workdir, so that it does not go on with others unnoticed."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mprnet_jax.data.sources.source import Source
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError

NAME = "data.json"
SAMPLED = 2**14  # bytes at the beginning and the end of a file that are compared; all of them would take minutes

Record = dict[str, dict[str, list[int]]]  # set -> file -> size in bytes, CRC32 of its beginning and end


def _files(source: Source) -> Iterable[tuple[str, Path]]:
    """The files behind a source, by names that stay when the folder moves."""
    for pair in getattr(source, "pairs", ()):
        yield f"{pair.name} (input)", pair.input
        yield f"{pair.name} (target)", pair.target
    for name, path in zip(source.names, getattr(source, "paths", ()), strict=False):
        yield name, path
    directory = getattr(source, "directory", None)  # a built data set: its shards
    for path in sorted(Path(directory).iterdir()) if directory else ():
        if path.is_file():
            yield path.name, path


def _seen(path: Path) -> list[int]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        crc = zlib.crc32(file.read(SAMPLED))
        file.seek(max(0, size - SAMPLED))
        return [size, zlib.crc32(file.read(SAMPLED), crc)]


def record(sets: dict[str, Source]) -> Record:
    """What the sources' files look like. Raises UserError for a file that cannot be read."""
    found: Record = {}
    for name, source in sets.items():
        files = found[name] = {picture: [] for picture in source.names} if hasattr(source, "directory") else {}
        for picture, path in _files(source):
            try:
                files[picture] = _seen(path)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from error
    return found


def difference(old: Record, new: Record) -> str:
    """What is another in the new record, in words; empty if nothing is."""
    told = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name, {}), new.get(name, {})
        for what, files in (
            ("gone", sorted(before.keys() - now.keys())),
            ("new", sorted(now.keys() - before.keys())),
            ("changed", sorted(file for file in before.keys() & now.keys() if before[file] != now[file])),
        ):
            if files:
                told.append(f"{name}: {len(files)} {what}, first {files[0]}")
    return "; ".join(told)


def keep_record(workdir: Path, sets: dict[str, Source], accept: bool) -> bool:
    """Write data.json into a workdir, or compare with the one there; returns whether the validation sets changed.

    `sets`: "training" and the validation sets by name. Raises UserError with the difference if the pictures are others
    than those that the run was started with, unless `accept`: then the new ones are recorded.
    """
    path, new = workdir / NAME, record(sets)
    old = _read(path)
    changed = difference(old, new) if old is not None else ""
    if changed and not accept:
        raise UserError(
            f"{workdir} holds a run on other pictures ({changed}); give it those, choose another --workdir, or accept "
            "the new ones with --accept-other-data"
        )
    if changed:
        held_out = {file for name in old if name != "training" for file in old[name]}
        leaked = sorted(held_out & new["training"].keys())
        note = f"; {len(leaked)} were held out before, first {leaked[0]}" if leaked else ""
        print(f"going on with other pictures ({changed}{note})")
    if old is None or changed:
        try:
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(new) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); make room there") from error
    without_training = lambda record: {name: files for name, files in record.items() if name != "training"}
    return bool(changed) and without_training(old) != without_training(new)


def _read(path: Path) -> Record | None:
    """The record that a workdir holds; None if there is none, or none that can be read (it is written anew)."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(files) for name, files in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None
