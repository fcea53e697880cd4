"""PyTorch and safetensors files of strangers: damaged, and made to take much time or memory."""

import importlib.util
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from attacks.cases import Case, some
from attacks.mutations import damage
from mprnet_jax.interchange.torch import files, state_dict
from mprnet_jax.model import MPRNetConfig, init_params

SMALL = MPRNetConfig(4, 2, 2, num_cab=1, reduction=1)


def zipped(path: Path, pickled: bytes, numbers: bytes = bytes(16)) -> Path:
    """PyTorch's layout with this pickle as the object, and one storage."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", numbers)
    return path


def legacy_header() -> bytes:
    """What a file of the layout before PyTorch 1.6 begins with."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    return b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system))


def long4(value: int) -> bytes:
    """The opcode of an integer of any length."""
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return pickle.LONG4 + struct.pack("<i", len(data)) + data


def tensor(size: bytes, stride: bytes, count: bytes = b"K\x04") -> bytes:
    """The opcodes of a tensor; size, stride and the count of numbers are opcodes, too."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + count + b"tQK\x00" + size + stride + b"\x89}tR"


_HUGE = long4(2 ** (8 * 1_000_000))  # a megabyte
_COLLIDING = b"".join(long4(k * (2**61 - 1)) + b"N" for k in range(1, 250_000))  # their hashes are all 0
HOSTILE = {
    "integers of a megabyte": tensor(b"(" + _HUGE + b"t", b"(" + _HUGE + b"t"),
    "many dimensions": tensor(b"(" + b"J\xff\xff\xff\x7f" * 300_000 + b"t", b"(" + b"K\x00" * 300_000 + b"t"),
    "integers of 200 bytes": tensor(b"(" + long4(2**1600) * 16 + b"t", b"(" + b"K\x00" * 16 + b"t"),
    "a count of a megabyte": tensor(b"K\x01\x85", b"K\x01\x85", _HUGE),
    "keys of one hash": b"}(" + _COLLIDING + b"u",
    "an endless pickle": b"N0" * 20_000_000,
}
OPCODES = [  # whole pickles
    b"\x80\x02r\xff\xff\xff\xff.",  # a memo of 2**32 entries
    b"\x80\x02}r\xff\xff\xff\x7fj\x00\x00\x00\x00.",
    b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # an array of a TB
    b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".",  # text of a TB
    b"\x80\x02}" + b")\x85" + b"\x85" * 200_000 + b"K\x01s.",  # a key nested deep enough to crash hash()
    b"\x80\x02(" + b")\x85" + b"\x85" * 200_000 + b"K\x01d.",
    b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00falsetR.",
    b"\x80\x02(X\x05\x00\x00\x00falseios\nsystem\n.",
    b"\x80\x02ccollections\nOrderedDict\n(]tR.",
    b"\x80\x02c__builtin__\neval\n.",
    b"\x80\x02(X\x06\x00\x00\x00modulet\x51.",
]
HEADERS = [  # of safetensors, each of whose files is damaged
    b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
    b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}',
    b'{"a":7}',
    b'{"a":{}}',
    b"{" + b'"a":[' * 100_000,
    b"{\xff\xfe}",
]


def safetensors(path: Path, header: bytes, numbers: bytes = b"", size: int | None = None) -> Path:
    """A file of this header, which says to be of `size` bytes."""
    path.write_bytes(struct.pack("<Q", len(header) if size is None else size) + header + numbers)
    return path


def many_cabs(path: Path, state: Mapping[str, np.ndarray], count: int) -> Path:
    """A network that claims so many CABs, all of whose tensors are one."""
    one = np.zeros(1, np.float32)
    entry = lambda array: {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, array.nbytes]}
    header = {name: entry(array) for name, array in state.items()}
    header |= {f"stage3_orsnet.orb1.body.{number}.weight": entry(one) for number in range(2, count + 1)}
    return safetensors(path, json.dumps(header).encode(), bytes(100_000))


def sparse(path: Path, start: bytes, size: int = 10**12) -> Path:
    """A file of this size of which only the start is on the disk."""
    path.write_bytes(start)
    os.truncate(path, size)
    return path


def built(state: Mapping[str, np.ndarray]) -> dict[str, Callable[[Path], Path]]:
    """What takes time or memory, by what it is: each writes a file into a folder and gives its path."""
    header = legacy_header()
    found = {
        f".pth, {name}": lambda folder, opcodes=opcodes: zipped(folder / "a.pth", b"\x80\x02" + opcodes + b".")
        for name, opcodes in HOSTILE.items()
    }
    shape = b'{"a":{"dtype":"F32","shape":[1%s],"data_offsets":[0,4]}}' % (b"0" * 18)
    integer = b'{"a":{"shape":[1%s]}}' % (b"0" * 1_000_000)
    endless = header + b"\x80\x02" + HOSTILE["an endless pickle"] + b"."
    return found | {
        ".pth of the old layout, an endless pickle": lambda folder: _written(folder / "a.pth", endless),
        ".safetensors, a header of 100 MB": lambda folder: safetensors(
            folder / "a.safetensors", b'{"a":"' + b"x" * 100_000_000 + b'"}'
        ),
        ".safetensors, a shape of 10^18": lambda folder: safetensors(folder / "a.safetensors", shape),
        ".safetensors, an integer of a megabyte": lambda folder: safetensors(folder / "a.safetensors", integer),
        ".safetensors, 3000 CABs": lambda folder: many_cabs(folder / "a.safetensors", state, 3000),
        ".pth, a TB of nothing": lambda folder: sparse(folder / "a.pth", b"PK\x03\x04"),
        ".pth of the old layout, a TB of nothing": lambda folder: sparse(folder / "a.pth", header),
        ".safetensors, a TB of nothing": lambda folder: sparse(
            folder / "a.safetensors", struct.pack("<Q", 10**11) + b"{"
        ),
    }


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _whole(folder: Path, state: dict[str, np.ndarray]) -> dict[str, bytes]:
    files.write_pth(folder / "a.pth", state)
    files.write_safetensors(folder / "a.safetensors", state)
    if importlib.util.find_spec("torch"):  # which alone writes the old layout
        import torch

        tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    found = {"a.pth": ".pth", "a.safetensors": ".safetensors", "old.pth": ".pth of the old layout"}
    return {group: (folder / file).read_bytes() for file, group in found.items() if (folder / file).exists()}


def cases(count: int, seed: int, made: Path) -> Iterator[Case]:
    """So many checkpoints: the built ones, then damaged ones of every layout in turn; whole ones go to `made`."""
    state = state_dict.to_state_dict(SMALL, init_params(SMALL, seed=0))
    by_hand = [Case(name.split(",")[0], name, make) for name, make in built(state).items()]
    by_hand += [
        Case(".pth", f".pth, pickle {number}", lambda folder, data=data: zipped(folder / "a.pth", data))
        for number, data in enumerate(OPCODES)
    ]
    by_hand += [
        Case(
            ".safetensors",
            f".safetensors, header {number}",
            lambda folder, data=data: safetensors(folder / "a.safetensors", data, bytes(8)),
        )
        for number, data in enumerate(HEADERS)
    ]
    chosen = some(by_hand, count, seed)
    yield from chosen
    whole = _whole(made, state)
    for number in range(count - len(chosen)):
        group = list(whole)[number % len(whole)]
        data = damage(whole[group], np.random.default_rng([seed, number]))
        yield Case(group, f"{group}, damaged {number}", lambda folder, data=data: _written(folder / "a", data))
