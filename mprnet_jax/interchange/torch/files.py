"""PyTorch's files read and written with NumPy alone: both layouts of torch.save, and safetensors.

Nothing that a file names is ever run (see torch_pickle). Tensors come as read-only NumPy arrays, views of the file's
bytes, bfloat16 as ml_dtypes.bfloat16.
"""

import contextlib
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

from mprnet_jax.interchange.torch.unpickler import (
    LEGACY_START,
    STORAGE_NAMES,
    Malformed,
    Refused,
    from_bytes,
    read_legacy,
    read_zip,
)
from mprnet_jax.support.errors import UserError

ZIP_START = b"PK\x03\x04"
SAFETENSORS_HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors package

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
SAFETENSORS_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}


def read(path: str | Path) -> Any:
    """The object in a .pth, .pt or .safetensors file: plain Python values, with NumPy arrays for tensors.

    The content decides which layout it is, not the name. Raises UserError, whatever the bytes are.
    """
    return read_bytes(content(path), path)


def content(path: str | Path) -> bytes:
    """The bytes of a file that starts like one of the three layouts. Raises UserError for any other."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            start, size = file.read(len(LEGACY_START)), os.fstat(file.fileno()).st_size
            if not (start.startswith((ZIP_START, LEGACY_START)) or _starts_safetensors(start, size)):
                what = "empty" if size == 0 else "neither a .pth nor a .safetensors file"
                raise UserError(f"{path}: {what}; name a checkpoint that torch.save or safetensors wrote")
            file.seek(0)
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def read_bytes(data: bytes, path: str | Path) -> Any:
    """`read` on the bytes of a file, which errors call `path`."""
    try:
        if data.startswith(ZIP_START):
            return read_zip(data)
        if data.startswith(LEGACY_START):
            return read_legacy(data)
        return _read_safetensors(data)
    except Refused as error:
        raise UserError(
            f"{path}: refused, because it asks for {error} and a file of weights needs no such thing; nothing of it "
            "was run. If you trust its source, load it in PyTorch and save model.state_dict() alone"
        ) from error
    except Exception as error:  # zipfile, pickle, json and NumPy raise a dozen types for damaged bytes
        reason = str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason[:200].split())
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
    return start[8:9] == b"{" and length <= min(file_size - 8, SAFETENSORS_HEADER_LIMIT)


def _read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    if not _starts_safetensors(data[:9], len(data)):
        raise Malformed("no header of safetensors")
    begin = 8 + int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8:begin]), memoryview(data)[begin:]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        dtype, shape, (first, end) = SAFETENSORS_DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, first, end)):
            raise Malformed(f"tensor {name} has an impossible shape or place")
        count = math.prod(shape)
        if end - first != count * dtype.itemsize or end > len(numbers):
            raise Malformed(f"tensor {name} is not where the header says")
        tensors[name] = from_bytes(numbers[first:end], dtype, big_endian=False).reshape(shape)
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
