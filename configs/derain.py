"""Deraining on Rain13K, the official recipe.

python -m mprnet_jax.train --config configs/derain.py
Data: Rain13K/train/{input,target}, 13,712 pairs less those kept aside. The paper reports 32.73 dB (Y channel)
as the mean of five test sets; this recipe has not been run to its end here.
"""

from pathlib import Path

from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["deraining"],
        task="deraining",
        orientations="mirror",
        data=Path("datasets/Rain13K/train"),
        data_source=(
            "Rain13K: the training set that the MPRNet release links to (https://github.com/swz30/MPRNet, 13,712 "
            "pairs in input/ and target/), as it is or built with python -m mprnet_jax.data.build --dataset "
            "rain13k --manual-dir DOWNLOADS --data-dir datasets (then --data datasets/rain13k)"
        ),
        validation_share=0.01,  # the test sets never pick a checkpoint
        loss="charbonnier_edge",
        schedule="epochs",
        learning_rate=2e-4,
        final_learning_rate=1e-6,
        warmup_epochs=3,
        ema_decay=0,  # the official recipe has none
        patch_size=256,
        batch_size=16,
        epochs=250,
    )
