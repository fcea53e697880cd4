"""The PyTorch network of spandrel_extra_arches, which is not ours: what conversions and exports are compared with."""

import dataclasses
import importlib
import sys
import types
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from mprnet_jax.interchange.format import Network
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.errors import UserError


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
            f"this needs PyTorch and spandrel_extra_arches ({error}); "
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


def network_with(cfg: MPRNetConfig, state: Mapping[str, Any]) -> Network:
    """The PyTorch network with a state dict of torch.Tensors: N H W 3 float32 -> images of stages 3, 2, 1.

    Raises UserError if a package is missing.
    """
    network = torch_network(cfg).eval()
    import torch

    network.load_state_dict(dict(state))

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        return [output.numpy().transpose(0, 2, 3, 1) for output in outputs]

    return run
