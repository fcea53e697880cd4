"""The light derainer that ships: streaks made on clean photos, from the light denoiser. In four parts, on 2 CPU cores.

python -m mprnet_jax.train --config configs/shipped/deraining.py --data photos
Parts 1 to 4: 36.34, 33.02 and 29.62 dB (Y) in light, medium and heavy made rain, where the input has 32.92, 24.41 and
17.81; 38.64 dB without rain (docs/models/deraining_light.md).
"""

import dataclasses
from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.degradations.mixture import Mixture
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig

DRY = Rain(density=(0, 0))


def get_config() -> list[TrainConfig]:
    """What the parts share, then what is another in each."""
    common = TrainConfig(
        model=PRESETS["light"],
        task="deraining",
        orientations="mirror",  # rain falls down
        data=Path("photos"),
        data_source="clean photographs; those of the published weights are listed in docs/models/training_photos.md",
        held_out=Path(__file__).with_name("held_out.txt"),
        loss="charbonnier_edge",
        schedule="steps",
        final_learning_rate=1e-6,
        warmup_epochs=1,
        clip_norm=0.5,
        patch_size=96,  # more than twice the longest streak
        batch_size=4,
        crops=4,
        epochs=18,
        validate_every=300,
        save_every=200,
    )
    part = lambda **fields: dataclasses.replace(common, **fields)
    return [
        # A network that knows what photographs look like learns rain sooner than a random one. These were the
        # denoiser's weights of commit cd9c891; those that ship now are others, and the run refuses them.
        part(
            init_from=PRETRAINED["denoising"],
            init_from_sha256="d4e5a497b3dc514203d5f21a7937a6917b0d2157d6640519ed5280345d9cf0cd",
            degradation=Rain(),
            learning_rate=8e-4,
            seed=3,
        ),
        # From here on some crops have no rain, and must stay as they are: one in four, four in ten, half of them.
        part(degradation=Mixture((Rain(), DRY), (0.75, 0.25)), learning_rate=3e-4, epochs=3, seed=6),
        part(degradation=Mixture((Rain(), DRY), (0.6, 0.4)), learning_rate=4e-4, epochs=5, seed=9),
        part(degradation=Mixture((Rain(), DRY), (0.5, 0.5)), learning_rate=4e-4, epochs=5, seed=10),
    ]
