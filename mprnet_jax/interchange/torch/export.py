"""MPRNet as a PyTorch checkpoint under the official names, which spandrel and programs built on it load."""

from pathlib import Path

import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Format, Network
from mprnet_jax.interchange.torch import convert
from mprnet_jax.interchange.torch import files as torch_files
from mprnet_jax.interchange.torch import names as torch_names
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.optional_imports import import_extra


def write(path: Path, bundle: Bundle, _stages: int, _every_stage: bool) -> None:
    """Write the state dict of the whole network, whose three outputs are always there."""
    torch_files.write_pth(path, torch_names.to_state_dict(bundle.config, bundle.params))


def read(path: Path, config: MPRNetConfig) -> Network:
    """The PyTorch network of spandrel_extra_arches with the file's weights. Raises UserError if it is not installed."""
    torch = import_extra("torch", "torch", "verify")
    network = convert.torch_network(config).eval()
    content = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(torch_names.find_state_dict(content, path))

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            last = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))[0]
        return [last.numpy().transpose(0, 2, 3, 1)]

    return run


FORMAT = Format(
    file="model.pth",
    write=write,
    read=read,
    packages=("torch", "torchvision", "spandrel", "spandrel_extra_arches"),
    imports="import spandrel\nimport spandrel_extra_arches\nimport torch",
    load="spandrel_extra_arches.install()\nnetwork = spandrel.ModelLoader().load_from_file(path).eval()",
    restore="""\
with torch.inference_mode():
    restored = network(torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()))[0].numpy().transpose(1, 2, 0)""",
)
