"""The PyTorch MPRNet of spandrel_extra_arches, which the tests compare with; importing this skips without it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax.interchange.torch import reference
from mprnet_jax.interchange.torch.load import load
from mprnet_jax.model import MPRNetConfig, Params

torch = pytest.importorskip("torch")
if importlib.util.find_spec("spandrel_extra_arches") is None:
    pytest.skip("needs spandrel_extra_arches", allow_module_level=True)

torch.set_num_threads(1)  # more of them spin while they wait, and take the cores from each other and from XLA


def torch_mprnet(cfg: MPRNetConfig, seed: int, slope: float = 0.25, gain: float = 0.8) -> "torch.nn.Module":
    """The network with random weights, normal with deviation gain / sqrt(fan_in).

    0.8 makes what the stages add to the image about as large as the image, so that errors deep inside show at the
    outputs; PyTorch's own default is 0.58. From 1.0 on the outputs grow to hundreds.
    """
    network = reference.torch_network(cfg).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:  # the shared PReLU
                parameter.fill_(slope)
            else:
                deviation = gain / parameter[0].numel() ** 0.5
                parameter.normal_(0, deviation, generator=generator)
    return network


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def torch_stages(network: "torch.nn.Module", images: np.ndarray) -> list["torch.Tensor"]:
    """The three restored images, stage 3 first, still in PyTorch's N C H W."""
    return list(network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())))


def nhwc(tensor: "torch.Tensor") -> np.ndarray:
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def through_a_file(network: "torch.nn.Module", folder: Path) -> tuple[MPRNetConfig, Params]:
    """The network's sizes and parameters after torch.save and our reader."""
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, folder / "network.pth")
    cfg, params, _ = load(folder / "network.pth")
    return cfg, params
