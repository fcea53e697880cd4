"""The arrays of a bundle: what Orbax wrote, decoded from the files' bytes.

Orbax keeps each array as one of Zarr (its shape and type in JSON, its numbers compressed) in an OCDBT store, which is
a B-tree over several files. TensorStore reads the tree. What a stranger could blow up is looked at before that: the
nodes of the tree here, the arrays in `_array`.
"""

import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import imagecodecs
import jax
import ml_dtypes
import numpy as np
import tensorstore

from mprnet_jax.model import Params

TREE = "_METADATA"  # names of the leaves, beside the store
DTYPES = {
    "<f8": np.dtype(np.float64),
    "<f4": np.dtype(np.float32),
    "<f2": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
LARGEST_NODE = 1_000_000  # bytes of a node of the tree, unpacked; half a kilobyte an array is usual
LARGEST_MANIFEST = 16_000  # bytes; half a kilobyte is usual
ALL_NODES = 8_000_000  # bytes of all nodes together
MOST_NODES = 1000
LARGEST_ABOUT = 4096  # bytes of the JSON about an array
MOST_CHUNKS = 4096  # that an array is cut into; Orbax makes one


def read_arrays(files: Mapping[str, bytes], expected: Params) -> Params:
    """float32 arrays in the tree of `expected`, whose leaves have the shapes that the arrays must have.

    `files` are those of the store, by name. Raises ValueError if the leaves' names, shapes or types are others, for
    numbers that are not finite, and for what only a hostile writer makes.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(expected)
    shapes = {".".join(key.key for key in path): leaf.shape for path, leaf in leaves}
    _check_names(files, shapes)
    _check_nodes(files.values())
    store = _open_store(files)
    about = _read(store, [f"{name}/.zarray" for name in shapes])
    arrays = [_array(store, name, shape, about[f"{name}/.zarray"]) for name, shape in shapes.items()]
    bad = [name for name, array in zip(shapes, arrays, strict=True) if not np.isfinite(array).all()]
    if bad:
        raise ValueError(f"NaN or infinite values in {len(bad)} of {len(arrays)} arrays, first {bad[0]}")
    return jax.tree.unflatten(tree, arrays)


def parse_json(data: bytes, what: str) -> Any:
    """The value in JSON; ValueError, which names it, for anything else."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not JSON") from None


def _check_names(files: Mapping[str, bytes], expected: Mapping[str, Any]) -> None:
    if TREE not in files:
        raise ValueError(f"params/{TREE} is missing")
    try:
        notes = parse_json(files[TREE], f"params/{TREE}")["tree_metadata"].values()
        stored = {".".join(key["key"] for key in note["key_metadata"]) for note in notes}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"params/{TREE} does not list the arrays") from None
    if stored != set(expected):
        name = min(stored ^ set(expected))
        raise ValueError(f"{name[:100]!a} is {'not in the network' if name in stored else 'missing'}")


# --- the store --------------------------------------------------------------------------------------------------------


def _open_store(files: Mapping[str, bytes]) -> tensorstore.KvStore:
    """From memory: so no path has a name that the store does not take, and what is read is what was checked."""
    context = tensorstore.Context()
    memory = tensorstore.KvStore.open({"driver": "memory"}, context=context).result()
    for name, data in files.items():
        memory.write(name.encode("utf-8", "surrogateescape"), data).result()
    try:
        return tensorstore.KvStore.open({"driver": "ocdbt", "base": {"driver": "memory"}}, context=context).result()
    except Exception as error:  # TensorStore does not say what it raises
        raise ValueError(_first_line(error)) from error


def _read(store: tensorstore.KvStore, keys: Iterable[str]) -> dict[str, bytes | None]:
    """The values of keys; None where there is none. Raises ValueError."""
    under_way = {key: store.read(key.encode()) for key in keys}
    try:
        results = {key: future.result() for key, future in under_way.items()}
    except Exception as error:
        raise ValueError(_first_line(error)) from error
    return {key: result.value if result.state == "value" else None for key, result in results.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


# https://google.github.io/tensorstore/kvstore/ocdbt: every node begins with one of these, then its length (8 bytes),
# version and compression (0: none, 1: Zstandard); four bytes of checksum end it.
_MANIFEST, _VERSIONS, _BTREE = bytes.fromhex("0cdb3a2a"), bytes.fromhex("0cdb1234"), bytes.fromhex("0cdb20de")
_HEADER = struct.Struct("<4sQBB")


def _check_nodes(files: Iterable[bytes]) -> None:
    """Unpack all that TensorStore could take for a node, within limits that it does not have.

    Nodes stand between the numbers, at places that other nodes tell: so all that look like one are tried.
    """
    count = total = 0
    for data, magic in itertools.product(files, (_MANIFEST, _VERSIONS, _BTREE)):
        start = data.find(magic)
        while start >= 0:
            node = _node_at(data, start)
            if node is not None:
                count, total = count + 1, total + len(node)
                if count > MOST_NODES or total > ALL_NODES:
                    raise ValueError(f"the lists of the arrays are more than {MOST_NODES}, or {ALL_NODES:,} bytes")
                if magic == _BTREE:
                    _check_keys(node)
            start = data.find(magic, start + 1)


def _node_at(data: bytes, start: int) -> bytes | None:
    """The node there, unpacked, or None if there is none; ValueError if it is larger than is plausible."""
    if len(data) - start < _HEADER.size + 4:
        return None
    magic, length, version, compression = _HEADER.unpack_from(data, start)
    if not _HEADER.size + 4 <= length <= len(data) - start or version or compression > 1:
        return None
    limit = LARGEST_NODE if magic == _BTREE else LARGEST_MANIFEST
    body = data[start + _HEADER.size : start + min(length - 4, _HEADER.size + limit + 1)]
    node = unpack(body, limit) if compression and len(body) <= limit else body
    if node is None or len(node) > limit:
        raise ValueError(f"a list of the arrays is damaged, or larger than {limit:,} bytes")
    return node


def _check_keys(node: bytes) -> None:
    """Keys share the beginning of the one before: a few bytes may stand for 64 KB."""
    numbers = _varints(node[1:])
    files = next(numbers, 0)
    if files > len(node):
        raise ValueError("a list of the arrays is damaged")
    paths = list(itertools.islice(numbers, max(3 * files - 1, 0)))  # shared with the one before, own, folder's
    after = 1 + sum(map(_varint_bytes, [files, *paths])) + sum(paths[max(files - 1, 0) : max(2 * files - 1, 0)])
    numbers = _varints(node[after:])
    entries = next(numbers, 0)
    if entries > len(node):
        raise ValueError("a list of the arrays is damaged")
    keys = itertools.islice(numbers, max(2 * entries - 1, 0))
    if sum(paths) + sum(keys) > LARGEST_NODE:
        raise ValueError(f"the names in a list of the arrays are longer than {LARGEST_NODE:,} bytes")


def _varints(data: bytes) -> Iterator[int]:
    """Numbers of seven bits a byte, the lowest first, the eighth bit set where more follow."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a list of the arrays has numbers that are too large")
        if byte < 0x80:
            yield value
            value = shift = 0


def _varint_bytes(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def unpack(data: bytes, limit: int) -> bytes | None:
    """Zstandard, up to `limit` bytes; None if it is damaged or would be more."""
    try:
        return bytes(imagecodecs.zstd_decode(data, out=limit))
    except imagecodecs.ZstdError:
        return None


# --- one array --------------------------------------------------------------------------------------------------------


def _array(store: tensorstore.KvStore, name: str, shape: tuple[int, ...], about: bytes | None) -> np.ndarray:
    """An array of Zarr as float32. Raises ValueError if it has not this shape."""
    if about is None:
        raise ValueError(f"{name} is missing")
    if len(about) > LARGEST_ABOUT:
        raise ValueError(f"what is said about {name} is longer than {LARGEST_ABOUT} bytes")
    found = parse_json(about, f"what is said about {name}")
    if not isinstance(found, Mapping):
        raise ValueError(f"what is said about {name} is no mapping")
    if found.get("shape") != list(shape):
        raise ValueError(f"{name} has shape {ascii(found.get('shape'))[:100]} instead of {list(shape)}")
    dtype = DTYPES.get(str(found.get("dtype")))
    if dtype is None:
        raise ValueError(f"{name} has numbers of type {ascii(found.get('dtype'))[:40]}, which no parameters have")
    chunks = found.get("chunks")
    if not _fits(chunks, shape):
        raise ValueError(f"{name} is cut into pieces of {ascii(chunks)[:100]}, which do not fit its shape")
    compressor = found.get("compressor")
    packed = isinstance(compressor, Mapping) and compressor.get("id") == "zstd"
    if (compressor is not None and not packed) or found.get("filters") or found.get("order") != "C":
        raise ValueError(f"{name} is compressed or ordered in a way that Orbax does not use")
    array = np.zeros(shape, np.float32)  # pieces of zeros are not written
    counts = [range(-(-side // piece)) for side, piece in zip(shape, chunks, strict=True)]
    separator = "/" if found.get("dimension_separator") == "/" else "."
    keys = {place: f"{name}/{separator.join(map(str, place)) or '0'}" for place in itertools.product(*counts)}
    stored = _read(store, keys.values())
    for place, key in keys.items():
        where = tuple(slice(i * piece, (i + 1) * piece) for i, piece in zip(place, chunks, strict=True))
        if (data := stored[key]) is not None:
            numbers = _numbers(data, dtype, math.prod(chunks), packed, name).reshape(chunks)
            whole = tuple(slice(0, side) for side in array[where].shape)  # pieces at the end reach beyond it
            with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is told
                array[where] = numbers[whole]
    return array


def _fits(chunks: Any, shape: tuple[int, ...]) -> bool:
    if not isinstance(chunks, list) or len(chunks) != len(shape):
        return False
    if not all(type(piece) is int and 1 <= piece <= side for piece, side in zip(chunks, shape, strict=True)):
        return False
    return math.prod(-(-side // piece) for side, piece in zip(shape, chunks, strict=True)) <= MOST_CHUNKS


def _numbers(data: bytes, dtype: np.dtype, count: int, packed: bool, name: str) -> np.ndarray:
    size = count * dtype.itemsize
    raw = unpack(data, size) if packed else data
    if raw is None or len(raw) != size:
        raise ValueError(f"the numbers of {name} are damaged: they are not {count}")
    return np.frombuffer(raw, dtype)
