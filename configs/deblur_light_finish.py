"""The light deblurrer that ships, second part: the same blur for more than twice the steps. On 2 CPU cores.

python -m mprnet_jax.train --config configs/deblur_light_finish.py --workdir runs/deblur_light_finish --data DIR
It starts from the bundle of configs/deblur_light.py. What it reached: docs/models/deblurring_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.config import TrainConfig

FIRST_PART = runpy.run_path(str(Path(__file__).with_name("deblur_light.py")))["get_config"]


def get_config() -> TrainConfig:
    return dataclasses.replace(
        FIRST_PART(),
        init_from=Path("runs/deblur_light/bundle"),
        learning_rate=1e-3,
        epochs=36,
        seed=8,
    )
