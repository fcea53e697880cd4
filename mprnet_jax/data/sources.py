"""Where pictures to train on come from: random-access sources, as Grain wants them."""

from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.errors import UserError


def read_names(path: str | Path) -> frozenset[str]:
    """File names from a text file: one a line, blank lines and lines that begin with # left out."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); it should list file names, one a line") from None
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


class CleanPhotos:
    """Clean pictures of a folder, as {"target": H W 3 uint8}; each is met `crops_per_photo` times an epoch.

    Decoded pictures stay in memory (3 bytes a pixel): decoding a JPEG for every crop would cost more than the crop.
    """

    def __init__(self, paths: list[Path], crops_per_photo: int = 1) -> None:
        self.paths = paths
        self.crops_per_photo = crops_per_photo
        self._decoded: dict[Path, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.paths) * self.crops_per_photo

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        path = self.paths[int(index) % len(self.paths)]
        if path not in self._decoded:
            self._decoded[path] = images.read(path)
        return {"target": self._decoded[path]}

    def __repr__(self) -> str:
        return f"CleanPhotos({len(self.paths)} pictures, {self.crops_per_photo} crops each)"


def split_folder(folder: str | Path, held_out: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder: those to train on, and those held out by name.

    Raises UserError if nothing is left to train on, or if a name that is held out is not in the folder (a typing
    error there would put a test picture into the training).
    """
    paths = images.find(folder)
    missing = held_out - {path.name for path in paths}
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of the {len(held_out)} held-out pictures are not in it, first "
            f"{min(missing)}; correct the list of held-out names"
        )
    train = [path for path in paths if path.name not in held_out]
    if not train:
        raise UserError(f"{folder}: every picture is held out, none is left to train on; shorten the list")
    return train, [path for path in paths if path.name in held_out]
