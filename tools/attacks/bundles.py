"""Checkpoint bundles of strangers: flipped bits, contents of another kind, and what is no file."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tensorstore

from attacks.cases import Case, some
from attacks.checkpoints import SMALL
from attacks.mutations import damage, flip
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.model import init_params

ZSTD = {"id": "zstd", "level": 1}


def sign(folder: Path) -> None:
    """The sums that a stranger would write: right ones."""
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def rewrite(folder: Path, values: Mapping[str, bytes]) -> None:
    """Other values in the store of the arrays, by key, as Orbax's own library writes them."""
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder / 'params'}/"}).result()
    for key, value in values.items():
        store.write(key, value).result()
    sign(folder)


def change_json(folder: Path, item: str, change: Callable[[Any], Any]) -> None:
    """Another content of `config` or `provenance`, with right sums."""
    path = folder / item / "metadata"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    sign(folder)


def about(
    shape: list[int], dtype: Any = "<f4", chunks: list[int] | None = None, compressor: dict | None = None
) -> bytes:
    """What a store says of an array."""
    fields = {"shape": shape, "dtype": dtype, "chunks": chunks or shape, "compressor": compressor, "order": "C"}
    return json.dumps({**fields, "fill_value": None, "filters": None, "zarr_format": 2}).encode()


def node(body: bytes, magic: str = "0cdb20de", packed: bool = True) -> bytes:
    """A node of a store's tree."""
    body = imagecodecs.zstd_encode(body) if packed else body
    return struct.pack("<4sQBB", bytes.fromhex(magic), len(body) + 18, 0, packed) + body + bytes(4)


def kernel_shape(folder: Path) -> list[int]:
    """Of the array that is spoiled: concat12.kernel."""
    width = json.loads((folder / "config" / "metadata").read_text())["n_feat"]
    return [3, 3, 2 * width, width]


def spoil_bomb(folder: Path) -> None:
    """10 MB of Zstandard that unpack to more than any machine has."""
    million = imagecodecs.zstd_encode(bytes(10_000_000))
    said = about(kernel_shape(folder), compressor=ZSTD)
    rewrite(folder, {"concat12.kernel/.zarray": said, "concat12.kernel/0.0.0.0": million * (10**7 // 1000)})


def spoil_header(folder: Path) -> None:
    """100 MB of JSON."""
    (folder / "provenance" / "metadata").write_text('{"a": "' + "x" * 100_000_000 + '"}')
    sign(folder)


def spoil_sparse(folder: Path) -> None:
    """A file of a TB that takes no place on the disk."""
    with (folder / "params" / "d" / "x").open("wb") as file:
        file.truncate(10**12)


def spoil_nested(folder: Path) -> None:
    """A million brackets."""
    (folder / "provenance" / "metadata").write_text("[" * 1_000_000)
    sign(folder)


def spoil_number(folder: Path) -> None:
    """A number of a million digits."""
    (folder / "config" / "metadata").write_text('{"num_cab": %s}' % ("9" * 1_000_000))
    sign(folder)


def spoil_list(folder: Path) -> None:
    """50 MB of a list of arrays in 1.6 kB."""
    (folder / "params" / "d" / "x").write_bytes(b"abc" + node(bytes(50_000_000)))
    sign(folder)


def spoil_sums(folder: Path) -> None:
    """The last file is listed no more."""
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(lines[:-1]))


def spoil_shape(folder: Path) -> None:
    """An array that says to be of 10^36 numbers."""
    rewrite(folder, {"concat12.kernel/.zarray": about([10**9] * 4)})


def spoil_nan(folder: Path) -> None:
    """Weights that are no numbers."""
    shape = kernel_shape(folder)
    numbers = np.full(shape, np.nan, "<f4").tobytes()
    rewrite(folder, {"concat12.kernel/.zarray": about(shape), "concat12.kernel/0.0.0.0": numbers})


def replace(where: str, kind: str) -> Callable[[Path], None]:
    """Something that is no file of the bundle: pipe, link, device link or loop."""

    def spoil(folder: Path) -> None:
        path = folder / where
        path.unlink()
        if kind == "a pipe":
            os.mkfifo(path)
        else:
            path.symlink_to({"a link": "/etc/hostname", "a link to a device": "/dev/zero", "a loop": path}[kind])

    return spoil


BUILT = {
    "a bomb": spoil_bomb,
    "a header of 100 MB": spoil_header,
    "a file of a TB": spoil_sparse,
    "nested JSON": spoil_nested,
    "a number of a megabyte": spoil_number,
    "a list of 50 MB": spoil_list,
    "shortened sums": spoil_sums,
    "a shape of 10^36": spoil_shape,
    "NaN": spoil_nan,
    "num_cab of 100000": lambda folder: change_json(folder, "config", lambda c: {**c, "num_cab": 100_000}),
    "provenance a list": lambda folder: change_json(folder, "provenance", lambda _: ["source"]),
    "patch_size a text": lambda folder: change_json(folder, "provenance", lambda p: {**p, "patch_size": "big"}),
    **{
        f"{kind} as {where}": replace(where, kind)
        for kind in ("a pipe", "a link", "a link to a device", "a loop")
        for where in ("provenance/metadata", "SHA256SUMS", "params/_METADATA")
    },
}


def cases(count: int, seed: int, made: Path) -> Iterator[Case]:
    """So many bundles: the built ones, then flipped bits over all files in turn, every third with right sums."""
    saved = made / "bundle"
    save_bundle(saved, Bundle(SMALL, init_params(SMALL, seed=0), {"source": "an attack"}))
    files = sorted(path.relative_to(saved) for path in saved.rglob("*") if path.is_file())

    def copied(spoil: Callable[[Path], None]) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            spoil(shutil.copytree(saved, folder / "bundle"))
            return folder / "bundle"

        return make

    chosen = some([Case("built", name, copied(spoil), True) for name, spoil in BUILT.items()], count, seed)
    yield from chosen
    for number in range(count - len(chosen)):
        rng = np.random.default_rng([seed, number])
        file = files[number % len(files)]
        signed = number % 3 == 2 and file.name != "SHA256SUMS"

        def spoil(folder: Path, file: Path = file, rng: np.random.Generator = rng, signed: bool = signed) -> None:
            data = (folder / file).read_bytes()
            (folder / file).write_bytes(damage(data, rng) if signed and data else flip(data, rng))
            if signed:
                sign(folder)

        group = "damaged, with right sums" if signed else "a bit flipped"
        yield Case(group, f"{group}: {file} ({number})", copied(spoil), detected=not signed)
