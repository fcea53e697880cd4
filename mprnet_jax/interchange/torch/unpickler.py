"""What is inside a .pth: a pickle of checkpoints, read without running anything that it names.

A pickle can run any program when it is opened. Here the few names that checkpoints hold are mapped to stand-ins of
ours, and any other name refuses the whole file. Damaged or hostile bytes raise an exception and no more: no size,
length or index in them makes us take more memory than the file has bytes, nor more than LARGEST_NUMBERS.
"""

import io
import math
import pickle
import pickletools
import re
import struct
import zipfile
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
LEGACY_START = b"\x80\x02" + pickle.dumps(LEGACY_MAGIC, protocol=2)[2:-1]
# The same by other protocols, which torch.save can be told to use.
LEGACY_START_ANY = tuple(
    pickle.dumps(LEGACY_MAGIC, protocol=protocol)[: len(LEGACY_START)] for protocol in (2, 3, 4, 5)
)

LARGEST_NUMBERS = 512_000_000  # bytes of all tensors; the largest official network takes 240 MB with Adam's moments
LARGEST_PICKLE = 4_000_000  # bytes: names and shapes; 300 kB for the official network with its optimiser
LARGEST_DIRECTORY = 4_000_000  # bytes, of a zip file; 100 kB is usual
LARGEST_INTEGER = 32  # bytes; states of random number generators have 16
LARGEST_KEY = 2**60  # Python's hashes of larger whole numbers can be made to collide
MOST_DIMENSIONS = 16

STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}


class Malformed(Exception):
    """What is wrong with a file; `read` makes it a UserError that names the file."""


class Unsupported(Exception):
    """What a whole file holds that is not read here; `read` makes it a UserError that names the file."""


class Refused(Exception):
    """The global that a file wants and may not have."""


class Opaque:
    """Stands where a file holds something that is no tensor and no plain value (a device, a dtype, a NumPy scalar)."""

    def __init__(self, *args: Any) -> None:
        pass


class _Storages:
    """The memory blocks that a pickle's tensors are views of; together never larger than the file."""

    def __init__(self, file_size: int) -> None:
        self.bytes_left = file_size
        self.taken = 0
        self.by_key: dict[str, np.ndarray] = {}

    def claim(self, count: int) -> None:
        """Count bytes about to be taken, so that no header makes us take more memory than the file has bytes."""
        if not 0 <= count <= self.bytes_left:
            raise Malformed(f"a storage of {count} bytes, where the file has {self.bytes_left} more")
        self.bytes_left -= count
        self.taken += count
        if self.taken > LARGEST_NUMBERS:
            raise Unsupported(f"more than {LARGEST_NUMBERS:,} bytes of numbers")

    def get(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        """The numbers of one storage, the same array each time."""
        raise Malformed("a tensor where none can be")


class _ZipStorages(_Storages):
    def __init__(self, file_size: int, archive: zipfile.ZipFile, folder: str, big_endian: bool) -> None:
        super().__init__(file_size)
        self.archive, self.folder, self.big_endian = archive, folder, big_endian

    def entry(self, name: str, most: int = LARGEST_NUMBERS) -> bytes:
        info = self.archive.getinfo(f"{self.folder}/{name}")
        if info.compress_type != zipfile.ZIP_STORED:  # torch.save never compresses: this could be a zip bomb
            raise Unsupported(f"entry {info.filename} is compressed, which torch.save does not do")
        if info.file_size > most:
            raise Unsupported(f"entry {info.filename} has {info.file_size:,} bytes, more than {most:,}")
        self.claim(info.file_size)
        return self.archive.read(info)

    def get(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        if key not in self.by_key:
            self.by_key[key] = from_bytes(self.entry(f"data/{key}"), dtype, self.big_endian)
        storage = self.by_key[key]
        if storage.dtype != dtype or storage.size != count:
            raise Malformed(f"storage {key} has {storage.nbytes} bytes, not {count} numbers of type {dtype}")
        return storage


class _LegacyStorages(_Storages):
    """The numbers stand behind the pickle, so they are filled in after it is read."""

    def get(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        if key not in self.by_key:
            self.claim(count * dtype.itemsize)
            self.by_key[key] = np.zeros(count, dtype)
        storage = self.by_key[key]
        if storage.dtype != dtype or storage.size != count:
            raise Malformed(f"storage {key} comes with two types or sizes")
        return storage

    def fill(self, file: BinaryIO, keys: list[str], big_endian: bool) -> None:
        if not isinstance(keys, list) or not all(type(key) is str for key in keys) or set(keys) != set(self.by_key):
            raise Malformed("the list of storages does not fit the tensors")
        for key in keys:
            storage = self.by_key[key]
            (count,) = struct.unpack(">q" if big_endian else "<q", file.read(8))
            if count != storage.size:
                raise Malformed(f"storage {key} has {count} numbers, not {storage.size}")
            numbers = from_bytes(file.read(storage.nbytes), storage.dtype, big_endian)
            if numbers.size != count:  # assigning would repeat a single number that is left
                raise Malformed(f"the end is missing, from storage {key} on")
            storage[...] = numbers


def from_bytes(data: bytes | memoryview, dtype: np.dtype, big_endian: bool) -> np.ndarray:
    """Numbers of a type that NumPy may not know to byteswap (bfloat16), as a view where it can be one."""
    raw = np.frombuffer(data, f"{'>' if big_endian else '<'}u{dtype.itemsize}")
    return raw.astype(f"u{dtype.itemsize}", copy=False).view(dtype)


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *unused: Any) -> np.ndarray:
    """torch._utils._rebuild_tensor_v2: a view of a storage, checked to lie inside it."""
    if not isinstance(storage, np.ndarray):
        raise Malformed("a tensor without a storage")
    if len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise Malformed("a tensor with impossible sizes or strides")
    if not all(type(n) is int and 0 <= n < 2**63 for n in (offset, *size, *stride)):
        raise Malformed("a tensor with impossible sizes or strides")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # The count as well: a stride of 0 would make a tensor of any size from one number.
    if count > storage.size or (count > 0 and last >= storage.size):
        raise Malformed(f"a tensor of size {tuple(size)} from a storage of {storage.size} numbers")
    if count == 0:
        return np.zeros(size, storage.dtype)
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _parameter(data: Any, *unused: Any) -> Any:
    return data


def _empty_dict(*factory: Any) -> dict:
    """collections.OrderedDict() and defaultdict(factory); items follow by themselves."""
    if any(isinstance(argument, list | dict) for argument in factory):
        raise Malformed("a dictionary in a layout of Python 2")
    return {}


def _size(numbers: tuple = ()) -> tuple:
    return numbers


# Every global that a file may name, and what it becomes. Nothing else is ever looked up.
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _empty_dict,
    ("collections", "defaultdict"): _empty_dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _size,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
    # What training leaves beside the weights, such as a device, a dtype or the best score as a NumPy scalar.
    **{("torch", name): Opaque for name in ("device", "float64", "float32", "float16", "bfloat16", "int64")},
    **{("torch", name): Opaque for name in ("int32", "int16", "int8", "uint8", "bool", "strided")},
    **{(f"numpy.{core}.multiarray", "scalar"): Opaque for core in ("core", "_core")},
    ("numpy", "dtype"): Opaque,
    ("_codecs", "encode"): Opaque,
    **{("__builtin__", name): Opaque for name in ("set", "list", "dict", "int", "float", "complex")},
}


# Of PyTorch, and harmless: other numbers, sparse and quantised tensors. Those of them that are read stand above.
TENSOR_KINDS = re.compile(
    r"(?!(?:Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage$)\w+Storage|complex\d+|float[48]_\w+|"
    r"uint(16|32|64)|q\w*int\d+|_rebuild_(?!tensor$|tensor_v2$|parameter$)\w+"
)

# torch.save uses protocol 2. Of its opcodes those are left out that get round the checks below.
OPCODES = {ord(opcode.code) for opcode in pickletools.opcodes if opcode.proto <= 2} - set(
    pickle.INST + pickle.OBJ + pickle.NEWOBJ + pickle.EXT1 + pickle.EXT2 + pickle.EXT4 + pickle.PERSID + pickle.DICT
)


class _Bounded:
    """The next bytes of a file, and not more than a pickle is long."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, LARGEST_PICKLE

    def read(self, size: int) -> bytes:
        return self._count(self.file.read(min(size, self.left + 1)))

    def readline(self) -> bytes:
        return self._count(self.file.readline(self.left + 1))

    def _count(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise Unsupported(f"more than {LARGEST_PICKLE:,} bytes beside the tensors")
        return data


class _Unpickler(pickle._Unpickler):
    """The unpickler in Python: unlike the one in C, it takes no memory on the word of a damaged length or index."""

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code in OPCODES}  # noqa: RUF012

    def __init__(self, file: BinaryIO, storages: _Storages) -> None:
        super().__init__(_Bounded(file), encoding="latin1")
        self.storages = storages

    def load_proto(self) -> None:
        protocol = self.read(1)
        if protocol > b"\x02":
            if protocol <= bytes([pickle.HIGHEST_PROTOCOL]):
                raise Unsupported(
                    f"a pickle of protocol {protocol[0]}; torch.save writes 2 if it is not told otherwise"
                )
            raise Malformed("a pickle of no protocol")

    def load_long1(self) -> None:
        self.append_integer(self.read(1))

    def load_long4(self) -> None:
        self.append_integer(self.read(4))

    def append_integer(self, length: bytes) -> None:
        """Multiplying numbers of a million digits, or only writing one down, takes minutes."""
        count = int.from_bytes(length, "little")
        if count > LARGEST_INTEGER:
            raise Malformed(f"a whole number of {count} bytes")
        self.append(int.from_bytes(self.read(count), "little", signed=True))

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("torch") and TENSOR_KINDS.fullmatch(name):
            raise Unsupported(f"tensors of a kind that this network has not: {module}.{name}"[:200])
        if (module, name) not in ALLOWED:
            raise Refused(f"{module}.{name}"[:200])
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise Malformed("a pickled object that is no storage")
        _, dtype, key, _, count = pid[:5]
        if not isinstance(dtype, np.dtype) or type(key) is not str or type(count) is not int or count < 0:
            raise Malformed("a storage without a type, key or size")
        return self.storages.get(key, dtype, count)

    def load_global(self) -> None:
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise Malformed("the end is missing")
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    def load_build(self) -> None:
        """Drop an object's attributes: a state dict's `_metadata` is all that files have there."""
        self.stack.pop()

    def put(self, items: list) -> None:
        """Keys are words and numbers: hashing a key that is nested a million deep would crash Python."""
        if not isinstance(self.stack[-1], dict):
            raise Malformed("a value for a key, where no dictionary is")
        for key in items[::2]:
            if type(key) is not str and (type(key) is not int or abs(key) >= LARGEST_KEY):
                raise Unsupported(f"a dictionary with a key that is no name: {type(key).__name__}")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put([key, value])

    def load_setitems(self) -> None:
        self.put(self.pop_mark())

    dispatch[pickle.PROTO[0]] = load_proto
    dispatch[pickle.LONG1[0]] = load_long1
    dispatch[pickle.LONG4[0]] = load_long4
    dispatch[pickle.GLOBAL[0]] = load_global
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _SmallDirectory(io.BufferedIOBase):
    """A file for zipfile, which reads the whole directory at its end at once, however long that says it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.most = file, LARGEST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not -1 <= size <= self.most:
            raise Unsupported(f"a directory of {size} bytes in a zip file")
        return self.file.read(self.most if size == -1 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


def read_zip(file: BinaryIO, size: int) -> Any:
    """The object in today's layout: a zip file with the pickle and each storage as an entry."""
    bounded = _SmallDirectory(file)
    with zipfile.ZipFile(bounded) as archive:
        bounded.most = LARGEST_NUMBERS
        names = archive.namelist()
        folders = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise Unsupported("a program of TorchScript")
        if len(folders) != 1:
            raise Unsupported(
                "a zip file without data.pkl, which torch.save puts there; unpack it if a checkpoint is in it"
            )
        storages = _ZipStorages(size, archive, folders[0], big_endian=False)
        if f"{folders[0]}/byteorder" in names:
            storages.big_endian = storages.entry("byteorder", 16) == b"big"
        return _Unpickler(io.BytesIO(storages.entry("data.pkl", LARGEST_PICKLE)), storages).load()


def read_legacy(file: BinaryIO, size: int) -> Any:
    """The object in the layout before PyTorch 1.6: five pickles in a row, then the storages."""
    nothing = _Storages(0)
    if _Unpickler(file, nothing).load() != LEGACY_MAGIC:
        raise Malformed("no magic number")
    _protocol, system = (_Unpickler(file, nothing).load() for _ in range(2))
    storages = _LegacyStorages(size)
    content = _Unpickler(file, storages).load()
    keys = _Unpickler(file, nothing).load()
    storages.fill(file, keys, big_endian=not system.get("little_endian", True))
    return content
