"""The light deblurrer that ships: shake and video blur made on clean photos. Part 1 on a GPU, 2 to 4 on 2 CPU cores.

python -m mprnet_jax.train --config configs/shipped/deblurring.py --data photos
Part 1: 28.88, 25.53, 23.64 and 21.73 dB for shake of 3 to 5, 5 to 10, 10 to 15 and 15 to 25 pixels, where the
input has 26.82, 23.68, 21.87 and 20.51. Part 1 without a GPU: --dtype float32 --workers 0, and a day and a half.
Parts 2 to 4 bring video blur of GoPro from 22.31 to 22.98 dB; 2 and 4 are averaged with what they began from, and 3
begins from such an average (docs/models/deblurring_light.md has the commands).
"""

import dataclasses
from pathlib import Path

from mprnet_jax.data.degradations.camera_noise import CameraNoise
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.data.degradations.softness import Softness
from mprnet_jax.data.degradations.video_blur import VideoBlur
from mprnet_jax.model import PRESETS
from mprnet_jax.training.config import TrainConfig

VIDEO = VideoBlur((4.0, 34.0), turn=(0.0, 1.0), defocus_share=0.05, stored_share=0.75)
FAINT = CameraNoise(photons=(1_000.0, 50_000.0), push=(1.0, 4.0))
SOFT_VIDEO = Chain((Softness(), VIDEO)), Chain((Softness(), VIDEO, FAINT, Jpeg((75, 98), share=0.4)))
SAVED_SHAKE = Chain((MotionBlur((3.0, 25.0)), Noise((0.0, 3.0)), Jpeg((80, 98), share=0.5)))


def get_config() -> list[TrainConfig]:
    """What the parts share, then what is another in each."""
    common = TrainConfig(
        # A channel attention that squeezes 16 channels to 4 cost 0.1 dB in a short run, and saves nothing.
        model=dataclasses.replace(PRESETS["light"], reduction=1),
        task="deblurring",
        orientations="all",
        data=Path("photos"),
        data_source="clean photographs; those of the published weights are listed in docs/models/training_photos.md",
        held_out=Path(__file__).with_name("held_out.txt"),
        loss="charbonnier_edge",
        schedule="steps",
        final_learning_rate=1e-6,
        clip_norm=0.5,
        patch_size=128,  # five times the longest blur
        epochs=86,
        dtype="bfloat16",
    )
    part = lambda **fields: dataclasses.replace(common, **fields)
    on_cpu = lambda **fields: part(epochs=None, batch_size=4, crops=4, **fields)
    return [
        part(
            # A photo that is sharp already must stay as it is.
            degradation=Mixture(
                (MotionBlur(size=(3, 15)), MotionBlur(size=(15, 25)), MotionBlur(size=(0, 1))), (0.65, 0.2, 0.15)
            ),
            learning_rate=1.6e-3,
            warmup_epochs=3,
            batch_size=32,
            crops=32,
            workers=14,
            log_every=100,
            stop_after_skipped=100,
            validate_every=2000,
            save_every=4000,
            seed=4,
        ),
        # Blur as in videos; noise and JPEG after nearly every blur, a little of which had switched the network off.
        on_cpu(
            degradation=Mixture(
                (
                    Chain((VideoBlur((3.0, 32.0)), FAINT, Jpeg((75, 98), share=0.4))),
                    VideoBlur((3.0, 32.0), defocus_share=0.0),
                    SAVED_SHAKE,
                    MotionBlur((3.0, 20.0)),
                    Chain((FAINT, Jpeg((80, 98), share=0.5))),
                    Chain(()),
                ),
                (0.34, 0.14, 0.26, 0.14, 0.04, 0.08),
            ),
            minutes=60,
            learning_rate=6e-4,
            validate_every=250,
            save_every=100,
            seed=16,
        ),
        # Softer pixels, as cameras' are, and truths at the mean of the path: part 2 had hardly learned blur of videos.
        on_cpu(
            degradation=Mixture(
                (
                    *SOFT_VIDEO,
                    VIDEO,
                    MotionBlur((3.0, 22.0)),
                    SAVED_SHAKE,
                    Chain((Softness(), FAINT, Jpeg((80, 98), share=0.5))),
                    Chain((Softness(share=0.5),)),
                ),
                (0.32, 0.12, 0.14, 0.18, 0.14, 0.03, 0.07),
            ),
            minutes=105,
            learning_rate=6e-4,
            validate_every=1000,
            save_every=200,
            seed=21,
        ),
        # Short shake of sharp photos again, which part 3 had begun to take for soft pixels.
        on_cpu(
            degradation=Mixture(
                (
                    *SOFT_VIDEO,
                    VIDEO,
                    MotionBlur((3.0, 8.0)),
                    MotionBlur((3.0, 22.0)),
                    SAVED_SHAKE,
                    Chain((Softness(share=0.5), Jpeg((80, 98), share=0.3))),
                ),
                (0.24, 0.08, 0.08, 0.24, 0.16, 0.12, 0.08),
            ),
            minutes=17,
            learning_rate=4e-4,
            validate_every=10_000,
            save_every=200,
            seed=22,
        ),
    ]
