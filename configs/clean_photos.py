"""Blind Gaussian denoising on clean photos of your own, with the published network's sizes. For a GPU or TPU.

python -m mprnet_jax.train --config configs/clean_photos.py --data photos
Optimiser, learning rate, loss and batch are those of the official denoising recipe (SIDD, 80 epochs of 6,000 steps);
the pictures are yours and the noise is made on the fly. Not run to its end: no result.
"""

from pathlib import Path

from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["denoising"],
        task="denoising",
        orientations="all",
        data=Path("photos"),
        data_source="clean photographs, the larger the better",
        degradation=Noise(sigma=(5, 50)),
        loss="charbonnier",
        clip_before_loss=True,
        schedule="epochs",
        learning_rate=2e-4,
        final_learning_rate=1e-6,
        warmup_epochs=3,
        cosine_epochs=117,  # 80 - 3 + 40: the rate never comes near its end
        weight_decay=1e-8,
        mixup_from_epoch=6,
        ema_decay=0,  # the official recipe has none
        patch_size=128,
        batch_size=16,
        crops=300,  # as many as the official recipe cuts from each SIDD photo
        epochs=80,
    )
