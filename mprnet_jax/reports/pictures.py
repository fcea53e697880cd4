"""Pictures as a browser shows them: JPEG copies, pictures as data in a page, error maps, and views of all of these."""

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images.formats.codec import MAX_SIDE, Picture
from mprnet_jax.images.formats.colours import space
from mprnet_jax.support.atomic_files import whole_file

QUALITY = 95  # of JPEGs; their colours are not subsampled, or a page would show errors of its own
LONGEST_SIDE = 1600  # pixels; larger pictures are reduced by a whole factor
NARROWEST = 800  # pixels that a slider is shown at, if the page is wide enough: smaller pictures are enlarged
LARGEST_PNG = 200_000  # pixels; larger pictures are embedded as JPEG, or a page would take tens of MB
LEAST_ERROR_SCALE = 4 / 255  # where error maps become yellow, at least: below, they would show rounding
# Black-purple-orange-yellow, nine anchors of matplotlib's "inferno": as light as the error is large.
_INFERNO = "0,0,4 31,12,72 85,15,109 136,34,106 186,54,85 227,89,51 249,140,10 249,201,50 252,255,164"
ERROR_COLOURS = np.array([colour.split(",") for colour in _INFERNO.split()], int)


def write_browser_jpeg(path: Path, picture: Picture, longest: int = MAX_SIDE["JPEG"]) -> tuple[int, int]:
    """A copy that every browser shows: JPEG of 8 bits, on white where it is transparent, in the picture's own colours.

    A picture whose longer side is above `longest` pixels is scaled down to it. The file appears whole or not at all.
    Returns width and height. Raises OSError.
    """
    pixels = picture.pixels
    if picture.alpha is not None:
        alpha = images.to_float(picture.alpha)[..., None]
        pixels = images.to_float(pixels) * alpha + 1 - alpha
    copy = Image.fromarray(_to_uint8(pixels))
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    # The profile of a grey picture or of inks is not of these pixels.
    profile = picture.icc if picture.mode == "rgb" and space(picture.icc) == b"RGB " else None
    with whole_file(path) as temporary:
        temporary.write_bytes(_jpeg(copy, profile))
    return copy.size


def _jpeg(picture: Image.Image, profile: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0, **({"icc_profile": profile} if profile else {}))
    return buffer.getvalue()


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else images.to_uint8(images.to_float(pixels))


def data_uri(image: np.ndarray, lossless: bool = True) -> Markup:
    """H W 3 uint8 as the source of an <img>: PNG if it is small and so wanted, else JPEG."""
    picture = Image.fromarray(image)
    picture = picture.reduce(max(1, math.ceil(max(picture.size) / LONGEST_SIDE)))
    if lossless and picture.width * picture.height <= LARGEST_PNG:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        kind, data = "png", buffer.getvalue()
    else:
        kind, data = "jpeg", _jpeg(picture)
    return Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")


def _errors(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean absolute difference over the channels, H W, in 0..1."""
    return np.abs(images.to_float(image) - images.to_float(target)).mean(axis=-1)


def error_map(image: np.ndarray, target: np.ndarray, full: float) -> np.ndarray:
    """Errors of H W 3 as a colour, H W 3 uint8: black for 0 to yellow for `full` (of 1) and more."""
    position = np.clip(_errors(image, target) / full, 0, 1) * (len(ERROR_COLOURS) - 1)
    anchors = np.arange(len(ERROR_COLOURS))
    channels = [np.interp(position, anchors, ERROR_COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def error_scale(shown: Sequence[np.ndarray], target: np.ndarray) -> float:
    """Where error maps of these images become yellow: their largest 99th percentile, at least 4 grey levels, of 1."""
    return max(LEAST_ERROR_SCALE, *(float(np.percentile(_errors(image, target), 99)) for image in shown))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture in a page, and what stands under it."""

    name: str
    source: Markup
    caption: str


@dataclasses.dataclass(frozen=True)
class Views:
    """Images under a slider, then all of them small, then error maps: the macro `views` of parts.html shows them."""

    shown: list[Figure]
    error_maps: list[Figure]
    pairs: list[tuple[str, str]]  # names of what the slider can show; the first is shown first
    width: int  # pixels, the largest of the slider
    error_scale: float  # grey levels, where error maps become yellow
    colours: str  # of error maps, as CSS


def views(shown: dict[str, np.ndarray], captions: dict[str, str]) -> Views:
    """Views of images (H W 3, one size, uint8 or float in [0, 1]) by name, the last of them the truth."""
    *restored, truth = list(shown)
    scale = error_scale([shown[name] for name in restored], shown[truth])
    pairs = [(left, right) for i, left in enumerate(shown) for right in list(shown)[i + 1 :]]
    first = (restored[-2], restored[-1]) if len(restored) > 1 else pairs[0]
    maps = {f"error of {name}": error_map(shown[name], shown[truth], scale) for name in restored}
    return Views(
        shown=[Figure(name, data_uri(_to_uint8(image)), captions.get(name, name)) for name, image in shown.items()],
        error_maps=[Figure(name, data_uri(image, lossless=False), name) for name, image in maps.items()],
        pairs=sorted(pairs, key=lambda pair: pair != first),
        width=max(shown[truth].shape[1], NARROWEST),
        error_scale=255 * scale,
        colours=",".join(f"rgb({r},{g},{b})" for r, g, b in ERROR_COLOURS),
    )
