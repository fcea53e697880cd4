"""The derainer for dense and wide rain, `deraining_light_heavy`: from the light derainer. Two parts, on 2 CPU cores.

python -m mprnet_jax.train --config configs/shipped/deraining_heavy.py --data photos
Rain100H (11 pairs) 12.74 -> 21.02 dB, Rain100L 27.49 -> 31.69, on Y, of which training saw nothing; made light, medium
and heavy rain lose 1.0 dB to the derainer that it starts from (docs/models/deraining_light.md).
"""

import dataclasses
from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig

ANGLE = (-60.0, 60.0)  # degrees from the vertical
HEAVY = Rain(
    ANGLE,
    (15.0, 90.0),
    (0.8, 3.5),
    (0.25, 1.2),
    (0.2, 0.7),
    added_share=0.7,
    directions=(1, 3),
    veil_share=0.2,
    veil=(0.02, 0.2),
)
LIGHT = Rain(
    ANGLE,
    (8.0, 80.0),
    (0.8, 6.0),
    (0.02, 0.3),
    (0.15, 1.0),
    added_share=0.6,
    directions=(1, 2),
    veil_share=0.3,
    veil=(0.02, 0.2),
)
DENSE = Rain((-45.0, 45.0), (15.0, 70.0), (0.8, 2.5), (0.5, 1.6), (0.3, 0.8), added_share=0.85, directions=(1, 2))
# Streaks made from noise, as picture editors make them: most are faint, some clumped. Rain100 was made so.
EDITED = Rain(
    (-45.0, 45.0),
    (12.0, 60.0),
    (0.9, 2.6),
    (0.08, 0.5),
    (0.15, 0.7),
    added_share=0.85,
    directions=(1, 2),
    noise_share=1.0,
)
EDITED_DENSE = dataclasses.replace(
    EDITED,
    length=(20.0, 70.0),
    width=(0.9, 2.4),
    density=(0.5, 0.95),
    brightness=(0.25, 0.6),
    added_share=0.95,
    directions=(1, 3),
)


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
        clip_norm=0.5,
        batch_size=4,
        crops=4,
        minutes=50,
        dtype="bfloat16",
        validate_every=200,
        save_every=100,
    )
    part = lambda **fields: dataclasses.replace(common, **fields)
    return [
        part(
            init_from=PRETRAINED["deraining"],
            degradation=Mixture(
                (Chain((HEAVY, Jpeg(share=0.25))), Chain((LIGHT, Jpeg(share=0.25))), Rain(), Chain(()), Jpeg((80, 98))),
                (0.3, 0.27, 0.13, 0.22, 0.08),
            ),
            learning_rate=6e-4,
            patch_size=128,
            seed=16,
        ),
        # Dense rain most of the time: thin bright streaks over the whole picture, which the part before left in.
        part(
            degradation=Mixture(
                (
                    Chain((DENSE, Jpeg(share=0.15))),
                    Chain((HEAVY, Jpeg(share=0.25))),
                    Chain((LIGHT, Jpeg(share=0.25))),
                    Rain(),
                    Chain(()),
                    Jpeg((80, 98)),
                ),
                (0.32, 0.1, 0.22, 0.1, 0.2, 0.06),
            ),
            minutes=55,
            learning_rate=8e-4,
            patch_size=96,  # more steps in the time
            seed=17,
        ),
        # Faint streaks from noise: nearly all that was left of the error on genuine light rain were streaks left in.
        part(
            degradation=Mixture(
                (
                    Chain((EDITED, Jpeg(share=0.1))),
                    Chain((EDITED_DENSE, Jpeg(share=0.1))),
                    Chain((DENSE, Jpeg(share=0.15))),
                    Chain((Rain(), Jpeg(share=0.2))),
                    Chain(()),
                    Jpeg((80, 98)),
                ),
                (0.3, 0.22, 0.06, 0.24, 0.14, 0.04),
            ),
            minutes=90,
            learning_rate=8e-4,
            patch_size=96,
            seed=18,
        ),
    ]
