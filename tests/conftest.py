"""Settings for all tests: four virtual CPU devices, no silent rank promotion, a compile cache between runs."""

from pathlib import Path

import jax
import numpy as np
import pytest

from mprnet_jax.model import MPRNetConfig

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

# Reduction 1: at such widths a dead ReLU in the channel attention would look like a missing gradient.
TINY = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=4, num_cab=1, reduction=1)


@pytest.fixture
def tiny() -> MPRNetConfig:
    """The smallest network that has every part."""
    return TINY


@pytest.fixture
def photo() -> np.ndarray:
    """A made picture with gradients, edges and texture: 96 128 3 uint8."""
    y, x = np.mgrid[0:96, 0:128]
    base = np.stack([x * 2 % 256, y * 2.5 % 256, (x + y) % 256], axis=-1)
    base[20:50, 30:70] = [200, 40, 90]
    base += 15 * np.sin(x / 2)[..., None]
    return np.clip(base, 0, 255).astype(np.uint8)
