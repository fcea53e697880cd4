"""The weights that ship with the package, by task."""

from pathlib import Path

from mprnet_jax.errors import UserError

TASKS = ("deblurring", "denoising", "deraining")
# Task -> bundle in the package; docs/models/ has a card for each.
PRETRAINED = {"denoising": Path(__file__).parent / "weights" / "denoising_light"}


def bundle_path(name_or_path: str | Path) -> Path:
    """The folder of a bundle: that of a task's shipped weights, or the path itself.

    Raises UserError for a task without weights, and for a name that is neither a task nor a folder.
    """
    name = str(name_or_path)
    if not name:
        raise UserError(f"the name of the checkpoint is empty; name a task ({', '.join(TASKS)}) or a bundle's folder")
    if name in PRETRAINED:
        return PRETRAINED[name]
    if name in TASKS:
        raise UserError(
            f"no weights for {name} ship yet; convert the official ones (python tools/convert_torch_ckpt.py "
            f"model_{name}.pth --output {name}) and give --checkpoint {name}"
        )
    path = Path(name_or_path)
    if not path.exists():
        raise UserError(f"{name}: neither a task ({', '.join(TASKS)}) nor a checkpoint folder; check the spelling")
    return path
