"""The light derainer that ships: rain made on clean photos, from the light denoiser. In eight parts, on 2 CPU cores.

python -m mprnet_jax.train --config configs/shipped/deraining.py --data photos
Parts 1 to 4: thin streaks, drop by drop; 5 to 8: all widths and areas, and streaks from noise. On Y, 11 pairs each, of
which training saw nothing: Rain100L 27.49 -> 34.30 dB, Rain100H 12.74 -> 26.23 (docs/models/deraining_light.md).
"""

import dataclasses
from pathlib import Path

from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig

DRY = Rain(density=(0, 0))

# Parts 5 and 6: rain of all widths, lengths and areas, added or screened.
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

# Parts 7 and 8: streaks from noise, as picture editors make them. Most are faint, some clumped; Rain100 was made so.
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
EDITED_WIDE = dataclasses.replace(
    EDITED, length=(8.0, 60.0), width=(1.2, 6.0), density=(0.03, 0.35), brightness=(0.25, 1.0)
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


def then_jpeg(rain: Degradation, share: float) -> Chain:
    """Rain, of which a share is then saved as a JPEG."""
    return Chain((rain, Jpeg(share=share)))


def edited(shares: dict[float, Degradation], thin: float) -> Mixture:
    """Rain by its share of the crops; the rest as in both last parts: `thin` streaks, and a fifth without rain."""
    rest = {thin: then_jpeg(Rain(), 0.2), 0.14: Chain(()), 0.04: Jpeg((80, 98))}
    return Mixture((*shares.values(), *rest.values()), (*shares, *rest))


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
        patch_size=96,
        batch_size=4,
        crops=4,
        minutes=50,
    )
    part = lambda **fields: dataclasses.replace(common, **fields)
    by_epochs = lambda **fields: part(minutes=None, warmup_epochs=1, validate_every=300, save_every=200, **fields)
    by_the_clock = lambda **fields: part(dtype="bfloat16", validate_every=200, save_every=100, **fields)
    dry, compressed = Chain(()), Jpeg((80, 98))
    return [
        # A network that knows what photographs look like learns rain sooner than a random one. These were the
        # denoiser's weights of commit cd9c891; those that ship now are others, and the run refuses them.
        by_epochs(
            init_from=PRETRAINED["denoising"],
            init_from_sha256="d4e5a497b3dc514203d5f21a7937a6917b0d2157d6640519ed5280345d9cf0cd",
            degradation=Rain(),
            learning_rate=8e-4,
            epochs=18,
            seed=3,
        ),
        # From here on some crops have no rain, and must stay as they are: one in four, four in ten, half of them.
        by_epochs(degradation=Mixture((Rain(), DRY), (0.75, 0.25)), learning_rate=3e-4, epochs=3, seed=6),
        by_epochs(degradation=Mixture((Rain(), DRY), (0.6, 0.4)), learning_rate=4e-4, epochs=5, seed=9),
        by_epochs(degradation=Mixture((Rain(), DRY), (0.5, 0.5)), learning_rate=4e-4, epochs=5, seed=10),
        by_the_clock(
            degradation=Mixture(
                (then_jpeg(HEAVY, 0.25), then_jpeg(LIGHT, 0.25), Rain(), dry, compressed),
                (0.3, 0.27, 0.13, 0.22, 0.08),
            ),
            learning_rate=6e-4,
            patch_size=128,
            seed=16,
        ),
        # Dense rain most of the time: thin bright streaks over the whole picture, which the part before left in.
        by_the_clock(
            degradation=Mixture(
                (
                    then_jpeg(DENSE, 0.15),
                    then_jpeg(HEAVY, 0.25),
                    then_jpeg(LIGHT, 0.25),
                    Rain(),
                    dry,
                    compressed,
                ),
                (0.32, 0.1, 0.22, 0.1, 0.2, 0.06),
            ),
            minutes=55,
            learning_rate=8e-4,
            seed=17,
        ),
        # Faint streaks from noise: nearly all that was left of the error on genuine light rain were streaks left in.
        by_the_clock(
            degradation=edited(
                {0.3: then_jpeg(EDITED, 0.1), 0.22: then_jpeg(EDITED_DENSE, 0.1), 0.06: then_jpeg(DENSE, 0.15)},
                thin=0.24,
            ),
            minutes=85,
            learning_rate=8e-4,
            seed=18,
        ),
        # What part 7 still left in genuine light rain: wide and bright streaks, single ones, short ones.
        by_the_clock(
            degradation=edited(
                {0.32: then_jpeg(EDITED_WIDE, 0.1), 0.14: then_jpeg(EDITED, 0.1), 0.16: then_jpeg(EDITED_DENSE, 0.1)},
                thin=0.2,
            ),
            minutes=28,
            learning_rate=5e-4,
            seed=19,
        ),
    ]
