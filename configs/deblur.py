"""Motion deblurring on GoPro, the official recipe.

python -m mprnet_jax.train --config configs/deblur.py
Data: GoPro, 2,103 pairs less those kept aside. The paper reports
32.66 dB on GoPro's test set; this recipe has not been run to its end here.
"""

from pathlib import Path

from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["deblurring"],
        task="deblurring",
        orientations="all",
        data=Path("datasets/GoPro/train"),
        data_source=(
            "GoPro: GOPRO_Large.zip of https://seungjunnah.github.io/Datasets/gopro (2,103 pairs to train on), "
            "unpacked (--data datasets/GOPRO_Large), or built with python -m mprnet_jax.data.build --dataset gopro "
            "--manual-dir DOWNLOADS --data-dir datasets (then --data datasets/gopro)"
        ),
        validation_share=0.05,  # of the scenes: the test set never picks a checkpoint
        scene_separator="-",
        saturation=1 / 3,
        loss="charbonnier_edge",
        schedule="epochs",
        learning_rate=2e-4,
        final_learning_rate=1e-6,
        warmup_epochs=3,
        ema_decay=0,  # the official recipe has none
        patch_size=256,
        batch_size=16,
        epochs=3000,
    )
