"""Which files are pictures, by their names, and those that a path names."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from mprnet_jax.images.formats.camera_raw.signatures import SUFFIXES as RAW
from mprnet_jax.support.errors import UserError

FORMATS = {  # that are written, by ending
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
    ".avif": "AVIF",
    ".jxl": "JXL",
}
# Endings of formats that are not written, or, as black and white ones, could not hold a result: that is PNG.
READ_ONLY = (".gif", ".heic", ".heif", ".pbm")
SUFFIXES = (*FORMATS, *READ_ONLY)


def to_restore() -> tuple[str, ...]:
    """The endings of what is restored of a folder: those of pictures, and of camera raw if its extra is installed."""
    return (*SUFFIXES, *RAW) if importlib.util.find_spec("rawpy") else SUFFIXES


def result_suffix(suffix: str) -> str:
    """The ending of a result: that of its source, .png for a format that is only read."""
    return ".png" if suffix.lower() in (*READ_ONLY, *RAW) else suffix


def find(path: str | Path, recursive: bool = False, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The picture files that a path names: itself, or those in a folder, sorted by name.

    `recursive` looks into the folder's folders too. Names that begin with a dot are passed over, and so are links to
    folders; a link to nothing is found, for its reader to say so. `suffixes` are the endings that count in a folder, in
    small letters. Raises UserError if there is no such path or no picture in the folder.
    """
    path = Path(path)
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            if _is_broken(path):
                return [path]
            if path.exists():
                raise UserError(f"{path}: neither a file nor a folder; name a picture or a folder of pictures")
            raise UserError(f"{path}: no such file or folder; check the spelling")
        found = []
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders[:] = [name for name in folders if recursive and not name.startswith(".")]
            files = (Path(folder) / name for name in names if not name.startswith("."))
            files = (file for file in files if file.suffix.lower() in suffixes)
            found += [file for file in files if file.is_file() or _is_broken(file)]
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be searched ({error.strerror}); check it") from error
    if not found:
        where = "in this folder or below" if recursive else "in this folder"
        raise UserError(f"{path}: no pictures {where}; it needs files that end in {', '.join(suffixes)}")
    return sorted(found)


def _is_broken(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _raise(error: OSError) -> None:
    raise error
