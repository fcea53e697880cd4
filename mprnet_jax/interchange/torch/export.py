"""MPRNet as a PyTorch checkpoint under the official names, which spandrel and programs built on it load."""

from pathlib import Path

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Format, Network
from mprnet_jax.interchange.torch import files, reference, state_dict
from mprnet_jax.interchange.torch.load import official_state_dict
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

WRITERS = {".pth": files.write_pth, ".safetensors": files.write_safetensors}


def check_ending(path: str | Path) -> None:
    """Raises UserError for a name that does not end like a file of WRITERS."""
    if Path(path).suffix not in WRITERS:
        raise UserError(f"{path}: the name of the output must end in {' or '.join(WRITERS)}")


def write_weights(path: str | Path, bundle: Bundle) -> None:
    """Write the state dict of the whole network to a new file: .pth or .safetensors, as the file is called.

    Raises UserError.
    """
    check_ending(path)
    WRITERS[Path(path).suffix](path, state_dict.to_state_dict(bundle.config, bundle.params))


def write(path: Path, bundle: Bundle, _stages: int, _every_stage: bool) -> None:
    """Write the state dict of the whole network, whose three outputs are always there."""
    write_weights(path, bundle)


def read(path: Path, config: MPRNetConfig) -> Network:
    """The PyTorch network of spandrel_extra_arches with the file's weights. Raises UserError if it is not installed."""
    torch = import_extra("torch", "torch", "verify")
    content = torch.load(path, map_location="cpu", weights_only=True)
    network = reference.network_with(config, official_state_dict(content, path))
    return lambda images: network(images)[:1]  # the image of the last stage


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
