"""From a photo in a file to a restored one in a file, exactly as mprnet_jax.infer does it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.reports.pictures import write_browser_jpeg
from mprnet_jax.restoring import Restorer, guard, make_preview, restore_picture
from mprnet_jax.support.errors import UserError

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp", "PPM": ".ppm", "JXL": ".jxl"}
THUMBNAIL_SIDE = 256  # pixels
SHOWN_SIDE = 4096  # pixels; longer sides are scaled down for the page, never for the download


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the page takes."""

    megapixels: float
    megabytes: float

    @property
    def pixels(self) -> int:
        """Largest picture in pixels."""
        return round(self.megapixels * 1e6)

    @property
    def bytes(self) -> int:
        """Largest upload in bytes."""
        return round(self.megabytes * 1e6)


def read_photo(path: Path, max_pixels: int) -> Picture:
    """A visitor's photo, read in another process. Raises UserError that names it without its folder, for one too large
    before it is decoded."""
    try:
        return images.open_picture(path, max_pixels, apart=True)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error


def result_name(path: Path, picture: Picture) -> str:
    """The photo's name with _restored behind it; the ending changes only where it does not tell the format."""
    tells = images.FORMATS.get(path.suffix.lower()) == picture.format
    return f"{path.stem}_restored{path.suffix if tells else ENDINGS.get(picture.format, '.png')}"


def restore_photo(picture: Picture, restorer: Restorer, result: Path, progress: Callable[[int, int], None]) -> None:
    """Restore into a file with the depth, alpha, profile and notes of `picture`; what a visitor should know of it.

    `progress` is called with finished and all tiles; what it raises ends the work. Raises UserError that names the
    file without its folder.
    """
    try:
        images.check_savable(result, picture)
        astray: list[str] = []
        fallback = lambda fell_back: astray.append(f"The network went astray {guard.where(fell_back)}.")
        restored = restore_picture(restorer, picture, progress, fallback)
        images.save_picture(result, restored, picture)
        return " ".join(astray)
    except UserError as error:
        raise UserError(str(error).replace(str(result), result.name)) from error


def point_of_photo(clicked: Any, picture: Picture) -> tuple[int, int]:
    """The x and y in a photo of a click on what write_shown made of it. Raises UserError for what is no point."""
    height, width, _ = picture.pixels.shape
    scale = max(1.0, max(height, width) / SHOWN_SIDE)
    point = clicked if isinstance(clicked, list | tuple) and len(clicked) == 2 else (None, None)
    if not all(isinstance(along, int | float) and 0 <= along <= SHOWN_SIDE for along in point):
        raise UserError("click on the photo to see a part of it first")
    return tuple(min(round(along * scale), side - 1) for along, side in zip(point, (width, height), strict=True))


def preview_photo(picture: Picture, restorer: Restorer, at: tuple[int, int]) -> tuple[Picture, Picture]:
    """512 x 512 pixels around a point (x, y) of a picture, before and after. Raises UserError."""
    preview = make_preview(restorer, picture.pixels, at)
    alpha = None if picture.alpha is None else np.ascontiguousarray(picture.alpha[preview.part])
    crop = lambda pixels: dataclasses.replace(picture, pixels=images.to_uint8(pixels), alpha=alpha)
    return crop(preview.before), crop(preview.after[0])


def write_shown(picture: Picture, path: Path) -> None:
    """The picture as browsers show it: JPEG of 8 bits, on white where it is transparent, in its own colours."""
    write_browser_jpeg(path, picture, SHOWN_SIDE)


def write_thumbnail(shown: Path, path: Path) -> Path:
    """A small copy of what write_shown made, in `path`."""
    with Image.open(shown) as picture:
        profile = picture.info.get("icc_profile")
        picture.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))  # decodes a fraction of the pixels
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        picture.save(path, "JPEG", quality=85, icc_profile=profile)
    return path


def size(picture: Picture) -> str:
    """Width x height of a picture, for people."""
    height, width, _ = picture.pixels.shape
    return f"{width} x {height} pixels"


def facts(picture: Picture) -> str:
    """Size and kind of a picture in words."""
    parts = [size(picture), f"{picture.format}, {8 * picture.pixels.itemsize} bits a channel"]
    kept = {"transparency": picture.alpha is not None, "colour profile": picture.icc, "EXIF": picture.exif}
    if named := [name for name, there in kept.items() if there]:
        parts.append(f"with {', '.join(named)}")
    parts += [f"the result will be without {what}" for what in picture.lost]
    return "; ".join(parts)
