"""The light denoiser that ships: made noise, then a camera's and what JPEG makes of it. In six parts, on 2 CPU cores.

python -m mprnet_jax.train --config configs/shipped/denoising.py --data photos
Parts 1 to 3 (about 145 minutes): 31.71, 29.02 and 25.64 dB at sigma 15, 25 and 50, where the input has 24.84, 20.57 and
15.08 (docs/models/denoising_light.md). Parts 4 to 6 (75, 33 and 65 minutes) bring genuine noise of DSLRs
from 37.06 to 40.2 dB, and of a phone from 31.57 to 42.1.
"""

import dataclasses
from pathlib import Path

from mprnet_jax.data.degradations.camera_noise import DSLR, PHONE, SMOOTH_COLOURS, CameraNoise
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig

GAUSSIAN = Noise(sigma=(5, 50), camera_share=0.3)
PHOTONS = (200.0, 20_000.0)  # for white: a bright day to a dim room
CAMERA = CameraNoise(photons=PHOTONS)


def get_config() -> list[TrainConfig]:
    """What the parts share, then what is another in each."""
    common = TrainConfig(
        model=PRESETS["light"],
        task="denoising",
        orientations="all",
        data=Path("photos"),
        data_source="clean photographs; those of the published weights are listed in docs/models/training_photos.md",
        held_out=Path(__file__).with_name("held_out.txt"),
        degradation=GAUSSIAN,
        loss="charbonnier",
        schedule="steps",
        warmup_epochs=0,
        final_learning_rate=1e-6,
        clip_norm=0.5,  # about three times the usual norm: only outliers are cut
        # The channel attention averages over what it sees: patches nearer to a photo's size bring its means nearer.
        patch_size=128,
        batch_size=4,
        crops=4,
        epochs=9,
    )
    part = lambda **fields: dataclasses.replace(common, **fields)
    return [
        # Small patches first. Five times the official rate: the budget is thousands of steps, not 100 times as many.
        part(
            patch_size=64,
            batch_size=8,
            crops=8,
            epochs=40,
            warmup_epochs=1,
            learning_rate=1e-3,
            final_learning_rate=4e-4,  # the second part goes on from here
            seed=1,
        ),
        part(learning_rate=4e-4, seed=2),
        # Noise of light too, and pictures without any.
        part(
            degradation=Mixture((GAUSSIAN, PoissonNoise(), Noise(sigma=(0, 1))), (0.65, 0.25, 0.1)),
            learning_rate=3e-4,
            epochs=10,
            validate_every=206,
            save_every=103,
            seed=5,
        ),
        # What real photographs have: noise through a camera's processing, made smaller afterwards, saved as JPEG.
        part(
            degradation=Mixture(
                (
                    Noise((0.0, 55.0)),
                    Chain((Noise((5.0, 50.0)), Jpeg())),
                    PoissonNoise((20.0, 2000.0)),
                    CAMERA,
                    Chain((CAMERA, Jpeg())),
                    Chain((CameraNoise(photons=PHOTONS, scale=(1.2, 3.0)), Jpeg(share=0.5))),
                    Chain(()),
                    Jpeg((80, 98)),
                ),
                (0.30, 0.17, 0.05, 0.20, 0.13, 0.05, 0.04, 0.06),
            ),
            dtype="bfloat16",
            epochs=None,
            minutes=75,
            learning_rate=6e-4,
            validate_every=250,
            save_every=100,
            seed=16,
        ),
        # More JPEGs and more photons, which the part before had cost 0.3 dB; slower blotches, and phones in low light.
        part(
            degradation=Mixture(
                (
                    Noise((0.0, 55.0)),
                    Chain((Noise((5.0, 50.0)), Jpeg())),
                    PoissonNoise((20.0, 2000.0)),
                    DSLR,
                    PHONE,
                    Chain((DSLR, Jpeg())),
                    Chain((CameraNoise(photons=PHOTONS, scale=(1.2, 3.0)), Jpeg(share=0.5))),
                    Chain(()),
                    Jpeg((80, 98)),
                ),
                (0.28, 0.20, 0.10, 0.13, 0.05, 0.11, 0.04, 0.05, 0.04),
            ),
            dtype="bfloat16",
            epochs=None,
            minutes=33,
            learning_rate=6e-4,
            validate_every=250,
            save_every=100,
            seed=18,
        ),
        # Cameras smooth colours over two pixels and leave luma alone, which the parts before had tied together.
        part(
            degradation=Mixture(
                (
                    Noise((0.0, 55.0)),
                    Chain((Noise((5.0, 50.0)), Jpeg())),
                    PoissonNoise((20.0, 2000.0)),
                    SMOOTH_COLOURS,
                    DSLR,
                    PHONE,
                    Chain((SMOOTH_COLOURS, Jpeg((80, 98)))),
                    Chain((DSLR, Jpeg())),
                    Chain((CameraNoise(photons=PHOTONS, scale=(1.2, 3.0)), Jpeg(share=0.5))),
                    Chain(()),
                    Jpeg((80, 98)),
                ),
                (0.24, 0.13, 0.08, 0.20, 0.04, 0.11, 0.05, 0.05, 0.03, 0.04, 0.03),
            ),
            epochs=None,
            minutes=65,
            learning_rate=6e-4,
            validate_every=400,
            save_every=100,
            seed=31,
        ),
    ]
