"""The network for programs without this package: one module for each format, and what they have in common."""

import dataclasses
import datetime
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
    """Of the example (example.py)."""
    load: str
    """Lines of the example that make `network` from `path`."""
    restore: str
    """Lines of the example that make `restored` from `padded`, both H W 3 float32."""
    guaranteed_days: int | None = None
    """For so long newer versions of what runs it are guaranteed to; None: without an end."""
    written_by: str = "mprnet_jax"
    """The package whose version decides who can run it."""

    def guaranteed_until(self, written: datetime.date) -> str | None:
        """The last day of the guarantee, as 2027-05-26, for a file of that day."""
        return None if self.guaranteed_days is None else str(written + datetime.timedelta(self.guaranteed_days))


def output_names(stages: int, every_stage: bool) -> list[str]:
    """["stage3"], or ["stage3", "stage2", "stage1"] with every stage."""
    return [f"stage{stage}" for stage in range(stages, 0 if every_stage else stages - 1, -1)]
