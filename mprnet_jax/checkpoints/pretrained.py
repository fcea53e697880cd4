"""The weights that ship with the package, by task; docs/models/ has a card for each."""

import dataclasses
import os
from pathlib import Path

from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path

TASKS = ("deblurring", "denoising", "deraining")
WEIGHTS = Path(__file__).parent.parent / "weights"
SAMPLES = Path(__file__).parent.parent / "samples"  # a folder for each task


@dataclasses.dataclass(frozen=True)
class ShippedModel:
    """A bundle in the package."""

    name: str
    task: str
    takes_out: str

    @property
    def path(self) -> Path:
        """The bundle's folder in the package."""
        return WEIGHTS / self.name


MODELS = {
    model.name: model
    for model in (
        ShippedModel(
            "denoising_light",
            "denoising",
            "noise of cameras, and Gaussian up to sigma 55; also saved as JPEG",
        ),
        ShippedModel(
            "deraining_light",
            "deraining",
            "streaks of rain of any density, width and brightness, also saved as JPEG",
        ),
        ShippedModel(
            "deblurring_light",
            "deblurring",
            "shake up to about 25 pixels, also under a little noise or JPEG",
        ),
    )
}
PRETRAINED: dict[str, Path] = {}  # task -> bundle of its default model, which is the first
for _model in MODELS.values():
    PRETRAINED.setdefault(_model.task, _model.path)


def bundle_path(name_or_path: str | Path) -> Path:
    """The folder of a bundle: that of a task's default model or of a model by name, or the path itself.

    Raises UserError for a name that is neither a task, a model nor a folder.
    """
    name = str(name_or_path)
    if not name:
        raise UserError(f"the name of the checkpoint is empty; name a task ({', '.join(TASKS)}) or a bundle's folder")
    if name in PRETRAINED:
        return PRETRAINED[name]
    if name in MODELS:
        return MODELS[name].path
    path = as_path(name)
    if not os.path.lexists(path):
        raise UserError(f"{name}: neither a task ({', '.join(TASKS)}) nor a checkpoint folder; check the spelling")
    return path


def list_models() -> str:
    """A table of the models that ship, for people: name, task, parameters, size on disk, licence, what each is for."""
    from mprnet_jax.checkpoints.bundle import load_bundle  # here: importing Orbax takes longer than a short command
    from mprnet_jax.model import count_parameters

    rows = [("model", "task", "parameters", "on disk", "licence", "takes out")]
    for model in MODELS.values():
        bundle = load_bundle(model.path)
        size = sum(path.stat().st_size for path in model.path.rglob("*") if path.is_file())
        licence = bundle.provenance.get("licence", "Apache-2.0")
        row = (model.name, model.task, f"{count_parameters(bundle.params):,}", f"{size / 1e6:.1f} MB", licence)
        rows.append((*row, model.takes_out))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
