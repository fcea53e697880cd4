"""A picture in memory with all that its file held, and the checks that every format shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from mprnet_jax.images.formats import exif, trailers

MAX_PIXELS = 500_000_000  # a file of a few kilobytes can claim to hold any number of pixels
MAX_FRAMES = 1000  # that are counted
DENSE_PIXELS, PIXELS_A_BYTE = (
    100_000_000,
    20_000,
)  # above so many, a byte stands for at most this many: no file is denser
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
    format: str  # PNG, TIFF, JPEG, WEBP, BMP, PPM, GIF, AVIF, HEIF or RAW
    icc: bytes | None = None  # the profile of the file's colours (of the inks, for "cmyk": `pixels` are sRGB then)
    exif: bytes | None = None  # begins with II or MM; its orientation is 1
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # across, down
    extra: tuple[tuple[Any, bytes], ...] = ()  # notes that only this format holds: PNG text, JPEG comments, IPTC
    lost: tuple[str, ...] = ()  # what the file holds beside all this, in words: no result will have it


def from_stored(
    array: np.ndarray, mode: str, format_name: str, orientation: int | None = None, **notes: Any
) -> Picture:
    """From H W or H W C as stored, C being 1 or 2 for grey, 3 or 4 for RGB without or with alpha.

    `orientation` 1 to 8 if the pixels are still to be turned by it; None: that of the EXIF in `notes`.
    """
    if array.ndim == 2:
        array = array[..., None]
    if orientation is None:
        orientation = exif.orientation_of(notes.get("exif") or b"")
    if orientation in UPRIGHT:
        array = UPRIGHT[orientation](array)
        if notes.get("dpi") and orientation > 4:
            notes["dpi"] = notes["dpi"][::-1]
    height, width = array.shape[:2]
    if notes.get("exif"):
        notes["exif"] = exif.settle(notes["exif"], width, height)
    if notes.get("xmp"):
        notes["xmp"] = exif.settle_xmp(notes["xmp"], width, height)
        if notes.get("lost"):
            notes["xmp"] = trailers.without_promises(notes["xmp"])
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


def check_density(width: int, height: int, file: BinaryIO) -> None:
    """Refuse a small file that claims to be a huge picture, before memory is taken for it."""
    size = file.seek(0, 2)
    file.seek(0)
    if width * height > max(DENSE_PIXELS, size * PIXELS_A_BYTE):
        raise Refusal(f"{size} bytes cannot be a picture of {width}x{height}; export or download it again")


def read_all(file: BinaryIO, max_pixels: int) -> bytes:
    """The rest of a file, if a picture of `max_pixels` can be so large: 16 bytes a pixel, and a video behind it."""
    limit = 16 * max_pixels + (1 << 28)
    data = file.read(limit + 1)
    if len(data) > limit:
        raise Refusal(f"more than {limit / 1e9:.1f} GB, too large to be safe; cut it into parts first")
    return data
