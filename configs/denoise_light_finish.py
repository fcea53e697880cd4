"""The light denoiser that ships, second part: larger patches, the learning rate falling to its end. On 2 CPU cores.

python -m mprnet_jax.train --config configs/denoise_light_finish.py --workdir runs/denoise_light_finish --data DIR
It starts from the bundle of configs/denoise_light.py. What it reached: docs/models/denoising_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.training.config import TrainConfig

FIRST_PART = runpy.run_path(str(Path(__file__).with_name("denoise_light.py")))["get_config"]


def get_config() -> TrainConfig:
    return dataclasses.replace(
        FIRST_PART(),
        init_from=Path("runs/denoise_light/bundle"),
        learning_rate=4e-4,
        final_learning_rate=1e-6,
        warmup_epochs=0,
        # The channel attention averages over what it sees: patches nearer to a photo's size bring its means nearer.
        patch_size=128,
        batch_size=4,
        crops=4,
        epochs=9,
        seed=2,
    )
