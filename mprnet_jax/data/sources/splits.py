"""A validation set carved from the training set by scene, so that the test set never picks a checkpoint.

Frames of one scene look alike: drawn picture by picture, both sets would hold the same scenes, and the validation
would reward remembering them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax.support.errors import UserError


def scene_of(name: str, separator: str | None) -> str:
    """What stands before the first separator; without one, each picture is a scene of its own.

    GoPro: "-", GOPR0372_07_00-000047 -> GOPR0372_07_00. SIDD: "_", 0001_010-017 -> 0001.
    """
    return name.split(separator, 1)[0] if separator else name


def split_by_scene(names: Sequence[str], share: float, separator: str | None = None) -> tuple[list[int], list[int]]:
    """Indices of the names to train on, and of those to validate on: whole scenes, about `share` of the pictures.

    Scenes are taken in the order of a hash of their name: the same ones on every machine, whatever the order of the
    files. At least one scene is taken, and one is left. Raises UserError if there is only one.
    """
    if not 0 < share < 1:
        raise UserError(f"the validation share must be between 0 and 1, got {share:g}")
    scenes = defaultdict(list)
    for index, name in enumerate(names):
        scenes[scene_of(name, separator)].append(index)
    if len(scenes) < 2:
        raise UserError(
            f"a validation set by scene needs at least 2 scenes, and the {len(names)} pictures are of {len(scenes)}; "
            "set another scene separator, or give a validation folder"
        )
    wanted, held_out = share * len(names), []
    order = sorted(scenes, key=lambda scene: hashlib.sha256(scene.encode()).digest())
    for scene in order[:-1]:
        # A scene is taken if that brings the count nearer to what is wanted.
        if not held_out or len(held_out) + len(scenes[scene]) / 2 <= wanted:
            held_out += scenes[scene]
    held_out.sort()
    return sorted(set(range(len(names))) - set(held_out)), held_out


def hold_out(names: Sequence[str], held_out: frozenset[str], folder: str) -> tuple[list[int], list[int]]:
    """Indices of the names (stems) to train on, and of those held out by file name, its ending being optional.

    Raises UserError if a held-out name is not there (a typing error would put a test picture into the training), or if
    nothing is left to train on.
    """
    known = set(names)
    stems = {name if name in known else Path(name).stem: name for name in held_out}
    missing = sorted(stems.keys() - known)
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of the {len(held_out)} held-out pictures are not in it, first "
            f"{stems[missing[0]]}; correct the list of held-out names, or leave it out (--held-out None)"
        )
    train = [index for index, name in enumerate(names) if name not in stems]
    if not train:
        raise UserError(f"{folder}: every picture is held out, none is left to train on; shorten the list")
    return train, [index for index, name in enumerate(names) if name in stems]
