"""Light weights that ship, trained further on pairs of your own (input/, target/): minutes on a CPU.

python -m mprnet_jax.train --config configs/finetune_light.py --workdir runs/mine --data DIR [--init-from deraining]
A fifth of the pairs is kept out and validated on. What it gave on ten pairs: docs/train.md.
"""

from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["light"],
        data=Path("mine"),
        validation_share=0.2,
        init_from=PRETRAINED["denoising"],
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
