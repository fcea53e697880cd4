"""From PyTorch files to bundles and back, and a proof that both networks compute the same.

PyTorch is imported by `torch_network` alone: converting does not need it, verifying does.
"""

import dataclasses
import importlib
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.interchange.torch import files as torch_files
from mprnet_jax.interchange.torch import names as torch_names
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, count_parameters
from mprnet_jax.support.errors import UserError

VERIFY_SHAPE = (2, 64, 96, 3)  # two random images, neither square nor a single tile of anything
VERIFY_TOLERANCE = 1e-4  # largest absolute difference, images in [0, 1]; float32 rounding stays well below


def to_bundle(source: str | Path, output: str | Path, verify: bool = False) -> None:
    """Convert a .pth or .safetensors file to a bundle and say what it was; a failure leaves nothing behind.

    Raises UserError.
    """
    if Path(output).exists():
        raise UserError(f"{output} exists; choose another folder or remove it first")
    cfg, params, provenance = torch_names.load(source)
    print(f"read {source}: {_sizes(cfg)}, {count_parameters(params):,} parameters, {provenance['source_dtype']}")
    official = provenance["official"]
    print(f"the official {official} checkpoint, byte for byte" if official else "not one of the official files")
    print(f"licence: {provenance['licence']}")
    if verify:
        print("largest absolute difference from PyTorch:", _verified(Path(source), cfg, params))
    save_bundle(output, Bundle(config=cfg, params=params, provenance=provenance))
    print(f"wrote {output}")


def to_torch(bundle: str | Path, output: str | Path) -> None:
    """Write a bundle's parameters under the official names: .pth or .safetensors, as the output is called.

    Raises UserError.
    """
    writers = {".pth": torch_files.write_pth, ".safetensors": torch_files.write_safetensors}
    if Path(output).suffix not in writers:
        raise UserError(f"{output}: the name of the output must end in {' or '.join(writers)}")
    loaded = load_bundle(bundle)
    writers[Path(output).suffix](output, torch_names.to_state_dict(loaded.config, loaded.params))
    print(f"read {bundle}: {_sizes(loaded.config)}, {count_parameters(loaded.params):,} parameters")
    print(f"wrote {output}")


def _sizes(cfg: MPRNetConfig) -> str:
    preset = torch_names.preset_name(cfg)
    if preset:
        return f"sizes of the {preset} preset"
    return ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(cfg).items())


def _verified(source: Path, cfg: MPRNetConfig, params: Params) -> str:
    """The differences, in words. Raises UserError if one is too large."""
    differences = compare_with_torch(source, cfg, params)
    text = ", ".join(f"stage {stage} {value:.1e}" for stage, value in zip((3, 2, 1), differences, strict=True))
    if not all(difference <= VERIFY_TOLERANCE for difference in differences):  # so that NaN fails
        raise UserError(
            f"{source}: PyTorch computes something else (largest absolute difference: {text}; at most "
            f"{VERIFY_TOLERANCE:.0e} is rounding), nothing was written; report it with the file"
        )
    return text


def compare_with_torch(source: Path, cfg: MPRNetConfig, params: Params, seed: int = 0) -> list[float]:
    """Largest absolute difference from the PyTorch network on random images, for [stage 3, stage 2, stage 1].

    PyTorch reads a .pth by itself. Raises UserError if it is not installed or cannot read the file.
    """
    network = torch_network(cfg)
    import torch

    if source.suffix == ".safetensors":
        content = {name: torch.from_numpy(array.astype(np.float32)) for name, array in torch_files.read(source).items()}
    else:
        try:
            content = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # what torch.load raises is not documented
            reason = " ".join(str(error)[:200].split())
            raise UserError(f"{source}: PyTorch cannot read it ({reason}); convert without --verify") from error
    state = torch_names.find_state_dict(content, source)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    images = np.random.default_rng(seed).random(VERIFY_SHAPE, dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    ours = jax.jit(MPRNet(cfg).apply)({"params": params}, images)
    return [
        float(np.abs(np.asarray(mine).transpose(0, 3, 1, 2) - theirs.numpy()).max())
        for mine, theirs in zip(ours, expected, strict=True)
    ]


def torch_network(cfg: MPRNetConfig) -> Any:
    """An independent MPRNet in PyTorch (a torch.nn.Module in float32, with random weights), from spandrel_extra_arches.

    Raises UserError if that or PyTorch is not installed.
    """
    try:
        importlib.import_module("torch")
        _provide_torchvision()
        with warnings.catch_warnings():
            # Other networks in that package still use torch.jit.script.
            warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
            package = importlib.import_module("spandrel_extra_arches.architectures.MPRNet")
    except ImportError as error:
        raise UserError(
            f"--verify needs PyTorch and spandrel_extra_arches ({error}); "
            'install them with: pip install "mprnet_jax[verify]"'
        ) from error
    return package.MPRNet(**dataclasses.asdict(cfg))


def _provide_torchvision() -> None:
    """Put a stand-in for torchvision in its place if the installed one does not fit the installed torch.

    spandrel imports three names of it for networks other than this one.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # RuntimeError: a build for CUDA beside a torch without it
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
        modules = {name: types.ModuleType(name) for name in names}
        for name in ("InterpolationMode", "rotate", "normalize"):
            setattr(modules[names[2]], name, None)
        sys.modules.update(modules)
