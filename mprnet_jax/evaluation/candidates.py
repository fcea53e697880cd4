"""What is scored: a folder of restored images, or a network in one or several variants.

A network can be scored after each of its three stages (exits) and in each compute dtype, so that a user can choose
how much quality to pay for how much work.
"""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax import images
from mprnet_jax.evaluation.results import RestoredBy
from mprnet_jax.evaluation.test_sets import Pair, TestSet, restored_reader, sha256_of_files
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.restoring.options import COMPUTED_IN, STAGES
from mprnet_jax.support.errors import UserError

COST_SIZE = 256  # pixels, side of the image whose operations are counted; shares hardly depend on it
Images = dict[str, np.ndarray]  # variant -> restored image; "" where there is only one


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One source of restored images: a network, in one or several variants (stages, dtypes), or a folder."""

    label: str
    variants: tuple[str, ...]
    restore: Callable[[Pair], Images]  # raises UserError for a pair that it cannot restore
    about: Callable[[str], RestoredBy]  # variant -> where its images come from
    parallel: bool = False  # reading files; a network restores one image at a time


@functools.cache
def exit_operations(config: MPRNetConfig) -> tuple[float, float, float]:
    """Floating-point operations up to the exits of stages 1, 2 and 3, for a 256 x 256 image.

    As XLA counts them in the program of each exit, in which later stages are not computed.
    """
    image = jax.ShapeDtypeStruct((1, COST_SIZE, COST_SIZE, 3), jnp.float32)

    def operations(stage: int) -> float:
        exit_alone = lambda params, x: MPRNet(config).apply({"params": params}, x, stages=stage)[0]
        return jax.jit(exit_alone).lower(abstract_params(config), image).cost_analysis()["flops"]

    return tuple(operations(stage) for stage in STAGES)


def sha256_of_params(params: Params) -> str:
    """SHA-256 over each parameter's name, type, shape and bytes, in order of the names: the same in any file format."""
    total = hashlib.sha256()
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for name in sorted(leaves):
        total.update(f"{name} {leaves[name].dtype} {leaves[name].shape}\n".encode() + leaves[name].tobytes())
    return total.hexdigest()


def _options(restorer: Restorer) -> dict[str, Any]:
    """Every option of the restorer that is a plain value."""
    values = dataclasses.asdict(restorer.options)
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}


def variants(stages: bool, dtypes: bool) -> dict[str, dict[str, Any]]:
    """By name, which options each variant of a set of weights changes: every stage, every dtype, both, or just one."""
    changes: dict[str, dict[str, Any]] = {"": {}}
    if dtypes:
        changes = {dtype: {"dtype": dtype} for dtype in COMPUTED_IN}
    if stages:
        changes = {
            f"{name}_stage{stage}".lstrip("_"): {**options, "stages": stage}
            for name, options in changes.items()
            for stage in STAGES
        }
    return changes


def open_restorers(name_or_path: str, stages: bool, dtypes: bool, options: RestoreOptions) -> dict[str, Restorer]:
    """The variants of a set of weights, by name, with `options` where they change nothing.

    Raises UserError if there are no such weights, or for an option that cannot be.
    """
    restorer = Restorer.from_pretrained(name_or_path, options)
    return {name: restorer.with_options(**changes) for name, changes in variants(stages, dtypes).items()}


def network_candidate(label: str, restorers: dict[str, Restorer], unrounded: bool, source: str) -> Candidate:
    """Score one set of weights in its variants.

    `unrounded`: the network is given floats and its answer stays floats (SIDD, DND).
    """
    first = next(iter(restorers.values()))
    common = RestoredBy(
        kind="weights",
        source=source,
        sha256=sha256_of_params(first.params),
        sha256_of="each parameter's name, type, shape and bytes, in order of the names",
        config=dataclasses.asdict(first.config),
        provenance=dict(first.provenance),
    )
    seconds: dict[str, list[float]] = {name: [] for name in restorers}

    def restore(pair: Pair) -> Images:
        degraded = pair.read_input()
        degraded = images.to_float(degraded) if unrounded else degraded
        restored = {}
        for name, restorer in restorers.items():
            start = time.perf_counter()
            restored[name] = restorer(degraded)
            seconds[name].append(time.perf_counter() - start)
        return restored

    def about(name: str) -> RestoredBy:
        restorer, measured = restorers[name], seconds[name]
        known: dict[str, Any] = {"options": _options(restorer)}
        if restorer.options.stages < STAGES[-1] or len(restorers) > 1:
            operations = exit_operations(restorer.config)
            reached = operations[restorer.options.stages - 1]
            known |= {"operations": reached, "share_of_compute": reached / operations[-1]}
        if measured:  # the first one compiles
            known["restore_seconds_median"] = float(np.median(measured[1:] or measured))
        return dataclasses.replace(common, **known)

    return Candidate(label, tuple(restorers), restore, about)


def folder_candidate(label: str, protocol: str, folder: Path, test_set: TestSet, unrounded: bool) -> Candidate:
    """Score a folder of images that were restored elsewhere. Raises UserError if it has none of the set's pairs."""
    read, files = restored_reader(protocol, folder)
    stems, names = {file.stem for file in files}, [pair.name for pair in test_set.pairs]
    if protocol != "sidd" and stems.isdisjoint(names):
        raise UserError(
            f"{folder}: not one of its {len(files)} pictures is called as one of the {len(names)} pairs; rename them: "
            f"the first is {files[0].name if files else 'not clear'}, and pairs are called {names[0]} and so on"
        )
    about = RestoredBy(
        kind="files",
        source=str(folder),
        sha256=sha256_of_files(folder, files),
        sha256_of="the lines that sha256sum prints for the files, in order of their names",
        rounded=unrounded and not (len(files) == 1 and files[0].suffix == ".mat"),
    )
    return Candidate(label, ("",), lambda pair: {"": read(pair)}, lambda variant: about, parallel=True)
