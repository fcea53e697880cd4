"""Reading and writing PyTorch's files, against PyTorch and the safetensors package."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from attacks.checkpoints import HEADERS, OPCODES, legacy_header

from mprnet_jax.interchange.torch import files as torch_files
from mprnet_jax.support.errors import UserError

torch = pytest.importorskip("torch")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def trained_linear():
    """What a training program saves: a small network, Adam after a step, a scheduler and odds and ends."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-8)
    network(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 7,
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best_psnr": np.float64(31.5),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "size": network.weight.shape,
    }


def save(content, path, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def values(array):
    """Any number type, bit for bit in float64."""
    return array.astype(np.float64)


@LAYOUTS
def test_checkpoint_with_optimizer_reads_as_torch_reads_it(tmp_path, zipped):
    content = trained_linear()
    found = torch_files.read(save(content, tmp_path / "a.pth", zipped))
    assert found["epoch"] == 7
    assert found["size"] == (2, 3)
    assert list(found["state_dict"]) == ["weight", "bias"]
    for name, tensor in content["state_dict"].items():
        np.testing.assert_array_equal(found["state_dict"][name], tensor.numpy(), strict=True)
    step = content["optimizer"]["state"][0]["exp_avg"]
    np.testing.assert_array_equal(found["optimizer"]["state"][0]["exp_avg"], step.numpy(), strict=True)
    assert found["optimizer"]["param_groups"][0]["weight_decay"] == 1e-8


@LAYOUTS
def test_views_and_number_types_read_as_torch_reads_them(tmp_path, zipped):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    content = {
        "transposed": base.t(),
        "part": base[1:, ::2],
        "scalar": base[2, 3],
        "empty": torch.zeros(0, 5),
        "parameter": torch.nn.Parameter(base),
        **{str(dtype): base.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64)},
        **{str(dtype): base.to(dtype) for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.bool)},
    }
    found = torch_files.read(save(content, tmp_path / "a.pth", zipped))
    assert found.keys() == content.keys()
    for name, tensor in content.items():
        assert found[name].shape == tuple(tensor.shape)
        np.testing.assert_array_equal(values(found[name]), tensor.detach().double().numpy())
    assert {str(found[f"torch.{name}"].dtype) for name in ("bfloat16", "float16", "bool")} == {
        "bfloat16",
        "float16",
        "bool",
    }


def some_arrays():
    rng = np.random.default_rng(0)
    shared = rng.random(1, dtype=np.float32)
    return {
        "conv.weight": rng.random((4, 3, 3, 3), dtype=np.float32),
        "a.slope": shared,
        "b.slope": shared,
        "half": rng.random((2, 5)).astype(np.float16),
        "not contiguous": rng.random((4, 6), dtype=np.float32).T,
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }


def test_written_pth_loads_in_torch_as_weights_only(tmp_path):
    arrays = some_arrays()
    torch_files.write_pth(tmp_path / "a.pth", arrays)
    found = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(found) == ["state_dict"]
    assert type(found["state_dict"]) is OrderedDict
    assert list(found["state_dict"]) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found["state_dict"][name].numpy(), array, strict=True)
    assert found["state_dict"]["a.slope"].data_ptr() == found["state_dict"]["b.slope"].data_ptr()
    for name, array in torch_files.read(tmp_path / "a.pth")["state_dict"].items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_safetensors_agree_with_the_safetensors_package_in_both_directions(tmp_path):
    arrays = some_arrays()
    torch_files.write_safetensors(tmp_path / "ours.safetensors", arrays)
    for name, array in safetensors_numpy.load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)

    tensors = {name: torch.rand(3, 4).to(torch.bfloat16) for name in "ab"} | {"i": torch.arange(5)}
    safetensors_torch.save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    found = torch_files.read(tmp_path / "theirs.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(values(found[name]), tensor.double().numpy())


@pytest.mark.parametrize("write", [torch_files.write_pth, torch_files.write_safetensors])
def test_writing_never_replaces_a_file_unless_told_and_leaves_nothing_beside_it(tmp_path, write):
    path = tmp_path / "a.pth"
    path.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"a\.pth exists; choose another name or remove it first"):
        write(path, some_arrays())
    assert path.read_bytes() == b"precious"
    write(path, some_arrays(), overwrite=True)
    assert len(path.read_bytes()) > 8
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
        write(tmp_path / "no such folder" / "a.pth", some_arrays())
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


class Planted:
    """Unpickles by running a shell command that leaves a marker file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@LAYOUTS
def test_planted_program_is_refused_and_does_not_run(tmp_path, zipped):
    marker = tmp_path / "marker"
    path = save({"state_dict": {"w": torch.zeros(2)}, "extra": Planted(marker)}, tmp_path / "a.pth", zipped)
    with pytest.raises(UserError, match=rf"a\.pth: refused, because it asks for {os.system.__module__}\.system .* not"):
        torch_files.read(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap is real
    assert marker.exists()


def legacy(*pickled, tail=b""):
    """A file of the legacy layout with these pickles as its object and its list of keys."""
    return b"".join([legacy_header(), *pickled]) + tail


def zipped_pickle(path, pickled, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(16))


def tensor_opcodes(count=4, offset=0, size=(4,), stride=(1,)):
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    number = lambda n: pickle.dumps(n, 2)[2:-1]
    places = b"".join(map(number, (offset, size, stride)))
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage + number(count) + b"tQ" + places.replace(b"q\x00", b"") + b"\x89}t")
        + b"R."
    )


def test_handmade_tensor_reads(tmp_path):
    zipped_pickle(tmp_path / "a.pth", tensor_opcodes())
    np.testing.assert_array_equal(torch_files.read(tmp_path / "a.pth"), np.zeros(4, np.float32), strict=True)


@pytest.mark.parametrize(
    "lie",
    [
        {"count": 10**12},
        {"count": -1},
        {"offset": 1},
        {"offset": -1},
        {"size": (10**12,), "stride": (0,)},
        {"size": (5,)},
        {"size": (2, 2), "stride": (3, 1)},
        {"size": (4,), "stride": (-1,)},
        {"size": (4,), "stride": ()},
        {"size": (10**30, 10**30), "stride": (10**30, 1)},
        {"size": "four"},
    ],
    ids=str,
)
def test_tensor_outside_its_storage_is_a_user_error(tmp_path, lie):
    zipped_pickle(tmp_path / "a.pth", tensor_opcodes(**lie))
    with pytest.raises(UserError, match="damaged"):
        torch_files.read(tmp_path / "a.pth")
    if "size" not in lie and "offset" not in lie:  # the legacy layout claims its memory by the count alone
        keys = pickle.dumps(["0"], 2)
        (tmp_path / "a.pth").write_bytes(legacy(tensor_opcodes(**lie), keys, tail=struct.pack("<q", 4) + bytes(16)))
        with pytest.raises(UserError, match="damaged"):
            torch_files.read(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "opcodes",
    OPCODES,
    ids=range(11),
)
def test_hostile_pickle_is_a_user_error(tmp_path, opcodes):
    zipped_pickle(tmp_path / "a.pth", opcodes)
    with pytest.raises(UserError, match=r"a\.pth: "):
        torch_files.read(tmp_path / "a.pth")


def test_compressed_archive_is_a_user_error(tmp_path):
    zipped_pickle(tmp_path / "a.pth", tensor_opcodes(), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="is compressed"):
        torch_files.read(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "header",
    HEADERS,
    ids=range(9),
)
def test_hostile_safetensors_header_is_a_user_error(tmp_path, header):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(UserError, match=r"a\.safetensors: damaged"):
        torch_files.read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"\0", b"\xff" * 8 + b"{}", b"\x80\x02}."], ids=str)
def test_other_files_are_a_user_error(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth: neither a \.pth nor a \.safetensors file; name a checkpoint"):
        torch_files.read(tmp_path / "a.pth")


def in_tar(data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("model.pth")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def in_zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.pth", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; download it again"),
        (b"<html>404</html>", "a web page, not a checkpoint"),
        (b"\n<!DOCTYPE html><title>Google Drive can't scan this file", "a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "fetch that with git lfs pull"),
        (gzip.compress(b"x"), "a packed file; unpack it"),
        (in_tar(b"x"), "a packed file; unpack it"),
        (in_zip(b"x"), "without data.pkl, .*unpack it if a checkpoint is in it"),
    ],
    ids=["empty", "page", "page with a blank line", "git lfs", "gz", "tar", "zip"],
)
def test_what_a_download_left_in_place_of_a_checkpoint_is_named_with_the_remedy(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.pth: .*{message}"):
        torch_files.read(tmp_path / "a.pth")


def test_missing_file_and_folder_are_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"a\.pth: cannot be read \(No such file or directory\)"):
        torch_files.read(tmp_path / "a.pth")
    with pytest.raises(UserError, match="cannot be read"):
        torch_files.read(tmp_path)


def file_of_each_kind(folder):
    save(trained_linear(), folder / "zip.pth")
    save(trained_linear(), folder / "legacy.pth", zipped=False)
    torch_files.write_safetensors(folder / "a.safetensors", some_arrays())
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_cut_files_are_a_user_error_at_every_length(tmp_path):
    for whole in file_of_each_kind(tmp_path):
        torch_files.read_bytes(whole, "whole")
        for length in {*range(0, len(whole), 7), *range(len(whole) - 40, len(whole))}:
            with pytest.raises(UserError, match="damaged"):
                torch_files.read_bytes(whole[:length], "cut")


def test_flipped_bytes_raise_nothing_but_a_user_error(tmp_path):
    rng = np.random.default_rng(0)
    refused = 0
    for whole in file_of_each_kind(tmp_path):
        for _ in range(1500):
            data = bytearray(whole)
            for place in rng.integers(len(data), size=rng.integers(1, 4)):
                data[place] = rng.choice([0, 0xFF, 0x80, int(rng.integers(256)), *b".(}]RQstuqrcX\x94"])
            try:
                torch_files.read_bytes(bytes(data), "flipped")
            except UserError:
                refused += 1
    assert refused > 1000  # flips among the numbers of a legacy file or of safetensors cannot be seen
