"""The light derainer that ships, second part: one crop in four has no rain, and must stay as it is. On 2 CPU cores.

python -m mprnet_jax.train --config configs/derain_light_finish.py --workdir runs/derain_light_finish --data DIR
It starts from the bundle of configs/derain_light.py. What it reached: docs/models/deraining_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.data.degradations.mixture import Mixture
from mprnet_jax.data.degradations.rain import Rain
from mprnet_jax.training.config import TrainConfig

FIRST_PART = runpy.run_path(str(Path(__file__).with_name("derain_light.py")))["get_config"]


def get_config() -> TrainConfig:
    return dataclasses.replace(
        FIRST_PART(),
        init_from=Path("runs/derain_light/bundle"),
        degradation=Mixture((Rain(), Rain(density=(0, 0))), (0.75, 0.25)),
        learning_rate=3e-4,
        epochs=3,
        seed=6,
    )
