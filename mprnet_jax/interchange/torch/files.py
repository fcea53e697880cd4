"""PyTorch's files read and written with NumPy alone: both layouts of torch.save, and safetensors.

Nothing that a file names is ever run (see unpickler). Tensors come as read-only NumPy arrays, bfloat16 as
ml_dtypes.bfloat16. A file is read piece by piece: what it says of itself is checked before memory is taken for it.
"""

import contextlib
import io
import json
import math
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from mprnet_jax.checkpoints.regular_files import NotPlausible, open_regular
from mprnet_jax.interchange.torch.unpickler import (
    LARGEST_NUMBERS,
    LEGACY_START,
    LEGACY_START_ANY,
    MOST_DIMENSIONS,
    STORAGE_NAMES,
    Malformed,
    Refused,
    Unsupported,
    from_bytes,
    read_legacy,
    read_zip,
)
from mprnet_jax.support.errors import UserError, one_line

ZIP_START = b"PK\x03\x04"
GIT_LFS_START = b"version https://git-lfs"
PACKED_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x28\xb5\x2f\xfd")
TAR_MARK = (257, b"ustar")  # where it stands
LARGEST_HEADER = 4_000_000  # bytes, of safetensors; the 316 tensors of the official network need 40 kB

SAFETENSORS_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
OTHER_SAFETENSORS_DTYPES = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "C64", "U16", "U32", "U64")
SAFETENSORS_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}


def read(path: str | Path) -> Any:
    """The object in a .pth, .pt or .safetensors file: plain Python values, with NumPy arrays for tensors.

    The content decides which layout it is, not the name. Raises UserError, whatever the bytes are.
    """
    with open_checkpoint(path) as file:
        return read_file(file, path)


@contextlib.contextmanager
def open_checkpoint(path: str | Path) -> Iterator[BinaryIO]:
    """A file that starts like one of the three layouts. Raises UserError for any other, and what is no file."""
    try:
        with open_regular(path) as file:
            start, size = file.read(len(LEGACY_START)), os.fstat(file.fileno()).st_size
            known = start.startswith((ZIP_START, *LEGACY_START_ANY)) or _starts_safetensors(start, size)
            if not known:
                raise UserError(f"{path}: {_instead(start + file.read(TAR_MARK[0] + 8), size)}")
            yield file
    except NotPlausible as error:
        raise UserError(f"{path}: cannot be read ({error}); name a checkpoint's file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _instead(start: bytes, size: int) -> str:
    """What a file that is no checkpoint is by its first bytes, and the remedy: mostly what a download left."""
    if size == 0:
        return "empty; download it again"
    if start.lstrip()[:64].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not a checkpoint; open its address in a browser, and download the file itself"
    if start.startswith(GIT_LFS_START):
        return "a pointer of Git LFS, not the checkpoint itself; fetch that with git lfs pull"
    if start.startswith(PACKED_STARTS) or start[TAR_MARK[0] :].startswith(TAR_MARK[1]):
        return "a packed file; unpack it, and name the checkpoint in it"
    return "neither a .pth nor a .safetensors file; name a checkpoint that torch.save or safetensors wrote"


def read_bytes(data: bytes, path: str | Path) -> Any:
    """`read` on the bytes of a file, which errors call `path`."""
    return read_file(io.BytesIO(data), path)


def read_file(file: BinaryIO, path: str | Path) -> Any:
    """`read` on an open file, which errors call `path`. OSError goes through."""
    file.seek(0)
    start = file.read(len(LEGACY_START))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        if start.startswith(ZIP_START):
            return read_zip(file, size)
        if start.startswith(LEGACY_START_ANY):
            return read_legacy(file, size)
        return _read_safetensors(file, size)
    except Refused as error:
        raise UserError(
            f"{path}: refused, because it asks for {one_line(str(error))} and a file of weights needs no such thing; "
            "nothing of it was run. If you trust its source, load it in PyTorch and save model.state_dict() alone"
        ) from error
    except Unsupported as error:
        raise UserError(
            f"{path}: of a kind that is not read here ({one_line(str(error)[:200])}); load it in PyTorch and save "
            "model.float().state_dict() alone with torch.save"
        ) from error
    except OSError:
        raise
    except Exception as error:  # zipfile, pickle, json and NumPy raise a dozen types for damaged bytes
        reason = str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"
        reason = one_line(" ".join(reason[:200].split()))
        raise UserError(f"{path}: damaged or cut short ({reason}); copy or download it again") from error


# --- writing ----------------------------------------------------------------------------------------------------------


def _pickled(value: Any) -> bytes:
    """Strings, whole numbers, and tuples of these and of what is pickled already (bytes), as opcodes of protocol 2."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        text = value.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    if isinstance(value, int):
        return pickle.BININT + struct.pack("<i", value)
    return pickle.MARK + b"".join(map(_pickled, value)) + pickle.TUPLE


def _pickled_global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


PICKLED_ORDERED_DICT = _pickled_global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


def _pickled_tensor(array: np.ndarray, key: str) -> bytes:
    storage_type = _pickled_global("torch", STORAGE_NAMES[array.dtype])
    storage = _pickled(("storage", storage_type, key, "cpu", array.size)) + pickle.BINPERSID
    strides = tuple(step // array.itemsize for step in array.strides)
    arguments = _pickled((storage, 0, array.shape, strides, pickle.NEWFALSE, PICKLED_ORDERED_DICT))
    return _pickled_global("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def write_pth(path: str | Path, state_dict: Mapping[str, np.ndarray], overwrite: bool = False) -> None:
    """Write {"state_dict": OrderedDict of tensors} as torch.save does, for `torch.load(path, weights_only=True)`.

    Arrays that are one object in `state_dict` share their memory in the file, too. Raises UserError if the file
    exists and may not be overwritten.
    """
    arrays = {id(array): np.ascontiguousarray(array).reshape(array.shape) for array in state_dict.values()}
    keys = {identity: str(number) for number, identity in enumerate(arrays)}
    items = (_pickled(name) + _pickled_tensor(arrays[id(a)], keys[id(a)]) for name, a in state_dict.items())
    state = PICKLED_ORDERED_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS
    entry = pickle.EMPTY_DICT + _pickled("state_dict") + state + pickle.SETITEM
    with _new_file(Path(path), overwrite) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # ZipInfo without a time: the same tensors make the same file.
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickle.PROTO + b"\x02" + entry + pickle.STOP)
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), "little")
        for identity, key in keys.items():
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), _little_endian(arrays[identity]))
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")


def _little_endian(array: np.ndarray) -> bytes:
    return array.view(f"u{array.itemsize}").astype(f"<u{array.itemsize}", copy=False).tobytes()


@contextlib.contextmanager
def _new_file(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is whole, or not at all."""
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; choose another name or remove it first")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the folder and its free space") from error
    finally:
        part.unlink(missing_ok=True)


# --- safetensors ------------------------------------------------------------------------------------------------------
# By hand because it is fifty lines: the length of a header, the header in JSON, the numbers. The safetensors package
# would be one more thing to install; the tests check against it in both directions.


def _starts_safetensors(start: bytes, file_size: int) -> bool:
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and length <= file_size - 8


def _read_safetensors(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    start = file.read(9)
    if not _starts_safetensors(start, size):
        raise Malformed("no header of safetensors")
    length = int.from_bytes(start[:8], "little")
    if length > LARGEST_HEADER:
        raise Unsupported(f"a header of {length:,} bytes, where the names of this network need {LARGEST_HEADER:,}")
    file.seek(8)
    header, begin = json.loads(file.read(length)), 8 + length
    if not isinstance(header, dict):
        raise Malformed("its header is no mapping")
    header.pop("__metadata__", None)
    tensors, left = {}, LARGEST_NUMBERS
    for name, entry in header.items():
        kind, shape, (first, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if len(shape) > MOST_DIMENSIONS or not all(type(n) is int and 0 <= n <= size for n in (*shape, first, end)):
            raise Malformed(f"tensor {name[:100]} has an impossible shape or place")
        if kind not in SAFETENSORS_DTYPES:
            if kind in OTHER_SAFETENSORS_DTYPES:
                raise Unsupported(f"tensor {name[:100]} has numbers of type {kind[:20]}")
            raise Malformed(f"tensor {name[:100]} has numbers of no type")
        dtype, count = SAFETENSORS_DTYPES[kind], math.prod(shape)
        if end - first != count * dtype.itemsize or begin + end > size:
            raise Malformed(f"tensor {name[:100]} is not where the header says")
        left -= end - first
        if left < 0:
            raise Unsupported(f"more than {LARGEST_NUMBERS:,} bytes of numbers")
        file.seek(begin + first)
        tensors[name] = from_bytes(file.read(end - first), dtype, big_endian=False).reshape(shape)
    return tensors


def write_safetensors(path: str | Path, tensors: Mapping[str, np.ndarray], overwrite: bool = False) -> None:
    """Write named arrays as safetensors. Raises UserError if the file exists and may not be overwritten."""
    header, blocks, end = {}, [], 0
    for name, array in tensors.items():
        block = _little_endian(np.ascontiguousarray(array).reshape(array.shape))
        place = [end, end + len(block)]
        header[name] = {"dtype": SAFETENSORS_NAMES[array.dtype], "shape": list(array.shape), "data_offsets": place}
        blocks.append(block)
        end += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with _new_file(Path(path), overwrite) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(blocks)
