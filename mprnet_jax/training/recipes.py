"""Recipe files: what their get_config() returns, a run or several that follow each other."""

import runpy
import traceback
from pathlib import Path

from mprnet_jax.support.errors import UserError
from mprnet_jax.training.config import TrainConfig


def load_recipe(path: str | Path) -> list[TrainConfig]:
    """Run a config file and take what its get_config() returns: one TrainConfig, or a list whose parts are trained in
    order, each from the one before.

    Raises UserError if there is no such file or it gives no recipe.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such config file; the recipes are in configs/, for example configs/denoise.py")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        recipe = get_config() if callable(get_config) else None
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config file is a program, and can fail as any
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = getattr(error, "lineno", None) or (line.lineno if line.filename == str(path) else "unknown")
        raise UserError(f"{path}: line {where}: {type(error).__name__}: {error}; correct the recipe") from error
    parts = list(recipe) if isinstance(recipe, list | tuple) else [recipe]
    if not parts or not all(isinstance(part, TrainConfig) for part in parts):
        raise UserError(
            f"{path}: no recipe; a config file defines get_config(), which returns a TrainConfig or a list of them"
        )
    return parts
