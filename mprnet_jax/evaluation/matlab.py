"""MATLAB files from elsewhere, read without trust: up to v7 by SciPy, v7.3 (HDF5) by h5py, of the extra `evaluate`.

What a file says of a variable's shape is checked before its values are read. Whatever the libraries raise on a damaged
file becomes a UserError that names the file and the remedy.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.io

from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.optional_imports import import_extra

if TYPE_CHECKING:
    import h5py

REASON_LENGTH = 150  # characters of a library's own words in a message


def shape_text(shape: Sequence[int]) -> str:
    """(40, 32) -> "40 x 32"."""
    return " x ".join(map(str, shape))


@contextlib.contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into a UserError: what the path is, or that the file is damaged.

    SciPy and h5py raise more than a dozen types for damaged files, MemoryError for a made-up size among them.
    """
    try:
        if not path.exists():
            raise UserError(f"{path}: no such file; download it from the benchmark's page")
        if not path.is_file():
            raise UserError(f"{path}: not a file; remove it and download it from the benchmark's page")
        with open(path, "rb"):  # says what the path's fault is, before a library calls it damage
            pass
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError):
            raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0][:REASON_LENGTH])
        raise UserError(f"{path}: not a whole MATLAB file ({reason}); download it again") from error


def read_variable(path: Path, name: str, check: Callable[[tuple[int, ...]], None]) -> np.ndarray:
    """One numeric variable of a MATLAB file up to v7, after `check` took its shape: what it raises ends the reading.

    Raises UserError if the file cannot be read, is of v7.3, or has no such variable of numbers.
    """
    with refusing_damage(path):
        try:
            shapes = {found: shape for found, shape, _ in scipy.io.whosmat(path)}
            if name not in shapes:
                raise UserError(f"{path}: has no variable {name}; download it again, or rename the variable")
            check(tuple(shapes[name]))
            values = scipy.io.loadmat(path, variable_names=[name])[name]
        except NotImplementedError:
            raise UserError(f"{path}: a MATLAB v7.3 file; save it again in MATLAB with -v7") from None
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "uif":
            raise UserError(f"{path}: {name} does not hold numbers; download it again")
        check(values.shape)
    return values


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator["h5py.File"]:
    """A MATLAB v7.3 file, open for reading; UserError for all that goes wrong while it is open, see refusing_damage."""
    h5py = import_extra("h5py", "h5py", "evaluate")
    with refusing_damage(path), h5py.File(path, "r") as file:
        yield file


def stored(group: "h5py.Group", name: str) -> "h5py.Dataset":
    """A data set that lies in the file itself: none that leads to other files. Raises KeyError or TypeError."""
    h5py = import_extra("h5py", "h5py", "evaluate")
    found = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise TypeError(f"{name} is not an array of this file")
    return found


def write(path: Path, variables: dict[str, object]) -> None:
    """A MATLAB v5 file, whole or not at all. Raises UserError if it cannot be written."""
    try:
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            scipy.io.savemat(file, variables, do_compression=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error
