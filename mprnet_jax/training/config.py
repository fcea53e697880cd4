"""TrainConfig: every knob of a training run, typed, with units. A recipe is a file in configs/ that returns one.

This module stands apart from train.py because `python -m mprnet_jax.train` runs as `__main__`: a class that a config
file imported from there would be a different class.
"""

import dataclasses
import json
import math
import runpy
import traceback
from pathlib import Path
from typing import Any, Literal

from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.mixture import Chain, Mixture, Step, check_ranges
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A recipe."""

    model: MPRNetConfig
    """Sizes of the network."""
    data: Path
    """Folder of pairs (input/ and target/), of a built TFDS data set, or of clean pictures."""
    epochs: int
    """An epoch meets every picture `crops` times."""
    batch_size: int
    """Patches a step, over all devices."""
    patch_size: int
    """Side of the training crop in pixels, a multiple of 8."""
    crops: int = 1
    """Crops of each picture in an epoch."""
    held_out: Path | None = None
    """Text file with names of pictures to keep out of training, one a line; the run is validated on them."""
    validation_share: float = 0.0
    """Share of the scenes to keep out and validate on, where held_out names none."""
    scene_separator: str | None = None
    """A picture's scene is its name up to the last one of these ("-" for GoPro, "_" for SIDD); None: each its own."""
    validation_data: Path | None = None
    """Another folder to validate on; its pictures are not trained on."""
    degradation: Step | Chain | Mixture | None = None
    """What is done to a clean crop to make the input; None for pairs."""
    saturation: float = 0.0
    """Probability that both images of a pair are given another saturation, as in the official deblurring recipe."""
    on_damage: Literal["stop", "skip"] = "stop"
    """What a picture that cannot be read does to the run: stop it, or be named, counted and replaced by another."""
    cache_gb: float = 2.0
    """Memory for decoded pictures, in GB: decoding anew for every crop would cost more than the crop."""
    workers: int = 0
    """Processes that prepare batches; 0: threads, which are enough up to about four cores."""
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
    """Bundle whose parameters the run starts from, or a task whose weights ship; None: random ones."""
    seed: int = 0
    """Of the first parameters, the order of the data and every random draw."""
    log_every: int = 20
    """Steps between lines in the log."""
    validate_every: int = 500
    """Steps between validations on the held-out pictures."""
    save_every: int = 500
    """Steps between checkpoints."""
    checkpoints_kept: int = 2
    """Newest checkpoints that are kept: more than one, in case the newest is damaged."""
    best_kept: int = 1
    """Checkpoints with the best validation PSNR that are kept beside the newest, to go back to; 0: none."""
    tensorboard: bool = False
    """Also write TensorBoard event files, with strips of the validation: input, three stages, target."""

    def __post_init__(self) -> None:
        if self.patch_size % 8 or self.patch_size <= 0:
            raise UserError(f"patch_size must be a positive multiple of 8, got {self.patch_size}")
        counts = (
            "epochs batch_size crops accumulate stop_after_skipped log_every validate_every save_every checkpoints_kept"
        )
        for name in counts.split():
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "final_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("seed", "workers", "cache_gb", "weight_decay", "saturation", "validation_share", "best_kept"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.degradation is not None:
            check_ranges(self.degradation)
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UserError(f"warmup_epochs must be in 0..epochs-1, got {self.warmup_epochs} of {self.epochs}")


# Fields that a run may be continued with other values of: its batches and its steps stay the same.
WITHOUT_EFFECT = (
    *("cache_gb", "workers", "log_every", "validate_every", "save_every", "stop_after_skipped"),
    *("checkpoints_kept", "best_kept", "tensorboard"),
)


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The resolved config as what JSON can hold, for keeping beside checkpoints."""
    content = {**dataclasses.asdict(config), "degradation": _with_types(config.degradation)}
    return json.loads(json.dumps(content, default=str))


def _with_types(value: Any) -> Any:
    """A degradation as dicts that name their classes, which dataclasses.asdict leaves out."""
    if isinstance(value, Degradation):
        fields = {field.name: _with_types(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    return [_with_types(part) for part in value] if isinstance(value, tuple) else value


def keep_config(workdir: Path, config: TrainConfig) -> None:
    """Write config.json into a workdir, or compare with the one that is there.

    Raises UserError if the workdir cannot be written, or is that of another config: with the differences.
    """
    path, new = workdir / "config.json", to_json(config)
    if not path.exists():
        try:
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{workdir}: cannot be made ({error.strerror}); choose another --workdir") from error
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); choose another --workdir") from error
    # Fields that are younger than the run have had the value that changes nothing, which is their default.
    old = {**{field.name: field.default for field in dataclasses.fields(TrainConfig)}, **old}
    differing = [
        f"{field} was {old.get(field)}, is {new.get(field)}"
        for field in sorted({*old, *new} - {*WITHOUT_EFFECT})
        if old.get(field) != new.get(field)
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(differing)}); choose another --workdir, "
            "or give the config of that run"
        )


def load_config(path: str | Path) -> TrainConfig:
    """Run a config file and take what its get_config() returns.

    Raises UserError if there is no such file or it gives no TrainConfig.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such config file; the recipes are in configs/, for example configs/denoise.py")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config() if callable(get_config) else None
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config file is a program, and can fail as any
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = getattr(error, "lineno", None) or (line.lineno if line.filename == str(path) else "unknown")
        raise UserError(f"{path}: line {where}: {type(error).__name__}: {error}; correct the recipe") from error
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path}: no recipe; a config file defines get_config(), which returns a TrainConfig")
    return config
