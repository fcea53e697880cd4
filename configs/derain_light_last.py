"""The light derainer that ships, third part: four crops in ten have no rain. On 2 CPU cores.

python -m mprnet_jax.train --config configs/derain_light_last.py --workdir runs/derain_light_last --data DIR
It starts from the bundle of configs/derain_light_finish.py. What it reached: docs/models/deraining_light.md.
"""

import dataclasses
import runpy
from pathlib import Path

from mprnet_jax.training.config import TrainConfig

SECOND_PART = runpy.run_path(str(Path(__file__).with_name("derain_light_finish.py")))["get_config"]


def get_config() -> TrainConfig:
    recipe = SECOND_PART()
    return dataclasses.replace(
        recipe,
        init_from=Path("runs/derain_light_finish/bundle"),
        degradation=dataclasses.replace(recipe.degradation, weights=(0.6, 0.4)),
        learning_rate=4e-4,
        epochs=5,
        seed=9,
    )
