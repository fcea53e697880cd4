"""TrainConfig: every setting of a training run, typed, with units. A recipe is a file in configs/ that returns one, or
a list of them.

This module stands apart from train.py because `python -m mprnet_jax.train` runs as `__main__`: a class that a config
file imported from there would be a different class.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

from mprnet_jax.data.degradations.base import Degradation
from mprnet_jax.data.degradations.mixture import Chain, Mixture, Step, check_ranges
from mprnet_jax.model import MPRNetConfig
from mprnet_jax.support.errors import UserError

LENGTHS = ("epochs", "steps", "minutes")  # fields that say how long a run is: exactly one of them is set


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A recipe. Raises UserError for values that make no run."""

    model: MPRNetConfig | None
    """Sizes of the network; None: those of the bundle that the run starts from."""
    data: Path
    """Folder of pairs (input/ and target/), of a built TFDS data set, or of clean pictures."""
    epochs: int | None = None
    """Length of the run: passes over the data, each with `crops` random crops of every picture."""
    batch_size: int = 4
    """Patches a step, over all devices."""
    patch_size: int = 128
    """Side of the training crop in pixels, a multiple of 8."""
    crops: int = 1
    """Random crops of each picture per epoch."""
    steps: int | None = None
    """Length of the run in steps, instead of epochs: warm-up and cosine are laid over them."""
    minutes: float | None = None
    """Length of the run in minutes of wall time, instead of epochs. Warm-up, cosine and patch sizes are laid over them;
    the last validation and the bundle are included, and so is the time before a stop."""
    patch_sizes: tuple[int, ...] = ()
    """Progressive training: sides of the crops, one after another, instead of patch_size."""
    patch_shares: tuple[float, ...] = ()
    """Share of the run for each of patch_sizes, in proportion; none given: equal ones. batch_size is that of the first
    size; larger ones get fewer patches, so that a step has about as many pixels."""
    task: Literal["deblurring", "denoising", "deraining"] | None = None
    """What the network is for, as the bundle says to the commands; None: as the bundle that the run starts from."""
    orientations: Literal["all", "mirror", "none"] | None = None
    """Flips and turns that leave the task as it is, for --self-ensemble: all eight, the left-right mirror alone (rain
    falls down) or none; None: as the bundle that the run starts from, or else all."""
    held_out: Path | None = None
    """Text file with names of pictures to keep out of training, one a line; the run is validated on them."""
    validation_share: float = 0.0
    """Share of the scenes to keep out and validate on, where held_out names none."""
    scene_separator: str | None = None
    """A picture's scene is its name up to the last one of these ("-" for GoPro, "_" for SIDD); None: each its own."""
    validation_data: tuple[Path, ...] = ()
    """Other folders to validate on, each FOLDER or NAME=FOLDER; their pictures are not trained on."""
    data_source: str = ""
    """Where the data of this recipe come from; shown when they are missing."""
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
    """For runs of so many epochs. epochs: the official schedule, constant within an epoch. steps: warm-up and cosine at
    every step."""
    learning_rate: float = 2e-4
    """Peak learning rate of Adam (0.9, 0.999)."""
    final_learning_rate: float = 1e-6
    """Where the cosine ends."""
    warmup_epochs: int = 3
    """Linear rise to the peak; may be 0. Runs of so many steps or minutes warm up for 3 % of them."""
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
    """Micro-batches per step (gradient accumulation): the same step for less memory."""
    remat: bool = False
    """Compute features again for the gradient instead of keeping them: less memory on GPUs and TPUs, a third slower."""
    stop_after_skipped: int = 10
    """Steps that are not finite are skipped; after this many in a row the run stops."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters stay float32."""
    init_from: Path | None = None
    """Bundle whose parameters the run starts from, or a task whose weights ship; None: random ones."""
    init_from_sha256: str | None = None
    """SHA-256 of the SHA256SUMS file in that bundle, which names it: another bundle is refused. None: any."""
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
    """Checkpoints with the best validation that are kept beside the newest, to go back to; 0: none."""
    tensorboard: bool = False
    """Also write TensorBoard event files, with strips of the validation: input, three stages, target."""

    def __post_init__(self) -> None:
        if isinstance(self.validation_data, str | Path):  # one folder, as recipes wrote it before there could be more
            object.__setattr__(self, "validation_data", (Path(self.validation_data),))
        self._check_length()
        self._check_patches()
        counts = "batch_size crops accumulate stop_after_skipped log_every validate_every save_every checkpoints_kept"
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
        if self.model is None and self.init_from is None:
            raise UserError("model is None, which takes the sizes of a start bundle; name one (--init-from)")

    def _check_length(self) -> None:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(f"give exactly one of {', '.join(LENGTHS)}, got {', '.join(given) or 'none'}")
        length = getattr(self, given[0])
        if given[0] == "minutes" and not 0 < length < math.inf:
            raise UserError(f"minutes must be positive, got {length}")
        if given[0] != "minutes" and length < 1:
            raise UserError(f"{given[0]} must be at least 1, got {length}")
        if self.epochs is not None and not 0 <= self.warmup_epochs < self.epochs:
            raise UserError(f"warmup_epochs must be in 0..epochs-1, got {self.warmup_epochs} of {self.epochs}")

    def _check_patches(self) -> None:
        for name, size in (("patch_size", self.patch_size), *(("patch_sizes", size) for size in self.patch_sizes)):
            if size % 8 or size <= 0:
                raise UserError(f"{name} must be a positive multiple of 8, got {size}")
        if self.patch_shares and len(self.patch_shares) != len(self.patch_sizes):
            raise UserError(
                f"patch_shares: one for each of patch_sizes, got {len(self.patch_shares)} for {len(self.patch_sizes)}"
            )
        if not all(0 < share < math.inf for share in self.patch_shares):
            raise UserError(f"patch_shares must be positive, got {' '.join(f'{s:g}' for s in self.patch_shares)}")

    @property
    def last_patch_size(self) -> int:
        """Side in pixels of the crops at the end of the run, which is what local means (TLC) imitate."""
        return self.patch_sizes[-1] if self.patch_sizes else self.patch_size


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The resolved config as what JSON can hold, for keeping beside checkpoints."""
    content = {**dataclasses.asdict(config), "degradation": with_types(config.degradation)}
    return json.loads(json.dumps(content, default=str))


def with_types(value: Any) -> Any:
    """A degradation as nested dicts that name their classes under "type", which dataclasses.asdict leaves out."""
    if isinstance(value, Degradation):
        fields = {field.name: with_types(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    return [with_types(part) for part in value] if isinstance(value, tuple) else value
