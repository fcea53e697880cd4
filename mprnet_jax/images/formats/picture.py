"""A picture in memory with all that its file held, and the checks that every format shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mprnet_jax.images.formats import exif

MAX_PIXELS = 500_000_000  # a file of a few kilobytes can claim to hold any number of pixels
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation -> what turns the stored picture upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


class Refusal(Exception):
    """Why a file is not read or written, and what to do; without the file's name."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, upright, and what is needed to save another one of its size in the same way."""

    pixels: np.ndarray  # H W 3, RGB, uint8 or uint16
    alpha: np.ndarray | None  # H W, of the same type; 0 is transparent
    mode: str  # "grey", "rgb" or "cmyk": how the file stores it (palettes count as "rgb")
    format: str  # PNG, TIFF, JPEG, WEBP, BMP, PPM or GIF
    icc: bytes | None = None  # the profile of the file's colours (of the inks, for "cmyk": `pixels` are sRGB then)
    exif: bytes | None = None  # begins with II or MM; its orientation is 1
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # across, down
    extra: tuple[tuple[Any, bytes], ...] = ()  # notes that only this format holds: PNG text, JPEG comments, IPTC


def from_stored(array: np.ndarray, mode: str, format_name: str, orientation: int = 1, **notes: Any) -> Picture:
    """From H W or H W C as stored, C being 1 or 2 for grey, 3 or 4 for RGB without or with alpha."""
    if array.ndim == 2:
        array = array[..., None]
    if orientation in UPRIGHT:
        array = UPRIGHT[orientation](array)
        if notes.get("xmp"):
            notes["xmp"] = exif.turn_xmp_upright(notes["xmp"])
        if notes.get("dpi") and orientation > 4:
            notes["dpi"] = notes["dpi"][::-1]
    colours = 1 if array.shape[2] < 3 else 3
    alpha = np.ascontiguousarray(array[..., colours]) if array.shape[2] > colours else None
    pixels = np.repeat(array[..., :1], 3, axis=2) if colours == 1 else np.ascontiguousarray(array[..., :3])
    return Picture(pixels, alpha, mode, format_name, **notes)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """To be called with what the header says, before anything is decoded."""
    if width * height > max_pixels:
        limit = f"{max_pixels / 10**6:g}"
        raise Refusal(f"{width}x{height} is more than {limit} megapixels, too many to be safe; cut it into parts first")
    if width * height == 0:
        raise Refusal(f"{width}x{height} pixels: nothing to restore; export or download it again")


def refuse_frames(count: int) -> None:
    """Of several frames or pages, all but one would be lost."""
    if count > 1:
        raise Refusal(f"{count} frames or pages, and only single pictures can be restored; split it first")
