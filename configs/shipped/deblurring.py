"""The light deblurrer that ships: camera shake made on clean photos. On one GPU, from random parameters.

python -m mprnet_jax.train --config configs/shipped/deblurring.py --data photos
What it reached: 28.88, 25.53, 23.64 and 21.73 dB for shake of 3 to 5, 5 to 10, 10 to 15 and 15 to 25 pixels, where the
input has 26.82, 23.68, 21.87 and 20.51 (docs/models/deblurring_light.md). Without a GPU: --dtype float32 --workers 0,
and a day and a half.
"""

import dataclasses
from pathlib import Path

from mprnet_jax.data.degradations.mixture import Mixture
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        # A channel attention that squeezes 16 channels to 4 cost 0.1 dB in a short run, and saves nothing.
        model=dataclasses.replace(PRESETS["light"], reduction=1),
        task="deblurring",
        orientations="all",
        data=Path("photos"),
        data_source="clean photographs; those of the published weights are listed in docs/models/training_photos.md",
        held_out=Path(__file__).with_name("held_out.txt"),
        # A photo that is sharp already must stay as it is.
        degradation=Mixture(
            (MotionBlur(size=(3, 15)), MotionBlur(size=(15, 25)), MotionBlur(size=(0, 1))), (0.65, 0.2, 0.15)
        ),
        loss="charbonnier_edge",
        schedule="steps",
        learning_rate=1.6e-3,
        final_learning_rate=1e-6,
        warmup_epochs=3,
        clip_norm=0.5,
        patch_size=128,  # five times the longest blur
        batch_size=32,
        crops=32,
        epochs=86,
        dtype="bfloat16",
        workers=14,
        log_every=100,
        stop_after_skipped=100,
        validate_every=2000,
        save_every=4000,
        seed=4,
    )
