"""Settings for all tests: four virtual CPU devices, no silent rank promotion, a compile cache between runs, and
programs that are compiled fast rather than run fast: most of the tests' time is compiling small networks."""

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

# Before JAX is imported, and for the commands that tests start, which would else compile for half a minute each.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if importlib.metadata.version("jaxlib").startswith("0.10."):  # XLA stops at a flag that it does not know
    # Without optimizations, its older code generator takes a third of the newer one's time.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import numpy as np
import pytest

from mprnet_jax.model import MPRNetConfig
from tests.helpers.photos import made_photo
from tests.helpers.tiny import TINY

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def optimised() -> Iterator[None]:
    """Programs as users run them, for tests of large pictures."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")


@pytest.fixture
def tiny() -> MPRNetConfig:
    """The smallest network that has every part."""
    return TINY


@pytest.fixture
def photo() -> np.ndarray:
    return made_photo()
