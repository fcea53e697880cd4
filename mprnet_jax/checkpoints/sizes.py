"""Are the sizes of a network plausible? Asked before anything is multiplied, traced or allocated for them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from mprnet_jax.model import MPRNetConfig, abstract_params

LARGEST = {
    "n_feat": 1024,
    "scale_unetfeats": 1024,
    "scale_orsnetfeats": 1024,
    "num_cab": 64,
    "kernel_size": 15,
    "reduction": 1024,
}
"""Of each size; the official networks have 96, 48, 32, 8, 3 and 4."""
MOST_PARAMETERS = 50_000_000  # the largest official network has 20 million


def plausible_config(sizes: Any) -> MPRNetConfig:
    """The network of these sizes, by the names of MPRNetConfig; those with a default may be missing.

    Raises ValueError if they are not numbers of such a network, or if it is too large to be one.
    """
    if not isinstance(sizes, Mapping):
        raise ValueError(f"the sizes of the network are a {type(sizes).__name__} instead of a mapping")
    fields = dataclasses.fields(MPRNetConfig)
    if unknown := set(sizes) - {field.name for field in fields}:
        raise ValueError(f"the network has no size called {min(map(str, unknown))[:40]!a}")
    if missing := {field.name for field in fields if field.default is dataclasses.MISSING} - set(sizes):
        raise ValueError(f"the size {min(missing)} of the network is missing")
    for name, value in sizes.items():
        if type(value) is not int:
            raise ValueError(f"{name} must be a whole number, got a {type(value).__name__}")
        if value > LARGEST[name]:
            many = "a number of many digits" if value.bit_length() > 64 else value
            raise ValueError(f"{name} of {many} is more than any such network has (at most {LARGEST[name]})")
    config = MPRNetConfig(**sizes)
    orbs = 3 * config.num_cab * 2 * (config.kernel_size * (config.n_feat + config.scale_orsnetfeats)) ** 2  # most of it
    if orbs > MOST_PARAMETERS:  # before it is traced, which takes long for many layers
        raise ValueError(f"{orbs:,} parameters and more are too many for such a network (at most {MOST_PARAMETERS:,})")
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_params(config)))
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count:,} parameters are too many for such a network (at most {MOST_PARAMETERS:,})")
    return config
