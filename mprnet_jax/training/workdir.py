"""The folder of one run: its writer, the recipe and the pictures it belongs to, and what killed processes left."""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mprnet_jax.data.sources.source import Source
from mprnet_jax.support.atomic_files import remove_leftovers, whole_file
from mprnet_jax.support.errors import UserError
from mprnet_jax.training.config import TrainConfig, to_json

LOCK = ".lock"
DATA = "data.json"
SAMPLED = 2**14  # bytes at the beginning and the end of a picture file that are compared; all would take minutes
# Fields that a run may be continued with other values of: its batches and its steps stay the same.
WITHOUT_EFFECT = (
    *("cache_gb", "workers", "log_every", "validate_every", "save_every", "stop_after_skipped"),
    *("checkpoints_kept", "best_kept", "tensorboard", "data_source", "task", "orientations"),
)
# What a save that was killed leaves: bundles under the names that they are written under, and log.jsonl's copy.
LEFTOVERS = re.compile(r"\.(bundle|best|best\.new)\.[0-9a-f]{8}.*|log\.jsonl\.new")

Record = dict[str, dict[str, list[int]]]  # set -> file -> size in bytes, CRC32 of its beginning and end


@contextlib.contextmanager
def owning(workdir: Path) -> Iterator[None]:
    """Be the one process that writes the workdir, which is made; leftovers of killed ones are removed.

    Raises UserError if another process writes it, or if it cannot be made. On file systems without locks nothing is
    checked.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{workdir}: cannot be made ({error.strerror}); choose another --workdir") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(lock, 200, 0).decode(errors="replace").strip() or "unknown"
            raise UserError(
                f"{workdir}: another process writes this workdir ({owner}); wait for it, or choose another --workdir"
            ) from error
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(OSError):  # a full disk: the name is only for the message above
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        _remove_leftovers(workdir)
        yield
    finally:
        os.close(lock)


def _remove_leftovers(workdir: Path) -> None:
    remove_leftovers(workdir)
    for path in workdir.iterdir():
        if LEFTOVERS.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    old = workdir / "best.old"
    if old.is_dir() and not (workdir / "best").exists():  # killed between two renames
        new = workdir / "best.new"
        (new if new.is_dir() else old).rename(workdir / "best")


def keep_config(workdir: Path, config: TrainConfig) -> None:
    """Write config.json into a workdir, or compare with the one that is there.

    Raises UserError if the workdir cannot be written, or is that of another config: with the differences.
    """
    path, new = workdir / "config.json", to_json(config)
    if not os.path.lexists(path):
        try:
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{workdir}: cannot be made ({error.strerror}); choose another --workdir") from error
        return
    old = _read_config(path)
    differing = differences(old, new)
    if differing:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(differing)}); choose another --workdir, "
            "or give the config of that run"
        )


def _read_config(path: Path) -> dict[str, Any]:
    """The config of an older run, with the fields that are younger than it. Raises UserError if it is none."""
    try:
        if not path.is_file():
            raise ValueError("not a file")
        old = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(old, dict):
            raise ValueError(f"it holds a {type(old).__name__}, not the fields of a recipe")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: damaged ({reason}); choose another --workdir") from error
    # Fields that are younger than the run have had the value that changes nothing, which is their default.
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    old = {**json.loads(json.dumps(defaults, default=lambda _: None)), **old}
    if old["validation_data"] is None or isinstance(old["validation_data"], str):  # one folder or none, formerly
        old["validation_data"] = [old["validation_data"]] if old["validation_data"] else []
    return old


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What an older config has otherwise, a line for each field: `degradation.sigma was 5 50, is 0 25`."""
    before, now = (dict(_flat(config)) for config in (old, new))
    return [
        f"{name} was {_shown(before.get(name))}, is {_shown(now.get(name))}"
        for name in sorted({*before, *now})
        if name.split(".")[0] not in WITHOUT_EFFECT and before.get(name) != now.get(name)
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and plain values of nested dicts, and of lists that hold some."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for number, part in enumerate(value, 1):
            yield from _flat(part, f"{name}.{number}")
    else:
        yield name, value


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


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
    path, new = workdir / DATA, record(sets)
    old = _read_record(path)
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


def _read_record(path: Path) -> Record | None:
    """The record that a workdir holds; None if there is none, or none that can be read (it is written anew)."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(files) for name, files in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None
