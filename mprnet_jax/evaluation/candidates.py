"""Where the restored images of a run come from: a folder of files, or a network in one or several variants.

A network can be scored after each of its three stages (exits) and in each compute dtype, so that a user can choose
how much quality to pay for how much work.
"""

import dataclasses
import functools
import hashlib
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax import images
from mprnet_jax.evaluation import protocols
from mprnet_jax.evaluation.protocols import Pair
from mprnet_jax.evaluation.scoring import Images, Run
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.restoring import RestoreOptions, Restorer

STAGES = (1, 2, 3)
DTYPES = ("float32", "bfloat16")
COST_SIZE = 256  # pixels, side of the image whose operations are counted; shares hardly depend on it


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


def about_variant(run: Run, variant: str) -> dict[str, Any]:
    """What a result says of where its images come from: the run, and what is special to the variant."""
    about = {key: value for key, value in run.about.items() if key != "variants"}
    if variant not in run.about.get("variants", {}):
        return about
    special = dict(run.about["variants"][variant])
    seconds = special.pop("seconds")  # filled while the run restores
    if seconds:
        special["restore_seconds_median"] = float(np.median(seconds[1:] or seconds))  # the first one compiles
    return about | special


def open_restorers(name_or_path: str, stages: bool, dtypes: bool, options: RestoreOptions) -> dict[str, Restorer]:
    """The variants of a set of weights, by name: every stage, every dtype, both, or the one that `options` describe.

    Raises UserError if there are no such weights, or for an option that cannot be.
    """
    restorer = Restorer.from_pretrained(name_or_path, options)
    variants: dict[str, dict[str, Any]] = {"": {}}
    if dtypes:
        variants = {dtype: {"dtype": dtype} for dtype in DTYPES}
    if stages:
        variants = {
            f"{name}_stage{stage}".lstrip("_"): {**changes, "stages": stage}
            for name, changes in variants.items()
            for stage in STAGES
        }
    return {name: restorer.with_options(**changes) for name, changes in variants.items()}


def network_run(label: str, restorers: dict[str, Restorer], unrounded: bool, source: str) -> Run:
    """Score one set of weights in its variants.

    `unrounded`: the network is given floats and its answer stays floats (SIDD, DND).
    """
    first = next(iter(restorers.values()))
    special: dict[str, dict[str, Any]] = {}
    for name, restorer in restorers.items():
        special[name] = {"options": _options(restorer), "seconds": []}
        if restorer.options.stages < STAGES[-1] or len(restorers) > 1:
            operations = exit_operations(restorer.config)
            reached = operations[restorer.options.stages - 1]
            special[name] |= {"operations": reached, "share_of_compute": reached / operations[-1]}

    def restore(pair: Pair) -> Images:
        degraded = pair.read_input()
        degraded = images.to_float(degraded) if unrounded else degraded
        restored = {}
        for name, restorer in restorers.items():
            start = time.perf_counter()
            restored[name] = restorer(degraded)
            special[name]["seconds"].append(time.perf_counter() - start)
        return restored

    about = {
        "kind": "weights",
        "source": source,
        "sha256": sha256_of_params(first.params),
        "sha256_of": "each parameter's name, type, shape and bytes, in order of the names",
        "config": dataclasses.asdict(first.config),
        "provenance": dict(first.provenance),
        "variants": special,
    }
    return Run(label, tuple(special), restore, about)


def folder_run(label: str, protocol_name: str, folder: Path, unrounded: bool) -> Run:
    """Score a folder of images that were restored elsewhere. Raises UserError if it is empty."""
    read, files = protocols.restored_reader(protocol_name, folder)
    about = {
        "kind": "files",
        "source": str(folder),
        "sha256": protocols.sha256_of_files(folder, files),
        "sha256_of": "the lines that sha256sum prints for the files, in order of their names",
        "options": {},
        "rounded": unrounded and not (len(files) == 1 and files[0].suffix == ".mat"),
    }
    return Run(label, ("",), lambda pair: {"": read(pair)}, about, parallel=True)
