"""From PyTorch files to bundles and back, and a proof that both networks compute the same.

Converting does not need PyTorch; verifying does.
"""

import dataclasses
from pathlib import Path

import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.interchange import parity
from mprnet_jax.interchange.format import Network, output_names
from mprnet_jax.interchange.torch import export, files, reference, state_dict
from mprnet_jax.interchange.torch.load import load, official_state_dict
from mprnet_jax.model import MPRNetConfig, count_parameters
from mprnet_jax.support.errors import UserError, one_line


def to_bundle(source: str | Path, output: str | Path, verify: bool = False) -> None:
    """Convert a .pth or .safetensors file to a bundle and say what it was; a failure leaves nothing behind.

    Raises UserError.
    """
    if Path(output).exists():
        raise UserError(f"{output} exists; choose another folder or remove it first")
    cfg, params, provenance = load(source)
    bundle = Bundle(config=cfg, params=params, provenance=provenance)
    print(f"read {source}: {_sizes(cfg)}, {count_parameters(params):,} parameters, {provenance.source_dtype}")
    official = provenance.official
    print(f"the official {official} checkpoint, byte for byte" if official else "not one of the official files")
    if prefix := provenance.get("prefix"):
        print(f"taken off every name: {one_line(prefix)}")
    print(f"licence: {provenance.licence}")
    if verify:
        found = parity.differences(torch_reads(source, cfg), bundle, 3, output_names(3, every_stage=True))
        parity.check(found, f"{source}: PyTorch computes something else")
        print(f"largest absolute difference from PyTorch: {parity.summary(found)}")
    save_bundle(output, bundle)
    print(f"wrote {output}")


def to_torch(bundle: str | Path, output: str | Path) -> None:
    """Write a bundle's parameters under the official names: .pth or .safetensors, as the output is called.

    Raises UserError.
    """
    export.check_ending(output)
    loaded = load_bundle(bundle)
    export.write_weights(output, loaded)
    print(f"read {bundle}: {_sizes(loaded.config)}, {count_parameters(loaded.params):,} parameters")
    print(f"wrote {output}")


def _sizes(cfg: MPRNetConfig) -> str:
    preset = state_dict.preset_name(cfg)
    if preset:
        return f"sizes of the {preset} preset"
    return ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(cfg).items())


def torch_reads(source: str | Path, cfg: MPRNetConfig) -> Network:
    """The PyTorch network with the weights of a file: N H W 3 -> images of stages 3, 2, 1. PyTorch reads a .pth by
    itself.

    Raises UserError if it is not installed or cannot read the file.
    """
    reference.torch_network(cfg)  # says what to install
    import torch

    source = Path(source)
    if source.suffix == ".safetensors":
        content = {name: torch.from_numpy(array.astype(np.float32)) for name, array in files.read(source).items()}
    else:
        try:
            content = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # what torch.load raises is not documented
            reason = one_line(" ".join(str(error)[:200].split()))
            raise UserError(f"{source}: PyTorch cannot read it ({reason}); convert without --verify") from error
    return reference.network_with(cfg, official_state_dict(content, source))
