"""Reading and writing pictures: the only place where pixels change type.

Outside a jitted function an image is H W 3, RGB, uint8 or float in [0, 1].
"""

import os
import struct
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mprnet_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of more than 8 bits a channel


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1]; floats are taken to be in [0, 1] already and only become float32."""
    if image.dtype == np.uint8:
        return image.astype(np.float32) / 255
    if np.issubdtype(image.dtype, np.floating):
        return image.astype(np.float32)
    raise UserError(f"an image array must be uint8, or float in [0, 1]; got {image.dtype}")


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] (clipped) -> uint8, rounded half to even, as the published scores are."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def find(path: str | Path) -> list[Path]:
    """The picture files that a path names: itself, or those directly in a folder, sorted by name.

    Raises UserError if there is no such path or no picture in the folder.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; check the spelling")
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise UserError(f"{path}: no pictures in this folder; it needs files that end in {', '.join(SUFFIXES)}")
    return found


def _is_deep_png(path: Path) -> bool:
    # Pillow cuts 16-bit RGB PNGs to their high byte without a word: byte 24 of the file is the IHDR's bit depth.
    with open(path, "rb") as file:
        head = file.read(25)
    return len(head) == 25 and head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16


def read(path: str | Path) -> np.ndarray:
    """A picture file as H W 3 uint8 RGB, turned upright by its EXIF orientation.

    Grey, palette and CMYK pictures become RGB; transparency is refused rather than dropped, and so are pictures of
    more than 8 bits a channel. Raises UserError that names the file, the reason and the remedy.
    """
    path = Path(path)
    try:
        if _is_deep_png(path):
            raise UserError(f"{path}: 16 bits a channel; only 8-bit pictures can be read, save it with 8 bits")
        with Image.open(path) as picture:
            if picture.mode in DEEP_MODES:
                raise UserError(f"{path}: mode {picture.mode}; only 8-bit pictures can be read, save it with 8 bits")
            if picture.has_transparency_data:
                alpha = np.asarray(picture.convert("RGBA"))[..., 3]
                if alpha.min() < 255:
                    raise UserError(f"{path}: has transparent pixels, which would be lost; flatten it first")
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB"))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the spelling") from None
    except PermissionError:
        raise UserError(f"{path}: not readable; change its permissions") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too many pixels to be opened safely ({error}); cut it into parts first") from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        reason = str(error).replace(str(path), "it").replace(repr(str(path)), "it") or type(error).__name__
        raise UserError(f"{path}: not a whole picture ({reason}); export or download it again") from None


def write(path: str | Path, image: np.ndarray) -> None:
    """Write an image (H W 3, uint8 or float in [0, 1]) in the format that the path's ending names.

    The file appears whole or not at all: it is written under a temporary name and renamed. An existing file is
    replaced. Raises UserError if the folder cannot be written or the ending names no format.
    """
    path = Path(path)
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    format_name = Image.registered_extensions().get(path.suffix.lower())
    if format_name is None or format_name not in Image.SAVE:
        raise UserError(f"{path}: unknown picture format {path.suffix!r}; use one of {', '.join(SUFFIXES)}")
    options = {"quality": 95, "subsampling": 0} if format_name == "JPEG" else {}
    if format_name == "WEBP":
        options = {"lossless": True}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                Image.fromarray(pixels).save(file, format_name, **options)
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); check the folder and the space left") from error


def _umask() -> int:
    # The only way to read the mask is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
