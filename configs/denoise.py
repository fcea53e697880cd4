"""Denoising of real photos on SIDD, the official recipe.

python tools/prepare_sidd.py SIDD_Medium_Srgb --output datasets/SIDD/train
python -m mprnet_jax.train --config configs/denoise.py
Data: SIDD Medium sRGB, 320 pairs of photos, 300 patches of 256 pixels from each; less the scenes kept aside. The paper
reports 39.71 dB on SIDD's validation blocks; this recipe has not been run to its end here.
"""

from pathlib import Path

from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["denoising"],
        task="denoising",
        orientations="all",
        data=Path("datasets/SIDD/train"),
        data_source=(
            "SIDD-Medium sRGB: https://www.eecs.yorku.ca/~kamel/sidd (320 pairs of photos), cut with python "
            "tools/prepare_sidd.py SIDD_Medium_Srgb --output datasets/SIDD/train"
        ),
        # Of the scenes, so that the benchmark never picks a checkpoint: 2 of 160, which are 1,200 patches, about as
        # many as the 1,280 that the official training is validated on.
        validation_share=0.0125,
        scene_separator="_",
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
        epochs=80,
        validate_every=2000,  # three times an epoch of 6,000 steps
        save_every=2000,
    )
