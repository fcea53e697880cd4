"""The network for programs without this package: one module for each format, and what they have in common."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.model import MPRNetConfig

Network = Callable[[np.ndarray], list[np.ndarray]]  # N H W 3 float32 -> the restored images, the last stage first


@dataclasses.dataclass(frozen=True)
class Format:
    """How a network is written, and run again without this package."""

    file: str
    """Name of the file."""
    write: Callable[[Path, Bundle, int, bool], None]
    """path, bundle, stages, every_stage (the outputs of earlier stages, too)."""
    read: Callable[[Path, MPRNetConfig], Network]
    """The network as a user of the file gets it."""
    packages: tuple[str, ...]
    """From PyPI, that running it needs."""
    imports: str
    """Of the example (exporting/example.py)."""
    load: str
    """Lines of the example that make `network` from `path`."""
    restore: str
    """Lines of the example that make `restored` from `padded`, both H W 3 float32."""


def output_names(stages: int, every_stage: bool) -> list[str]:
    """["stage3"], or ["stage3", "stage2", "stage1"] with every stage."""
    return [f"stage{stage}" for stage in range(stages, 0 if every_stage else stages - 1, -1)]
