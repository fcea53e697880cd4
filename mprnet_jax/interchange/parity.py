"""Does another program's network compute what the JAX network computes?"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.interchange.format import Network
from mprnet_jax.model import MPRNet, MPRNetConfig, Params
from mprnet_jax.support.errors import UserError

SIZES = ((1, 64, 64), (2, 72, 120), (1, 136, 48))  # batch, height, width; no export is made for any size
TOLERANCE = 1e-4  # largest absolute difference, images in [0, 1]; float32 rounding stays below


@dataclasses.dataclass(frozen=True)
class Difference:
    """Largest absolute differences on a batch of random images."""

    batch: int
    height: int
    width: int
    stages: dict[str, float]  # by the output's name


@functools.cache
def jax_network(config: MPRNetConfig, stages: int = 3) -> Callable[[Params, np.ndarray], list[jax.Array]]:
    """MPRNet, compiled at each new size: parameters, N H W 3 -> the restored images, the last stage first."""
    return jax.jit(lambda params, images: MPRNet(config).apply({"params": params}, images, stages=stages))


def differences(network: Network, bundle: Bundle, stages: int, names: list[str], seed: int = 0) -> list[Difference]:
    """Compare a network with the JAX one on random images of all SIZES; `names` are its outputs'."""
    reference = jax_network(bundle.config, stages)
    rng = np.random.default_rng(seed)
    found = []
    for size in SIZES:
        images = rng.random((*size, 3), dtype=np.float32)
        expected = reference(bundle.params, images)[: len(names)]
        pairs = zip(names, network(images), expected, strict=True)
        measured = {name: float(np.abs(theirs - np.asarray(ours)).max()) for name, theirs, ours in pairs}
        found.append(Difference(*size, measured))
    return found


def largest(found: list[Difference]) -> float:
    """The largest of all; NaN if one is."""
    return float(np.max([value for difference in found for value in difference.stages.values()]))


def summary(found: list[Difference]) -> str:
    """The largest of each output, in words: stage3 1.2e-06, stage2 ..."""
    names = found[0].stages
    worst = {name: float(np.max([difference.stages[name] for difference in found])) for name in names}
    return ", ".join(f"{name} {value:.1e}" for name, value in worst.items())


def check(found: list[Difference], what: str) -> None:
    """Raises UserError, which begins with `what`, if a difference is more than rounding (or NaN)."""
    if not largest(found) <= TOLERANCE:  # so that NaN fails
        raise UserError(
            f"{what} (largest absolute difference: {summary(found)}; at most {TOLERANCE:.0e} is rounding), nothing was "
            "written; report it with the file"
        )
