"""The light denoiser that ships, third part: also the noise of counted photons. On 2 CPU cores.

python -m mprnet_jax.train --config configs/denoise_light_poisson.py --workdir runs/denoise_light_poisson --data DIR
It starts from the bundle of configs/denoise_light_finish.py. What it reached: docs/models/denoising_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.config import TrainConfig
from mprnet_jax.data.degrade import Mixture
from mprnet_jax.data.noise import Noise, PoissonNoise

SECOND_PART = runpy.run_path(str(Path(__file__).with_name("denoise_light_finish.py")))["get_config"]


def get_config() -> TrainConfig:
    return dataclasses.replace(
        SECOND_PART(),
        init_from=Path("runs/denoise_light_finish/bundle"),
        degradation=Mixture((Noise(sigma=(1, 50), camera_share=0.3), PoissonNoise()), (0.7, 0.3)),
        learning_rate=3e-4,
        validate_every=300,
        save_every=200,
        seed=5,
    )
