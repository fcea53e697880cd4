"""Restore folders and buckets of pictures on a Ray cluster.

The restorer goes to the workers with its weights inside, through Ray's object store, so they need no checkpoint. What
else goes there is names: a picture is read where it is restored, so that Ray Data would have nothing to stream; and it
retries a picture that kills its worker for ever. Here are actors, and a picture has a number of tries.
"""

import dataclasses
import os
import platform
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mprnet_jax.batch.jobs import is_existing
from mprnet_jax.batch.source_record import Origin, SourceRecord
from mprnet_jax.batch.storage import Folder, Storage
from mprnet_jax.images import result_suffix
from mprnet_jax.restoring import QUALITY, Restorer, restore_file
from mprnet_jax.runtime import memory
from mprnet_jax.runtime.compile_cache import use_compile_cache
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.optional_imports import import_extra

TRIES = 3  # of a picture whose worker dies: that may be the machine's doing, or the picture's


@dataclasses.dataclass(frozen=True)
class Work:
    """What all workers do."""

    source: Storage
    target: Storage
    ending: str | None = None  # ".png", for example, of all results; None: that of the input
    quality: int = QUALITY  # of JPEGs
    overwrite: bool = False  # existing results are replaced

    def result(self, name: str) -> str:
        """Name of a picture's result, relative to the target."""
        path = PurePosixPath(name)
        return str(path.with_suffix(self.ending or result_suffix(path.suffix)))

    def record(self) -> SourceRecord | None:
        """Of the sources of the results, where both are in folders; buckets have none."""
        folders = isinstance(self.source, Folder) and isinstance(self.target, Folder)
        return SourceRecord(self.target.root) if folders else None

    def restore(self, restorer: Restorer, name: str, again: bool = False) -> Origin:
        """Restore one picture; what it was made from. Raises UserError.

        A result that appeared since the plan was made stays, unless this is done `again`: it may be that of a worker
        that died.
        """
        replace = self.overwrite or again
        with tempfile.TemporaryDirectory() as scratch:
            path, result = None, None
            try:
                path = self.source.source(name, Path(scratch))
                result = self.target.target(self.result(name), Path(scratch))
                restore_file(restorer, path, result, self.quality, replace=replace)
                origin = Origin.of(path)
                self.target.deliver(result, self.result(name), replace)
                return origin
            except UserError as error:  # it names our copies, if they are copies
                text = str(error).replace(str(path), f"{self.source}/{name}")
                raise UserError(text.replace(str(result), f"{self.target}/{self.result(name)}")) from error
            except OSError as error:
                raise UserError(f"{self.source}/{name}: cannot be restored ({error}); check the place") from error


@dataclasses.dataclass(frozen=True)
class Resources:
    """Of a cluster: how many workers, and what each takes."""

    workers: int
    cpus: int  # of each
    gpus: int  # of each: 1, or 0 where the cluster has none
    memory_share: float  # of the memory that is free, what one may plan with


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a picture."""

    name: str
    error: str | None  # one line; None: it was restored
    worker: str | None  # host and process; None: unknown, it died
    origin: Origin | None = None  # of the result, if there is one


class Worker:
    """An actor, in a process of its own: it loads the restorer once, and restores picture after picture."""

    def __init__(self, restorers: list[Any], work: Work, resources: Resources, compile_cache: bool) -> None:
        """`restorers`: the reference to the restorer, in a list so that Ray leaves it to us to unpack."""
        # XLA would take all cores of the machine for every worker. It looks here when the first array is made.
        os.environ["NPROC"] = str(resources.cpus)
        if compile_cache:
            use_compile_cache()
        restorer = import_extra("ray", "ray", "ray").get(restorers[0])
        self.restorer = restorer.with_options(memory_share=resources.memory_share)
        self.work = work

    def ready(self) -> None:
        """Answers once the worker has started."""

    def restore(self, name: str, again: bool = False) -> Outcome:
        """Restore one picture by its name; whatever happens becomes the outcome. `again`: as for Work.restore."""
        error, origin = None, None
        try:
            origin = self.work.restore(self.restorer, name, again)
        except UserError as mistake:
            error = one_line(str(mistake))
        except Exception as fault:  # out of memory, or a bug: the other pictures are done all the same
            error = one_line(f"{self.work.source}/{name}: {type(fault).__name__}: {str(fault)[:300]}")
        return Outcome(name, error, f"{platform.node()}/{os.getpid()}", origin)


def resources_of(nodes: Sequence[dict[str, Any]], cpus: int | None = None, workers: int | None = None) -> Resources:
    """One worker for each GPU of the cluster, or where it has none, for each machine or each `cpus` cores.

    `nodes` are what ray.nodes() says. Raises UserError if no machine is large enough.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    with_gpus = [node for node in alive if node.get("GPU", 0) >= 1]
    gpus = 1 if with_gpus else 0
    alive = with_gpus or alive
    if not alive:
        raise UserError("the cluster has no machine with a free core; start some, or name another with --address")
    cpus = cpus or max(1, int(min(node["CPU"] // max(1, node.get("GPU", 0)) for node in alive)))
    per_node = [int(min(node["CPU"] // cpus, node["GPU"] if gpus else node["CPU"])) for node in alive]
    if not any(per_node):
        raise UserError(f"no machine of the cluster has {cpus} cores; give a smaller --cpus-per-worker")
    # A GPU has memory of its own; workers on cores share that of the machine.
    share = memory.SHARE if gpus else memory.SHARE / max(per_node)
    return Resources(workers or sum(per_node), cpus, gpus, share)


def to_do(work: Work, names: Sequence[str]) -> tuple[list[str], list[str], list[UserError]]:
    """Names that are to be restored, names whose result exists, and why others are left out.

    Raises UserError if results would replace the inputs, or if the storage cannot be listed.
    """
    if work.source == work.target:
        raise UserError(f"{work.target}: results would overwrite the inputs; choose another --output")
    owners: dict[str, str] = {}  # result -> name
    failures = []
    for name in dict.fromkeys(names):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            failures.append(UserError(f"{name}: not below {work.source}; name it relative to --input"))
            continue
        owner = owners.setdefault(work.result(name), name)
        if owner != name:
            what = f"{work.source}/{name}: its result would overwrite that of {owner}"
            failures.append(UserError(f"{what}; restore it into another --output"))
    existing = set() if work.overwrite else work.target.existing(owners)
    record = work.record()
    waiting, kept = [], []
    for result, name in owners.items():
        try:
            stays = result in existing
            if stays and record is not None:
                stays = is_existing(work.source.root / name, work.target.root / result, record, work.overwrite)
            (kept if stays else waiting).append(name)
        except UserError as error:
            failures.append(error)
    return waiting, kept, failures


def restore_all(
    restorer: Restorer,
    work: Work,
    names: Sequence[str],
    resources: Resources,
    compile_cache: bool = True,
    worker: type[Worker] = Worker,
) -> Iterator[Outcome]:
    """Restore pictures on the cluster that ray.init has joined; yields what became of each, in any order.

    Raises UserError if no worker can be started.
    """
    ray = import_extra("ray", "ray", "ray")
    actor_class = ray.remote(worker).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    reference = ray.put(restorer)
    waiting = deque(names)
    tries: Counter[str] = Counter()
    running: dict[Any, tuple[Any, str | None]] = {}  # what a worker will answer -> the worker, the picture it is at

    def start() -> None:
        actor = actor_class.remote([reference], work, resources, compile_cache)
        running[actor.ready.remote()] = actor, None  # work for those alone that have started: others may never do

    for _ in range(min(resources.workers, len(names))):
        start()
    while waiting or any(name for _, name in running.values()):
        (answer,), _ = ray.wait(list(running), num_returns=1)
        actor, name = running.pop(answer)
        try:
            outcome = ray.get(answer)
        except ray.exceptions.RayError as error:
            if name is not None:
                tries[name] += 1
                if tries[name] < TRIES:
                    waiting.append(name)
                else:
                    reason = f"its worker died {TRIES} times; give smaller tiles (--tile 256), or look into Ray's log"
                    yield Outcome(name, f"{work.source}/{name}: {reason}", None)
                start()
            elif not running:
                reason = one_line(str(error).strip().splitlines()[-1])
                raise UserError(f"no worker starts ({reason}); is mprnet_jax installed on every machine?") from error
            continue
        if name is not None:
            yield outcome
        if waiting:
            name = waiting.popleft()
            running[actor.restore.remote(name, tries[name] > 0)] = actor, name
