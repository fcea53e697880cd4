"""The folder of an adaptation: what was asked for, what was prepared, and where each part of it lies."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mprnet_jax import images
from mprnet_jax.data.degradations.measured_noise import NoiseProfile, profiles_text, read_profiles
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command was asked for."""

    inputs: tuple[Path, ...]
    output: Path
    minutes: float | None = 10.0
    steps: int | None = None  # instead of minutes
    start: str = "denoising"  # a task, a model by name, or a bundle's folder
    recursive: bool = False

    def identity(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one that was stopped."""
        return {
            "inputs": [str(path.absolute()) for path in self.inputs],
            "minutes": self.minutes,
            "steps": self.steps,
            "start": self.start,
            "recursive": self.recursive,
        }


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Paths in the output folder."""

    folder: Path

    bundle = property(lambda self: self.folder / "bundle")
    report = property(lambda self: self.folder / "report.html")
    training = property(lambda self: self.folder / "training")
    clean = property(lambda self: self.folder / "training_photos")
    aside = property(lambda self: self.folder / "kept_aside")
    noise = property(lambda self: self.folder / "noise.json")
    plan = property(lambda self: self.folder / "plan.json")
    result = property(lambda self: self.folder / "result.json")

    def write_text(self, path: Path, text: str) -> None:
        """A small file, whole or not at all. Raises UserError."""
        try:
            with whole_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error

    def write_pictures(self, folder: Path, pictures: Sequence[np.ndarray]) -> None:
        """H W 3 uint8, by number."""
        for number, picture in enumerate(pictures):
            images.write(folder / f"{number:02d}.png", picture)

    def write_aside(self, photos: Sequence[np.ndarray], profiles: Sequence[NoiseProfile]) -> None:
        """Photos to check on, H W 3 uint8, with their noise."""
        self.write_pictures(self.aside, photos)
        self.write_text(self.aside / "noise.json", profiles_text(list(profiles)))

    def read_aside(self) -> list[tuple[np.ndarray, NoiseProfile]]:
        """What write_aside wrote."""
        profiles = read_profiles(str(self.aside / "noise.json"))
        return [(images.read(self.aside / f"{number:02d}.png"), own) for number, own in enumerate(profiles)]

    def read_plan(self, request: Request) -> dict[str, Any] | None:
        """What was prepared by a run that was stopped; None if nothing was.

        Raises UserError if it was asked for something else, or the file is damaged.
        """
        if not self.plan.exists():
            for path in (self.bundle, self.report, self.result, self.training):
                if path.exists():
                    raise UserError(f"{path}: is there already, and not of this command; choose another --output")
            return None
        try:
            content = json.loads(self.plan.read_text(encoding="utf-8"))
            asked = content["request"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.plan}: not readable as a plan; choose another --output") from error
        if differing := sorted(name for name, value in request.identity().items() if asked.get(name) != value):
            raise UserError(
                f"{self.folder} holds a run with another {' and '.join(differing)}; give the same again to go on, or "
                "choose another --output"
            )
        return content
