"""Weights out of a PyTorch file: the state dict in it, whose it is, and what a bundle keeps of that."""

import functools
import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mprnet_jax.checkpoints.provenance import Provenance
from mprnet_jax.interchange.torch import files, state_dict
from mprnet_jax.model import MPRNetConfig, Params
from mprnet_jax.support.errors import UserError, one_line

# Of training programs; the first that holds tensors is taken, so averaged weights come before the latest.
STATE_DICT_ENTRIES = ("state_dict", "params_ema", "params", "model_state_dict", "model_state", "model", "net_g", "ema")
STATE_DICT_ENTRIES += ("generator", "network", "net", "weights")
# Modules that PyTorch wraps around modules, at any depth (torch.compile, FSDP, checkpointing of activations).
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
DEEPEST_ENTRY = 4  # entries inside each other, as {"checkpoint": {"model": ...}}

# sha1 of "blob <size>\0<content>", as git names files, of the published checkpoints.
OFFICIAL_GIT_BLOBS = {
    "a7cbe87e33d71e69a0fb1a734bc7f2b2f5b36946": "deblurring",
    "aabb19cfd9a2195b6e5939dcd374d31a7e4c33b8": "denoising",
    "2414346fcefd7c84a6d8fecab1b397411ca5e57f": "deraining",
}
OFFICIAL_PATCHES = {"deblurring": 256, "denoising": 128, "deraining": 256}  # pixels, side of the training patch
OFFICIAL_LICENCE = (
    "official release of MPRNet: academic, non-commercial use, under the licence that comes with it; "
    "keep this note with the checkpoint"
)
UNKNOWN_LICENCE = "unknown: the licence of the source file applies"


def load(path: str | Path) -> tuple[MPRNetConfig, Params, Provenance]:
    """Sizes, float32 parameters and provenance from a .pth, .pt or .safetensors file. Raises UserError."""
    path = Path(path)
    with files.open_checkpoint(path) as file:
        prefix, state = _official_tensors(files.read_file(file, path), path)
        try:
            cfg, params = state_dict.from_state_dict(state)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        sha256, git_blob = _hashes(file)
    official = OFFICIAL_GIT_BLOBS.get(git_blob)
    provenance = Provenance(
        task=official,
        preset=state_dict.preset_name(cfg) or "custom",
        patch_size=OFFICIAL_PATCHES.get(official or ""),
        licence=OFFICIAL_LICENCE if official else UNKNOWN_LICENCE,
        source="converted from a PyTorch file",
        source_file=path.name,
        source_dtype=", ".join(sorted({str(array.dtype) for array in state.values()})),
        sha256=sha256,
        official=official,
        version=_version(),
        other={"git_blob_sha1": git_blob} | ({"prefix": prefix} if prefix else {}),
    )
    return cfg, params, provenance


def official_state_dict(content: Any, path: str | Path) -> dict[str, Any]:
    """The tensors (NumPy's or PyTorch's) in what was saved, under the names that the official network has.

    They may stand in an entry of STATE_DICT_ENTRIES or another, and what wrappers put before every name (`module.`,
    `model.`, `net_g.`, `_orig_mod.`, one before the other) is taken off; tensors that are not under it belong to other
    networks and are left out. Raises UserError if there are no tensors, or several such networks.
    """
    return _official_tensors(content, path)[1]


def _official_tensors(content: Any, path: str | Path) -> tuple[str, dict[str, Any]]:
    """The prefix that stood before the names, and the tensors without it."""
    state = _find_state_dict(content, set())
    if state is None:
        entries = list(content)[:10] if isinstance(content, Mapping) else []
        found = ", ".join(str(entry)[:40] for entry in entries) or type(content).__name__
        raise UserError(
            f"{path}: no state dict in it (found: {one_line(found)[:200]}); save one with "
            f"torch.save(model.state_dict(), ...), or as an entry {', '.join(STATE_DICT_ENTRIES)}"
        )
    state = {functools.reduce(lambda name, word: name.replace(word, ""), WRAPPERS, name): state[name] for name in state}
    prefixes = prefixes_of(state)
    chosen = [prefix for prefix in prefixes if "ema" in prefix] or prefixes  # averaged weights are the better ones
    if len(chosen) > 1:
        listed = ", ".join(one_line(prefix[:40]) or "no prefix" for prefix in chosen[:5])
        raise UserError(f"{path}: {len(chosen)} MPRNets in one state dict ({listed}); save the one that is meant alone")
    prefix = chosen[0] if chosen else ""
    return prefix, {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def prefixes_of(state: Mapping[str, Any]) -> list[str]:
    """What stands before the official names: [""], or names of wrappers such as "module.model."; [] if the network is
    another one."""
    before = (name.removesuffix(state_dict.FIRST) for name in state if name.endswith(state_dict.FIRST))
    return [prefix for prefix in before if not prefix or prefix.endswith(".")]


def _find_state_dict(content: Any, seen: set[int], depth: int = 0) -> dict[str, Any] | None:
    """The first that holds this network, of what is saved and its entries; else the first that holds only tensors."""
    if not isinstance(content, dict) or not content or id(content) in seen or depth > DEEPEST_ENTRY:
        return None
    seen.add(id(content))
    tensors = {name: array for name, array in content.items() if isinstance(name, str) and hasattr(array, "shape")}
    if len(tensors) == len(content) or prefixes_of(tensors):
        return tensors
    others = [name for name in content if name not in STATE_DICT_ENTRIES]
    entries = [content[name] for name in (*STATE_DICT_ENTRIES, *others) if name in content]
    found = [state for entry in entries if (state := _find_state_dict(entry, seen, depth + 1))]
    return next((state for state in found if prefixes_of(state)), found[0] if found else None)


def _hashes(file: BinaryIO) -> tuple[str, str]:
    """SHA-256 of a file, and the SHA-1 by which git names it."""
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = file.tell()
    file.seek(0)
    git_blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while block := file.read(1 << 20):
        git_blob.update(block)
    return sha256, git_blob.hexdigest()


def _version() -> str:
    try:
        return importlib.metadata.version("mprnet_jax")
    except importlib.metadata.PackageNotFoundError:  # run from a copy of the sources that was not installed
        return "unknown"
