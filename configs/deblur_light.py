"""The light deblurrer that ships: camera shake made on clean photos, from the light denoiser's weights. On 2 CPU cores.

python -m mprnet_jax.train --config configs/deblur_light.py --workdir runs/deblur_light --data DIR
What it reached: docs/models/deblurring_light.md.
"""

from pathlib import Path

from mprnet_jax.config import TrainConfig
from mprnet_jax.data.degrade import Mixture
from mprnet_jax.data.motion_blur import MotionBlur
from mprnet_jax.model import PRESETS
from mprnet_jax.pretrained import PRETRAINED


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["light"],
        data=Path("photos"),
        held_out=Path(__file__).with_name("held_out.txt"),
        # Up to 25 pixels, the same budget gained 0.2 dB: too many kinds of blur for two thousand steps.
        # A photo that is sharp already must stay as it is.
        degradation=Mixture((MotionBlur(size=(3, 15)), MotionBlur(size=(0, 1))), (0.85, 0.15)),
        init_from=PRETRAINED["denoising"],
        loss="charbonnier_edge",
        schedule="steps",
        learning_rate=1.2e-3,
        final_learning_rate=1e-6,
        warmup_epochs=1,
        clip_norm=0.5,
        patch_size=64,  # four times the longest blur
        batch_size=8,
        crops=8,
        epochs=16,
        validate_every=300,
        save_every=200,
        seed=4,
    )
