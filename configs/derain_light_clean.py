"""The light derainer that ships, fourth part: half of the crops have no rain. On 2 CPU cores.

python -m mprnet_jax.train --config configs/derain_light_clean.py --workdir runs/derain_light_clean --data DIR
It starts from the bundle of configs/derain_light_last.py. What it reached: docs/models/deraining_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.training.config import TrainConfig

THIRD_PART = runpy.run_path(str(Path(__file__).with_name("derain_light_last.py")))["get_config"]


def get_config() -> TrainConfig:
    recipe = THIRD_PART()
    return dataclasses.replace(
        recipe,
        init_from=Path("runs/derain_light_last/bundle"),
        degradation=dataclasses.replace(recipe.degradation, weights=(0.5, 0.5)),
        seed=10,
    )
