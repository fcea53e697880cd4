"""TrainConfig: every knob of a training run, typed, with units. A recipe is a file in configs/ that returns one.

This module stands apart from train.py because `python -m mprnet_jax.train` runs as `__main__`: a class that a config
file imported from there would be a different class.
"""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any, Literal

from mprnet_jax.data.degrade import Noise
from mprnet_jax.errors import UserError
from mprnet_jax.model import MPRNetConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A recipe."""

    model: MPRNetConfig
    """Sizes of the network."""
    photos: Path
    """Folder of clean pictures to train on."""
    epochs: int
    """An epoch meets every picture crops_per_photo times."""
    batch_size: int
    """Patches a step, over all devices."""
    patch_size: int
    """Side of the training crop in pixels, a multiple of 8."""
    held_out: Path | None = None
    """Text file with names of pictures to keep out of training, one a line; the run is validated on them."""
    crops_per_photo: int = 1
    """Crops of each picture in an epoch."""
    degradation: Noise = Noise()  # noqa: RUF009  (frozen)
    """What is done to a clean crop to make the input."""
    loss: Literal["charbonnier", "charbonnier_edge"] = "charbonnier"
    """Loss of one stage; the three stages are summed."""
    clip_before_loss: bool = False
    """Clip the restored images to [0, 1] before the loss, as the official denoising recipe does."""
    schedule: Literal["epochs", "steps"] = "epochs"
    """epochs: the official schedule, constant within an epoch. steps: warm-up and cosine at every step."""
    learning_rate: float = 2e-4
    """Peak learning rate of Adam (0.9, 0.999)."""
    final_learning_rate: float = 1e-6
    """Where the cosine ends."""
    warmup_epochs: int = 3
    """Linear rise to the peak; may be 0."""
    cosine_epochs: int | None = None
    """T_max of the official schedule in epochs; None: epochs - warmup_epochs."""
    weight_decay: float = 0.0
    """L2, added to the gradient before Adam's moments."""
    clip_norm: float | None = None
    """Largest global norm of the gradient; None: not clipped, as in the official recipes."""
    ema_decay: float = 0.999
    """Of the moving average of the parameters, which is what the bundle gets; 0: no averaging."""
    mixup_from_epoch: int | None = None
    """MixUp from this epoch on (1 is the first); None: never."""
    accumulate: int = 1
    """Parts that a batch is met in, one after another: the same step for less memory."""
    remat: bool = False
    """Compute features again for the gradient instead of keeping them: less memory on GPUs and TPUs, a third slower."""
    stop_after_skipped: int = 10
    """Steps that are not finite leave no trace; after this many in a row the run stops."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters stay float32."""
    init_from: Path | None = None
    """Bundle whose parameters the run starts from; None: random ones."""
    seed: int = 0
    """Of the first parameters, the order of the data and every random draw."""
    log_every: int = 20
    """Steps between lines in the log."""
    validate_every: int = 500
    """Steps between validations on the held-out pictures."""
    save_every: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if self.patch_size % 8 or self.patch_size <= 0:
            raise UserError(f"patch_size must be a positive multiple of 8, got {self.patch_size}")
        counts = "epochs batch_size crops_per_photo accumulate stop_after_skipped log_every validate_every save_every"
        for name in counts.split():
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UserError(f"warmup_epochs must be in 0..epochs-1, got {self.warmup_epochs} of {self.epochs}")


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The resolved config as what JSON can hold, for keeping beside checkpoints."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def load_config(path: str | Path) -> TrainConfig:
    """Run a config file and take what its get_config() returns.

    Raises UserError if there is no such file or it gives no TrainConfig.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such config file; the recipes are in configs/, for example configs/denoise.py")
    get_config = runpy.run_path(str(path)).get("get_config")
    config = get_config() if callable(get_config) else None
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path}: no recipe; a config file defines get_config(), which returns a TrainConfig")
    return config
