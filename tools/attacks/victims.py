"""The process that reads hostile inputs, a line of JSON for each: what came of it."""

import hashlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mprnet_jax.support.errors import UserError

SPARE_BYTES = 4 << 30  # of address space beyond what the process has at its start, so that the machine lives


def read_picture(path: Path) -> tuple[list[str], str]:
    """What is said, and a digest of what was read."""
    from mprnet_jax import images

    picture = images.open_picture(path)
    return [], hashlib.sha256(np.ascontiguousarray(picture.pixels)).hexdigest()


def _digest(sizes: object, params: dict, provenance: object) -> str:
    import jax

    found = hashlib.sha256(repr((sizes, provenance)).encode())
    for key, array in jax.tree_util.tree_leaves_with_path(params):
        found.update(repr((key, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
        if not np.isfinite(array).all():
            raise AssertionError("weights that are no numbers were taken")
    return found.hexdigest()


def read_checkpoint(path: Path) -> tuple[list[str], str]:
    """As read_picture."""
    from mprnet_jax.interchange.torch.load import load

    return [], _digest(*load(path))


def read_bundle(path: Path) -> tuple[list[str], str]:
    """As read_picture."""
    from mprnet_jax.checkpoints.bundle import load_bundle

    bundle = load_bundle(path)
    return [], _digest(bundle.config, bundle.params, bundle.provenance)


def lines_of(name: str, folder: Path) -> list[str]:
    """What is said of a data set for evaluation while everything in it is read."""
    from mprnet_jax.evaluation import dnd, test_sets

    dnd._image.cache_clear()
    lines = []
    try:
        found = test_sets.open_set(name, folder)
    except UserError as error:
        return [str(error)]
    for pair in found.pairs:
        for read in (pair.read_input, pair.read_target):
            try:
                if read is not None and not np.isfinite(read()).all():
                    raise AssertionError("pixels that are no numbers were taken")
            except UserError as error:
                lines.append(str(error))
    return [*found.refused, *lines]


def read_set(path: Path) -> tuple[list[str], str]:
    """As read_picture: a folder called `results`, or by its protocol."""
    from mprnet_jax.evaluation import results

    if path.name == "results":
        return [], repr(results.load(path))
    return lines_of(path.name, path), ""


def read_run(path: Path) -> tuple[list[str], str]:
    """As read_picture: the checkpoints of a training run, of which what comes back must be as it was saved."""
    import jax

    from attacks.training_checkpoints import state_at
    from mprnet_jax.training.checkpoints import TrainingCheckpoints

    with TrainingCheckpoints(path) as checkpoints:
        wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state_at(0))
        state, about, damaged = checkpoints.restore_latest(wanted)
    if not jax.tree.all(jax.tree.map(np.array_equal, state, state_at(about["note"]))):
        raise AssertionError(f"another state than was saved at step {about['note']}")
    return damaged, ""


READERS: dict[str, Callable[[Path], tuple[list[str], str]]] = {
    "pictures": read_picture,
    "checkpoints": read_checkpoint,
    "bundles": read_bundle,
    "sets": read_set,
    "runs": read_run,
}


def serve(kind: str) -> None:
    """Read what stdin names, a path a line in JSON; answer on what stdout was at the start."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    read = READERS[kind]
    for target in ("jax", "mprnet_jax.interchange.torch.load", "mprnet_jax.checkpoints.bundle"):
        if kind != "pictures":
            __import__(target)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_BYTES, resource.RLIM_INFINITY))
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        path, fault, said, digest = Path(json.loads(line)), "", [], ""
        try:
            said, digest = read(path)
        except UserError as error:
            said = [str(error)]
        except BaseException as error:  # the fault that is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"traceback: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        print(json.dumps({"said": said, "digest": digest, "fault": fault}), file=answers)
