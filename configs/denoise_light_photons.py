"""The light denoiser that ships, third part: noise of light too, and pictures without any. On 2 CPU cores.

python -m mprnet_jax.train --config configs/denoise_light_photons.py --workdir runs/denoise_light_photons --data DIR
It starts from the bundle of configs/denoise_light_finish.py. What it reached: docs/models/denoising_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.data.degradations.mixture import Mixture
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.training.config import TrainConfig

SECOND_PART = runpy.run_path(str(Path(__file__).with_name("denoise_light_finish.py")))["get_config"]


def get_config() -> TrainConfig:
    recipe = SECOND_PART()
    return dataclasses.replace(
        recipe,
        init_from=Path("runs/denoise_light_finish/bundle"),
        degradation=Mixture((recipe.degradation, PoissonNoise(), Noise(sigma=(0, 1))), (0.65, 0.25, 0.1)),
        learning_rate=3e-4,
        epochs=10,
        validate_every=206,
        save_every=103,
        seed=5,
    )
