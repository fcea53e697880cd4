"""The user's photos: a sample of them, read and cut to a size whose work is bounded."""

import dataclasses
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax import images
from mprnet_jax.adapting.patches import SIDE, smooth_patches
from mprnet_jax.images.formats import exif
from mprnet_jax.images.pixels import to_depth
from mprnet_jax.support.errors import UserError

MOST_PHOTOS = 32  # that are read: more add nothing to the model of one camera's noise
LARGEST = 1536  # pixels, side of what is taken of each
LEAST_SIDE = 5 * SIDE  # pixels: a smooth patch is chosen by those around it
MOST_PATCHES = 400  # of a photo
ISO = 34855  # tag of EXIF: PhotographicSensitivity


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A noisy photo: its middle as H W 3 uint8, its smooth patches, and the camera's ISO where the file tells it."""

    name: str
    pixels: np.ndarray
    noise: np.ndarray  # N SIDE SIDE 3 float32 of 255, smooth patches without their plane
    means: np.ndarray  # N 3, their brightness
    iso: int | None = None

    @classmethod
    def of(cls, name: str, pixels: np.ndarray, iso: int | None = None) -> "Photo":
        """With its smooth patches, at most MOST_PATCHES of them, evenly taken."""
        noise, means = smooth_patches(pixels)
        step = max(1, -(-len(noise) // MOST_PATCHES))
        return cls(name, pixels, noise[::step], means[::step], iso)


def middle(image: np.ndarray, largest: int) -> np.ndarray:
    """H W 3 -> its middle, at most `largest` pixels a side."""
    top, left = (max(0, side - largest) // 2 for side in image.shape[:2])
    return image[top : top + largest, left : left + largest]


def evenly(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many, from the whole of a list."""
    return [paths[i * len(paths) // most] for i in range(most)] if len(paths) > most else list(paths)


def iso_of(picture: images.Picture) -> int | None:
    """The ISO setting in a picture's EXIF; None where it is not told."""
    block = picture.exif or b""
    inner = exif.read_block(block).get(exif.EXIF, {}) if block else {}
    entry = inner.get(ISO) if isinstance(inner, dict) else None
    if not isinstance(entry, tuple) or entry[0] not in (3, 4):
        return None
    (value,) = struct.unpack_from(exif.byte_order(block) + ("H" if entry[0] == 3 else "I"), entry[2])
    return value or None


def read_photos(paths: Sequence[Path], say: Callable[[str], None]) -> list[Photo]:
    """Read a sample of the files. What cannot be used is said, each in a line, and left out."""
    photos = []
    for number, path in enumerate(evenly(paths, MOST_PHOTOS)):
        try:
            picture = images.open_picture(path)
        except UserError as error:
            say(f"left out: {error}")
            continue
        height, width = picture.pixels.shape[:2]
        if min(height, width) < LEAST_SIDE:
            say(f"left out: {path}: {width} x {height} pixels; at least {LEAST_SIDE} a side are needed")
        elif picture.mode == "grey":
            say(f"left out: {path}: a grey picture, whose noise says nothing of colours")
        else:
            pixels = to_depth(middle(picture.pixels, LARGEST), np.dtype(np.uint8))
            photos.append(Photo.of(f"{number}: {path.name}", np.ascontiguousarray(pixels), iso_of(picture)))
    return photos
