"""The light derainer that ships: streaks made on clean photos, from the light denoiser's weights. On 2 CPU cores.

python -m mprnet_jax.train --config configs/derain_light.py --workdir runs/derain_light --data DIR
What it reached: docs/models/deraining_light.md.
"""

from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig


def get_config() -> TrainConfig:
    return TrainConfig(
        model=PRESETS["light"],
        data=Path("photos"),
        held_out=Path(__file__).with_name("held_out.txt"),
        degradation=Rain(),
        # A network that knows what photographs look like learns rain sooner than a random one.
        init_from=PRETRAINED["denoising"],
        loss="charbonnier_edge",
        schedule="steps",
        learning_rate=8e-4,
        final_learning_rate=1e-6,
        warmup_epochs=1,
        clip_norm=0.5,
        patch_size=96,  # more than twice the longest streak
        batch_size=4,
        crops=4,
        epochs=18,
        validate_every=300,
        save_every=200,
        seed=3,
    )
