"""The light denoiser that ships, first part: small patches. On 2 CPU cores.

python -m mprnet_jax.train --config configs/denoise_light.py --workdir runs/denoise_light --data DIR
Then configs/denoise_light_finish.py. What it reached: docs/models/denoising_light.md.
"""

from pathlib import Path

from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["light"],
        data=Path("photos"),
        held_out=Path(__file__).with_name("held_out.txt"),
        degradation=Noise(sigma=(5, 50), camera_share=0.3),
        loss="charbonnier",
        schedule="steps",
        # Five times the official rate: the budget is thousands of steps, not hundreds of thousands.
        learning_rate=1e-3,
        final_learning_rate=4e-4,  # the second part goes on from here
        warmup_epochs=1,
        clip_norm=0.5,  # about three times the usual norm: only outliers are cut
        patch_size=64,
        batch_size=8,
        crops=8,
        epochs=40,
        seed=1,
    )
