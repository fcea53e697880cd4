"""Reading and writing picture files.

Outside a jitted function an image is H W 3, RGB, uint8, uint16 or float in [0, 1].
"""

import errno
import os
import stat
from pathlib import Path

import numpy as np

from mprnet_jax.images import reading_process
from mprnet_jax.images.find import FORMATS
from mprnet_jax.images.formats import codec as picture_files
from mprnet_jax.images.formats.codec import HOLDS, MAX_PIXELS, MAX_SIDE, Picture
from mprnet_jax.images.pixels import to_depth, to_float
from mprnet_jax.support.atomic_files import NotReplaced, whole_file
from mprnet_jax.support.errors import UserError


def open_picture(path: str | Path, max_pixels: int = MAX_PIXELS, *, apart: bool = False) -> Picture:
    """A picture file in all its depth, turned upright by its EXIF orientation, with its alpha, profile and notes.

    Any kind of PNG, TIFF, JPEG, WebP, BMP, PPM or single GIF, whatever its name ends in. CMYK becomes sRGB. Raises
    UserError that names the file, the reason and the remedy; for more than `max_pixels` before anything is decoded. A
    file whose header does not bound what decoding it costs is read in another process, and given up on after a time;
    with `apart`, every file is.
    """
    path = Path(path)
    try:
        status = os.stat(path)  # first, because opening a pipe would wait for a writer
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise UserError(f"{path}: {kind}, not a picture file; name a file")
        with open(path, "rb") as file:
            if not apart and picture_files.is_bounded(file):
                return picture_files.decode(file, max_pixels)
        return reading_process.decode(path, max_pixels)
    except UserError:
        raise
    except picture_files.Refusal as error:
        raise UserError(f"{path}: {error}") from error
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(f"{path}: a link to {os.readlink(path)}, which is not there; mend or remove it") from None
        raise UserError(f"{path}: no such file; check the spelling") from None
    except PermissionError:
        raise UserError(f"{path}: not readable; change its permissions") from None
    except MemoryError:
        raise UserError(f"{path}: not enough memory to open it; cut it into parts first") from None
    except Exception as error:  # on damaged files, other people's decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the disk or the link") from error
        raise UserError(f"{path}: not a whole picture ({_reason(error)}); export or download it again") from error


def read(path: str | Path) -> np.ndarray:
    """A picture file as H W 3 uint8 RGB, turned upright: what training and scoring need.

    Grey, palette and CMYK pictures become RGB, 16 bits are rounded to 8. Transparency is refused rather than dropped.
    Raises UserError that names the file, the reason and the remedy.
    """
    picture = open_picture(path)
    if _is_transparent(picture):
        raise UserError(f"{path}: has transparent pixels, which would be lost; flatten it first")
    return to_depth(picture.pixels, np.dtype(np.uint8))


def write(path: str | Path, image: np.ndarray) -> None:
    """Write an image (H W 3, uint8, uint16 or float in [0, 1]) as plain RGB; see save_picture."""
    save_picture(path, image)


def check_savable(path: str | Path, like: Picture | None = None) -> None:
    """Raise the UserError that save_picture would, before hours are spent on the pixels."""
    path = Path(path)
    format_name = FORMATS.get(path.suffix.lower())
    if format_name is None:
        raise UserError(f"{path}: unknown picture format {path.suffix!r}; use one of {', '.join(FORMATS)}")
    try:
        in_the_way = path.exists() and not path.is_file()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the folder") from error
    if in_the_way:
        raise UserError(f"{path}: exists and is not a file; choose another name")
    if like is None:
        return
    if _is_transparent(like) and "alpha" not in HOLDS[format_name]:
        raise UserError(f"{path}: {format_name} holds no transparency; write .png, .tif or .webp, or flatten it first")
    _check_side(path, format_name, like.pixels)
    try:
        picture_files.colours_beside_profile(format_name, like)
    except picture_files.Refusal as error:
        raise UserError(f"{path}: {error}") from error


def save_picture(
    path: str | Path,
    pixels: np.ndarray,
    like: Picture | None = None,
    *,
    quality: int = 95,
    replace: bool = True,
    attributes_of: Path | None = None,
) -> None:
    """Write pixels (H W 3, RGB, float in [0, 1], uint8 or uint16) in the format that the path's ending names.

    With `like`, a picture of the same size, as that one was stored, so far as the format holds it: its alpha, depth,
    grey (the mean of the three channels, each an estimate of the same grey) or CMYK (through its profile), ICC profile,
    EXIF, XMP and DPI; PNG's texts, and comments and IPTC of JPEG and TIFF, where the format stays the same. Without it,
    RGB of 8 bits, or of 16 for uint16 pixels. JPEG, WebP and BMP have 8 bits; BMP and PPM hold no profile or notes.
    `quality`, 1 to 100, is for JPEG; all else is lossless.

    The file appears whole or not at all: it is written under a temporary name and renamed. An existing file is
    replaced, unless `replace` is False. `attributes_of`: a file whose permissions and times it gets. Raises UserError
    if the folder cannot be written, if there is a file that is not to be replaced, if the ending names no format, or
    if the format cannot hold the picture: transparency is refused rather than dropped.
    """
    path = Path(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or (like is not None and pixels.shape != like.pixels.shape):
        wanted = "H W 3" if like is None else f"{like.pixels.shape}, as the picture it is to be like"
        raise ValueError(f"the pixels to be written must be {wanted}; got {pixels.shape}")
    check_savable(path, like)
    format_name = FORMATS[path.suffix.lower()]
    _check_side(path, format_name, pixels)
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        raise UserError(f"{path}: not written, some pixels are not finite numbers; restore it again in float32")

    holds = HOLDS[format_name]
    mode = like.mode if like is not None and like.mode in holds else "rgb"
    deep = "16 bits" in holds and (pixels if like is None else like.pixels).dtype == np.uint16
    dtype = np.dtype(np.uint16 if deep else np.uint8)
    if like is not None and like.mode == "grey":
        pixels = to_float(pixels).mean(axis=2, keepdims=True)
    array = to_depth(pixels, dtype)
    if mode != "grey" and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if like is not None and like.alpha is not None and "alpha" in holds:
        array = np.concatenate((array, to_depth(like.alpha, dtype)[..., None]), axis=2)
    try:
        data = picture_files.encode(format_name, np.ascontiguousarray(array), mode, like, quality)
    except picture_files.Refusal as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # the encoders' own limits: notes too long for JPEG, more than 4 GB for TIFF
        other = ".tif" if format_name == "PNG" else ".png"
        raise UserError(f"{path}: {format_name} cannot hold it ({_reason(error)}); write {other} instead") from error
    try:
        with whole_file(path, replace=replace, attributes_of=attributes_of) as temporary:
            temporary.write_bytes(data)
    except NotReplaced as error:
        raise UserError(
            f"{path}: another program wrote it meanwhile, and it stays; restore into another folder"
        ) from error
    except OSError as error:
        remedy = "make room on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error


def _is_transparent(picture: Picture) -> bool:
    return picture.alpha is not None and bool(picture.alpha.min() < np.iinfo(picture.alpha.dtype).max)


def _check_side(path: Path, format_name: str, pixels: np.ndarray) -> None:
    limit = MAX_SIDE.get(format_name, max(pixels.shape))
    if max(pixels.shape) > limit:
        raise UserError(f"{path}: {format_name} ends at {limit} pixels a side; write .tif")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
