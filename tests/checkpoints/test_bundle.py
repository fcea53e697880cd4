"""Bundles that strangers made: each refusal is one line, soon, and takes little memory."""

import logging
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorstore
from attacks.bundles import (
    ZSTD,
    about,
    change_json,
    node,
    rewrite,
    sign,
    spoil_bomb,
    spoil_header,
    spoil_nested,
    spoil_sparse,
)

from mprnet_jax.checkpoints import arrays, regular_files
from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.model import MPRNetConfig, init_params
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

SECONDS, BYTES = 10, 1_000_000_000  # that a hostile bundle may take


@pytest.fixture(scope="module")
def params():
    return init_params(TINY, seed=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, params):
    path = tmp_path_factory.mktemp("saved") / "bundle"
    save_bundle(path, Bundle(TINY, params, {"source": "a test"}))
    return path


@pytest.fixture
def folder(tmp_path, saved):
    """A copy of the bundle, to spoil."""
    return shutil.copytree(saved, tmp_path / "bundle")


def refusal(folder):
    """What is said, in one line."""
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../bundle", "./x/../bundle", "with space #?%41", "ä ü 図", "linked", "c:\\x"])
def test_a_bundle_is_read_from_any_path(folder, params, monkeypatch, name):
    inside = folder.parent / "inside"
    (inside / "x").mkdir(parents=True)
    shutil.copytree(folder, inside / "bundle")
    monkeypatch.chdir(inside)
    if name == "linked":
        os.symlink(folder, name)
    elif ".." not in name:
        shutil.copytree(folder, name)
    jax.tree.map(np.testing.assert_array_equal, load_bundle(name).params, params)


def test_a_bundle_is_read_from_a_path_that_is_no_unicode(folder, params):
    path = os.fsdecode(os.fsencode(folder.parent) + b"/\xff\xfe")
    os.rename(folder, path)
    jax.tree.map(np.testing.assert_array_equal, load_bundle(path).params, params)


def test_a_bundle_is_written_to_a_path_with_dots(tmp_path, params):
    (tmp_path / "x").mkdir()
    save_bundle(tmp_path / "x" / ".." / "new", Bundle(TINY, params, {}))
    jax.tree.map(np.testing.assert_array_equal, load_bundle(tmp_path / "new").params, params)


@pytest.mark.parametrize("kind", ["file", "loop", "long", "unreadable"])
def test_an_error_of_a_path_is_not_called_damage(tmp_path, folder, kind, monkeypatch):
    path = {"file": folder / "SHA256SUMS", "loop": tmp_path / "loop", "long": tmp_path / ("x" * 300)}.get(kind, folder)
    if kind == "loop":
        path.symlink_to(path)
    if kind == "unreadable":  # root may read anything, so the system's answer is made
        refuse = lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied", str(folder)))
        monkeypatch.setattr("os.scandir", refuse)
    said = refusal(path)
    assert "damaged" not in said
    assert {"file": "a file, not a folder", "unreadable": "Permission denied"}.get(kind, ":") in said


# --- what is in the folder ------------------------------------------------------------------------------------------


def test_a_file_that_the_sums_do_not_list_is_told(folder):
    (folder / "params" / "d" / "more").write_bytes(b"more")
    assert "params/d/more is not in SHA256SUMS" in refusal(folder)


def test_shortened_sums_are_told(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(lines[:-1]))
    assert "provenance/metadata is not in SHA256SUMS" in refusal(folder)


@pytest.mark.parametrize("where", ["provenance/metadata", "config/metadata", "SHA256SUMS", "params/_METADATA"])
@pytest.mark.parametrize("kind", ["link", "pipe", "device", "folder", "link to a device"])
def test_what_is_no_file_is_refused_without_being_opened(tmp_path, folder, kind, where):
    path = folder / where
    path.rename(tmp_path / "aside")
    if kind == "link":
        path.symlink_to(tmp_path / "aside")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("making a device takes root")
    else:
        path.mkdir()
    said = refusal(folder)
    assert "not a checkpoint bundle" in said or kind == "folder"


def test_a_folder_inside_that_is_a_link_is_refused(tmp_path, folder):
    (folder / "params" / "d").rename(tmp_path / "d")
    (folder / "params" / "d").symlink_to(tmp_path / "d")
    assert "params/d is a link" in refusal(folder)


@pytest.mark.parametrize(
    ("item", "change", "said"),
    [
        ("provenance", lambda _: ["source"], "the provenance is a list instead of a mapping"),
        ("provenance", lambda _: None, "instead of a mapping"),
        ("provenance", lambda p: {**p, "patch_size": "big"}, "patch_size must be 1 to 65536 pixels, got 'big'"),
        ("provenance", lambda p: {**p, "patch_size": -1}, "patch_size must be"),
        ("provenance", lambda p: {**p, "patch_size": True}, "patch_size must be"),
        ("provenance", lambda p: {**p, "patch_size": 10**4000}, "got a number of 13288 bits"),
        ("provenance", lambda p: {**p, "licence": {"a": 1}}, "licence must be text, got a dict"),
        ("provenance", lambda p: {**p, "task": ["deraining"]}, "task must be text, got a list"),
        ("provenance", lambda p: {**p, "config": [1]}, "config must be a mapping"),
        ("provenance", lambda p: {**p, "orientations": [9]}, "orientations must be"),
        ("provenance", lambda p: {**p, "orientations": ["rot0", "rot0"]}, "orientations must be"),
        ("provenance", lambda p: {**p, "orientations": [[0]]}, "orientations must be"),
        ("provenance", lambda p: {**p, "orientations": 3}, "orientations must be"),
        ("config", lambda _: [1, 2], "the sizes of the network are a list"),
        ("config", lambda c: {**c, "num_cab": 100_000}, "num_cab of 100000 is more than any such network has"),
        ("config", lambda c: {**c, "num_cab": 3000}, "num_cab of 3000"),
        ("config", lambda c: {**c, "n_feat": 10**18}, "n_feat of 1000000000000000000 is more"),
        ("config", lambda c: {**c, "n_feat": 10**4000}, "n_feat of a number of many digits is more"),
        ("config", lambda c: {**c, "kernel_size": 1001}, "kernel_size of 1001"),
        (
            "config",
            lambda c: {**c, "n_feat": 1000, "num_cab": 60},
            "parameters and more are too many for such a network",
        ),
        ("config", lambda c: {**c, "n_feat": 6.0}, "n_feat must be a whole number, got a float"),
        ("config", lambda c: {**c, "n_feat": True}, "n_feat must be a whole number, got a bool"),
        ("config", lambda c: {**c, "depth": 3}, "the network has no size called 'depth'"),
        ("config", lambda c: {"n_feat": 6}, "is missing"),
        ("config", lambda c: {**c, "num_cab": 2}, "is missing"),
        ("config", lambda c: {**c, "n_feat": 8}, "has shape"),
    ],
)
def test_contents_of_a_wrong_kind_are_one_line(folder, item, change, said):
    change_json(folder, item, change)
    assert said in refusal(folder)


def test_numbers_of_a_megabyte_are_one_line(folder):
    for item, name in (("config", "num_cab"), ("provenance", "patch_size")):
        path = folder / item / "metadata"
        whole = path.read_text()
        path.write_text(f'{{"{name}": {"9" * 1_000_000}}}')
        sign(folder)
        assert f"{item}/metadata is not JSON" in refusal(folder)
        path.write_text(whole)


def test_nested_json_is_one_line(folder):
    spoil_nested(folder)
    assert "provenance/metadata is not JSON" in refusal(folder)


KERNEL = [3, 3, 2 * TINY.n_feat, TINY.n_feat]  # of concat12
COUNT = 9 * 2 * TINY.n_feat**2


@pytest.mark.parametrize(
    ("meta", "numbers", "said"),
    [
        (about([10**18]), b"", "has shape"),
        (about([10**9] * 4), b"", "has shape"),
        (about(KERNEL, chunks=[10**9] * 4), b"", "cut into pieces of"),
        (about(KERNEL, chunks=[3, 3, 0, 1]), b"", "cut into pieces of"),
        (about(KERNEL, "<c8"), bytes(8 * COUNT), "numbers of type '<c8', which no parameters have"),
        (about(KERNEL, "|O"), b"", "numbers of type '|O'"),
        (about(KERNEL, [["a", "<f4"]]), b"", "numbers of type"),
        (about(KERNEL), np.full(COUNT, np.nan, "<f4").tobytes(), "NaN or infinite values in 1 of"),
        (about(KERNEL, "<f8"), np.full(COUNT, 1e300).tobytes(), "NaN or infinite values in 1 of"),
        (about(KERNEL), b"123", "they are not 648"),
        (about(KERNEL, compressor=ZSTD), b"123", "they are not 648"),
        (about(KERNEL, compressor={"id": "lzma"}), b"", "compressed or ordered in a way that Orbax does not use"),
        (b"[" * 4000, b"", "is not JSON"),
        (b'{"shape": [' + b"1," * 4000 + b"1]}", b"", "is longer than"),
        (b"[]", b"", "is no mapping"),
    ],
)
def test_arrays_of_a_wrong_kind_are_one_line(folder, meta, numbers, said):
    rewrite(folder, {"concat12.kernel/.zarray": meta, "concat12.kernel/0.0.0.0": numbers})
    assert said in refusal(folder)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_arrays_in_other_types_and_pieces_are_read(folder, dtype, pieces):
    expected = np.random.default_rng(0).random(KERNEL).astype(dtype)
    store = {"driver": "ocdbt", "base": f"file://{folder / 'params'}/"}
    spec = {"driver": "zarr", "kvstore": {**store, "path": "concat12.kernel/"}, "delete_existing": True, "create": True}
    sides = [3, 3, -(-KERNEL[2] // pieces), -(-KERNEL[3] // (pieces + 1))]  # the last ones reach beyond the array
    spec["metadata"] = {"shape": KERNEL, "chunks": sides, "dtype": dtype, "compressor": ZSTD}
    tensorstore.open(spec).result().write(expected).result()
    sign(folder)
    np.testing.assert_array_equal(load_bundle(folder).params["concat12"]["kernel"], expected.astype(np.float32))


def test_zeros_come_back(tmp_path, params):
    zeros = {**params, "tail": {"kernel": np.zeros_like(params["tail"]["kernel"])}}
    save_bundle(tmp_path / "zeros", Bundle(TINY, zeros, {}))
    assert not load_bundle(tmp_path / "zeros").params["tail"]["kernel"].any()


def test_the_lists_of_arrays_are_found_where_they_are(saved):
    """The nodes of a bundle that Orbax wrote are all unpacked, and hold the arrays' names."""
    contents = [path.read_bytes() for path in (saved / "params").rglob("*") if path.is_file()]
    magics = [(data, found.start()) for data in contents for found in re.finditer(b"\\x0c\\xdb", data)]
    nodes = [node for data, start in magics if (node := arrays._node_at(data, start)) is not None]
    assert any(b"concat12.kernel" in node for node in nodes)


def varints(*values):
    encoded = lambda n: encoded(n & 0x7F)[:0] + bytes([n & 0x7F | 0x80]) + encoded(n >> 7) if n > 0x7F else bytes([n])
    return b"".join(map(encoded, values))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (bytes(50_000_000), "larger than 1,000,000 bytes"),  # 50 MB in 1.6 kB
        (b"\0" + varints(0, 60_000, *[60_000] * 59_999, *[1] * 60_000), "are longer than"),  # 3.6 GB of keys in 300 kB
        (b"\0" + varints(1, 60_000, 0) + bytes(60_000) + varints(2**40), "a list of the arrays is damaged"),
        (b"\0" + varints(2**40), "a list of the arrays is damaged"),
        (b"\0" + b"\xff" * 100, "numbers that are too large"),
    ],
    ids=range(5),
)
def test_lists_of_arrays_that_would_fill_the_memory_are_refused(folder, body, said):
    (folder / "params" / "d" / "x").write_bytes(b"abc" + node(body))
    sign(folder)
    assert said in refusal(folder)


def test_many_lists_of_arrays_are_refused(folder):
    (folder / "params" / "d" / "x").write_bytes(node(b"\0\0\0") * 2000)
    sign(folder)
    assert "the lists of the arrays are more than 1000" in refusal(folder)


def spoil_many(folder):
    for number in range(20_000):
        (folder / "params" / str(number)).touch()


MEASURED = """
import sys, time
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.support.errors import UserError
for folder in sys.argv[1:]:
    before = time.process_time()
    try:
        load_bundle(folder)
        print("loaded")
    except UserError as error:
        print(error)
    print(time.process_time() - before)
# Not ru_maxrss: that begins with the peak of the process that started this one.
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) * 1024)
"""


def test_hostile_bundles_take_little_time_and_memory(tmp_path, saved):
    kinds = {"bomb": spoil_bomb, "header": spoil_header, "sparse": spoil_sparse}
    for name, spoil in kinds.items():
        spoil(shutil.copytree(saved, tmp_path / name))
    folders = [tmp_path / name for name in kinds]
    done = subprocess.run([sys.executable, "-c", MEASURED, *folders], capture_output=True, text=True, check=True)
    *said, memory = done.stdout.splitlines()
    assert int(memory) < BYTES
    for folder, line, seconds in zip(folders, said[::2], said[1::2], strict=True):
        assert line.startswith(f"{folder}: ")
        assert float(seconds) < SECONDS


def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(regular_files, "MOST_FILES", 20)
    for number in range(20):
        (folder / "params" / str(number)).touch()
    assert "more than 20 files" in refusal(folder)


# --- what the process keeps -----------------------------------------------------------------------------------------


def test_saving_leaves_the_process_as_it_was(tmp_path, params):
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = sys.unraisablehook, [list(logger.filters) for logger in loggers]
    save_bundle(tmp_path / "a", Bundle(TINY, params, {}))
    (tmp_path / "file").touch()
    with pytest.raises(UserError):
        save_bundle(tmp_path / "file" / "b", Bundle(TINY, params, {}))
    assert (sys.unraisablehook, [list(logger.filters) for logger in loggers]) == before


def test_the_users_own_settings_of_jax_are_no_damage(saved):
    settings = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_DISABLE_JIT": "1", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    command = [sys.executable, "-c", MEASURED, saved]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.stdout.startswith("loaded\n"), done.stdout + done.stderr


def test_a_network_of_other_sizes_comes_back(tmp_path):
    cfg = MPRNetConfig(8, 0, 0, num_cab=1, kernel_size=1)
    save_bundle(tmp_path / "a", Bundle(cfg, init_params(cfg, seed=1), {}))
    loaded = load_bundle(tmp_path / "a")
    assert loaded.config == cfg
    jax.tree.map(np.testing.assert_array_equal, loaded.params, init_params(cfg, seed=1))
