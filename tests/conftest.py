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

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Reduction 1: at such widths a dead ReLU in the channel attention would look like a missing gradient.
TINY = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=4, num_cab=1, reduction=1)


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


def made_photo() -> np.ndarray:
    """A made picture with gradients, edges and texture: 96 128 3 uint8."""
    y, x = np.mgrid[0:96, 0:128]
    base = np.stack([x * 2 % 256, y * 2.5 % 256, (x + y) % 256], axis=-1)
    base[20:50, 30:70] = [200, 40, 90]
    base += 15 * np.sin(x / 2)[..., None]
    return np.clip(base, 0, 255).astype(np.uint8)
