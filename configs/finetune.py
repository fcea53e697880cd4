"""Any weights, trained further on pairs of your own (input/, target/): with those that ship, minutes on a CPU.

python -m mprnet_jax.train --config configs/finetune.py --data mine [--init-from deraining]
A fifth of the pairs is kept out and validated on. Result on ten pairs of SIDD: 41.97 -> 45.68 dB (docs/train.md).
"""

from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=None,  # the sizes of what it starts from
        data=Path("mine"),
        data_source="pairs of your own, input/ and target/; ten are a beginning",
        validation_share=0.2,
        init_from=PRETRAINED["denoising"],  # or --init-from with a task or a bundle's folder
        loss="charbonnier",
        schedule="steps",
        learning_rate=2e-4,  # a fifth of what the weights were made with: they are to be kept, not replaced
        final_learning_rate=1e-6,
        warmup_epochs=1,
        clip_norm=0.5,
        ema_decay=0.99,  # the run is short
        patch_size=64,
        batch_size=8,
        crops=32,
        epochs=6,
        validate_every=50,
        save_every=100,
        seed=1,
    )
