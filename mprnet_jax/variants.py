"""Where the restored images of a run come from: a folder of files, or a network in one or several variants.

A network can be scored after each of its three stages (exits) and in each compute dtype, so that a user can choose
how much quality to pay for how much work.
"""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax import images, protocols
from mprnet_jax.model import SIZE_MULTIPLE, MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.protocols import Pair
from mprnet_jax.restore import Restorer
from mprnet_jax.scoring import Images, Run
from mprnet_jax.tiling import pad_to_multiple

STAGES = (1, 2, 3)
DTYPES = ("float32", "bfloat16")
COST_SIZE = 256  # pixels, side of the image whose operations are counted; shares hardly depend on it


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _all_stages(params: Params, batch: jax.Array, *, config: MPRNetConfig, dtype: str) -> list[jax.Array]:
    return MPRNet(config, dtype=jnp.dtype(dtype)).apply({"params": params}, batch)


def stage_outputs(restorer: Restorer, image: np.ndarray) -> list[np.ndarray]:
    """The image as stages 1, 2 and 3 restore it: H W 3, uint8 if `image` is, else float32 in [0, 1]."""
    h, w, _ = image.shape
    padded = pad_to_multiple(images.to_float(image), SIZE_MULTIPLE)
    outputs = _all_stages(restorer.params, padded[None], config=restorer.config, dtype=restorer.dtype)
    floats = [np.clip(np.asarray(output)[0, :h, :w], 0, 1) for output in reversed(outputs)]
    return [images.to_uint8(output) for output in floats] if image.dtype == np.uint8 else floats


@functools.cache
def exit_operations(config: MPRNetConfig) -> tuple[float, float, float]:
    """Floating-point operations up to the exits of stages 1, 2 and 3, for a 256 x 256 image.

    As XLA counts them in the program of each exit alone, from which what the exit does not need is gone.
    """
    image = jax.ShapeDtypeStruct((1, COST_SIZE, COST_SIZE, 3), jnp.float32)

    def operations(stage: int) -> float:
        exit_alone = lambda params, x: MPRNet(config).apply({"params": params}, x)[3 - stage]
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
    """Every setting of the restorer that is a plain value: dtype, and whatever else it has."""
    values = {field.name: getattr(restorer, field.name) for field in dataclasses.fields(restorer)}
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}


def about_variant(run: Run, variant: str) -> dict[str, Any]:
    """What a result says of where its images come from: the run, and what is special to the variant."""
    about = {key: value for key, value in run.about.items() if key != "variants"}
    special = run.about.get("variants", {}).get(variant, {})
    about["options"] = {**about["options"], **special.get("options", {})}
    seconds = special.get("seconds")  # filled while the run restores
    if seconds:
        about["restore_seconds_median"] = float(np.median(seconds[1:] or seconds))  # the first one compiles
    return {**about, **{key: special[key] for key in ("operations", "share_of_compute") if key in special}}


def network_run(label: str, restorers: Sequence[Restorer], stages: bool, unrounded: bool, source: str) -> Run:
    """Score one set of weights: each restorer (one for each dtype), and each stage if `stages`.

    `unrounded`: the network is given floats and its answer stays floats (SIDD, DND).
    """
    first = restorers[0]
    special: dict[str, dict[str, Any]] = {}
    groups: list[tuple[Restorer, list[str]]] = []  # one pass of the network, and the variants it gives
    for restorer in restorers:
        prefix = [restorer.dtype] if len(restorers) > 1 else []
        names = []
        for stage in STAGES if stages else STAGES[-1:]:
            name = "_".join([*prefix, f"stage{stage}"] if stages else prefix)
            names.append(name)
            special[name] = {"options": {"dtype": restorer.dtype, "stage": stage}, "seconds": []}
            if stages:
                operations = exit_operations(restorer.config)
                share = operations[stage - 1] / operations[-1]
                special[name] |= {"operations": operations[stage - 1], "share_of_compute": share}
        groups.append((restorer, names))

    def restore(pair: Pair) -> Images:
        degraded = pair.read_input()
        degraded = images.to_float(degraded) if unrounded else degraded
        restored = {}
        for restorer, names in groups:
            start = time.perf_counter()
            outputs = stage_outputs(restorer, degraded) if stages else [restorer(degraded)]
            restored |= zip(names, outputs, strict=True)
            if not stages:  # with stages one pass gives all three, so its time belongs to none
                special[names[0]]["seconds"].append(time.perf_counter() - start)
        return restored

    about = {
        "kind": "weights",
        "source": source,
        "sha256": sha256_of_params(first.params),
        "sha256_of": "each parameter's name, type, shape and bytes, in order of the names",
        "config": dataclasses.asdict(first.config),
        "provenance": first.provenance,
        "options": _options(first),
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
