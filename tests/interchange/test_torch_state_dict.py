"""Official checkpoints to bundles and back, against the PyTorch network and spandrel's loader."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.interchange import parity
from mprnet_jax.interchange.torch import files as torch_files
from mprnet_jax.interchange.torch import reference
from mprnet_jax.interchange.torch import state_dict as torch_state_dict
from mprnet_jax.interchange.torch.load import OFFICIAL_GIT_BLOBS, load
from mprnet_jax.model import PRESETS, MPRNetConfig, abstract_params, init_params
from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError
from tests.helpers.torch_reference import torch, torch_mprnet

TOOL = Path(__file__).parents[2] / "tools" / "convert_torch_ckpt.py"
TINY = MPRNetConfig(12, 6, 4, num_cab=2)


@pytest.fixture(scope="module")
def network():
    return torch_mprnet(TINY, seed=0, slope=0.1)


@pytest.fixture
def state(network):
    """The network's tensors as NumPy arrays, for a test to spoil."""
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def cli(*argv):
    """The command's main, in this process: exit code 0 is none."""
    import convert_torch_ckpt

    try:
        convert_torch_ckpt.main([str(argument) for argument in argv])
    except SystemExit as stop:
        return stop.code
    return 0


# --- names -----------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_names_are_those_of_the_torch_network_one_for_one(name):
    cfg = PRESETS[name]
    expected = {key: tuple(tensor.shape) for key, tensor in reference.torch_network(cfg).state_dict().items()}
    names = torch_state_dict.official_names(cfg)
    assert set(names) == set(expected)
    if cfg.num_cab == 8:  # as published
        assert len(names) == 316
        assert len(set(names.values())) == 262
    assert set(names.values()) == set(flatten_dict(abstract_params(cfg), sep="/"))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract_params(cfg))
    assert {key: array.shape for key, array in torch_state_dict.to_state_dict(cfg, params).items()} == expected


SIZES = [
    *PRESETS.values(),
    TINY,
    MPRNetConfig(10, 4, 6, num_cab=1, kernel_size=5, reduction=2),
    MPRNetConfig(8, 0, 0, num_cab=11, kernel_size=1),
    MPRNetConfig(7, 3, 5, reduction=3),
]


@pytest.mark.parametrize("cfg", SIZES, ids=str)
def test_sizes_are_read_off_the_tensors(cfg):
    params = init_params(cfg, seed=0)
    found, back = torch_state_dict.from_state_dict(torch_state_dict.to_state_dict(cfg, params))
    assert found == cfg
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_reductions_that_make_the_same_network_are_read_as_one_that_fits():
    cfg = MPRNetConfig(8, 0, 0, num_cab=1, reduction=6)  # 8 // 5 .. 8 // 8 are all 1
    found, _ = torch_state_dict.from_state_dict(torch_state_dict.to_state_dict(cfg, init_params(cfg, seed=0)))
    assert abstract_params(found) == abstract_params(cfg)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_known_by_its_sizes(name):
    assert torch_state_dict.preset_name(PRESETS[name]) == name
    assert torch_state_dict.preset_name(TINY) is None


# --- files -----------------------------------------------------------------


def after_a_step(network):
    """State of Adam with moments for every parameter."""
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=1e-8)
    sum(parameter.sum() for parameter in network.parameters()).backward()
    optimizer.step()
    network.zero_grad()
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("form", "zipped"),
    [
        ("official", True),
        ("official", False),
        ("data parallel", False),
        ("bare", True),
        ("params", True),
        ("model", False),
    ],
)
def test_every_form_goes_to_a_bundle_and_back_bit_for_bit(tmp_path, form, zipped):
    network = torch_mprnet(TINY, seed=0, slope=0.1)
    optimizer = after_a_step(network)
    state = network.state_dict()
    content = {
        "official": {"epoch": 3, "state_dict": state, "optimizer": optimizer},
        "data parallel": {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        "bare": state,
        "params": {"params": state},
        "model": {"optimizer": optimizer, "model": state},
    }[form]
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)

    assert cli(tmp_path / "a.pth", "--output", tmp_path / "bundle") == 0
    assert cli("--to-torch", tmp_path / "bundle", "--output", tmp_path / "b.pth") == 0

    back = torch.load(tmp_path / "b.pth", weights_only=True)["state_dict"]
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name
    reference.torch_network(TINY).load_state_dict(back, strict=True)


def test_safetensors_go_to_a_bundle_and_back_bit_for_bit(tmp_path, state):
    package = pytest.importorskip("safetensors.numpy")
    package.save_file(state, tmp_path / "a.safetensors")
    assert cli(tmp_path / "a.safetensors", "--output", tmp_path / "bundle") == 0
    assert cli("--to-torch", tmp_path / "bundle", "--output", tmp_path / "b.safetensors") == 0
    back = package.load_file(tmp_path / "b.safetensors")
    assert set(back) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_float_types_become_the_float32_that_torch_makes_of_them(tmp_path, network, dtype):
    state = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    cfg, params, provenance = load(tmp_path / "a.pth")
    assert provenance["source_dtype"] == str(dtype).removeprefix("torch.")
    for name, array in torch_state_dict.to_state_dict(cfg, params).items():
        np.testing.assert_array_equal(array, state[name].float().numpy(), strict=True)


def test_spandrel_loads_what_we_write_with_the_right_sizes(tmp_path):
    sizes = MPRNetConfig(16, 8, 4)  # spandrel takes 8 CABs, kernel 3 and reduction 4 for granted
    reference.torch_network(sizes)  # imports spandrel_extra_arches with what it needs
    import spandrel
    import spandrel_extra_arches

    spandrel_extra_arches.install(ignore_duplicates=True)
    params = init_params(sizes, seed=0)
    torch_files.write_pth(tmp_path / "a.pth", torch_state_dict.to_state_dict(sizes, params))
    torch_files.write_safetensors(tmp_path / "a.safetensors", torch_state_dict.to_state_dict(sizes, params))
    for name in ("a.pth", "a.safetensors"):
        found = spandrel.ModelLoader(device="cpu").load_from_file(tmp_path / name)
        assert found.architecture.name == "MPRNet"
        cfg, back = torch_state_dict.from_state_dict({k: v.numpy() for k, v in found.model.state_dict().items()})
        assert cfg == sizes
        jax.tree.map(np.testing.assert_array_equal, back, params)


def test_provenance_names_the_file_by_its_hashes(tmp_path, network, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save(network.state_dict(), path)
    git = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout.strip()
    _, _, provenance = load(path)
    assert provenance["source_file"] == "a.pth"
    assert provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance["git_blob_sha1"] == git
    assert provenance.official is None
    assert provenance.task is None
    assert provenance["licence"].startswith("unknown")
    assert provenance["preset"] == "custom"
    monkeypatch.setitem(OFFICIAL_GIT_BLOBS, git, "deraining")
    _, _, provenance = load(path)
    assert provenance["official"] == provenance["task"] == "deraining"
    assert provenance["patch_size"] == 256
    assert "non-commercial" in provenance["licence"]


# --- files that are refused ------------------------------------------------


def test_another_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: not an MPRNet: the 2 tensors .* \(first: weight, bias\)"):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], 7, {"state_dict": {}}, {"state_dict": {"a": 1}}], ids=str)
def test_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: no state dict in it .* torch\.save\(model\.state_dict\(\), \.\.\.\)"):
        load(tmp_path / "a.pth")


def test_missing_surplus_and_misshapen_tensors_are_listed_together(state):
    del state["tail.weight"], state["sam12.conv2.weight"]
    state["head.bias"] = np.zeros(3, np.float32)
    state["concat12.weight"] = state["concat12.weight"][:, :5]
    with pytest.raises(UserError) as caught:
        torch_state_dict.from_state_dict(state)
    assert str(caught.value) == (
        "the tensors do not fit an MPRNet of these sizes (2 missing, 1 surplus, 1 of another shape); use the "
        "checkpoint of an unchanged network:\n"
        "  missing  sam12.conv2.weight\n"
        "  missing  tail.weight\n"
        "  surplus  head.bias\n"
        "  shape    concat12.weight: (12, 5, 3, 3) in the file, (12, 24, 3, 3) in the network"
    )


def test_long_lists_are_cut_and_say_so(state):
    state |= {f"more.{i}": np.zeros(1, np.float32) for i in range(1000)}
    with pytest.raises(UserError, match=r"0 missing, 1000 surplus(.|\n)* and 960 more$") as caught:
        torch_state_dict.from_state_dict(state)
    assert len(str(caught.value).splitlines()) == 42


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(state, value):
    state["tail.weight"][0, 1, 2, 0] = value
    with pytest.raises(UserError, match=r"NaN or infinite values in 1 of 226 tensors: tail\.weight; use a checkpoint"):
        torch_state_dict.from_state_dict(state)


def test_values_beyond_float32_are_refused(state):
    state["tail.weight"] = np.full_like(state["tail.weight"], 1e300, dtype=np.float64)
    with pytest.raises(UserError, match=r"infinite values in 1 of 226 tensors: tail\.weight"):
        torch_state_dict.from_state_dict(state)


def test_differing_prelu_slopes_are_refused(state):
    state["stage2_decoder.skip_attn1.body.1.weight"][:] = 0.5
    with pytest.raises(UserError, match=r"2 different PReLU slopes.* 0\.5 in stage2_decoder\.skip_attn1\.body\.1"):
        torch_state_dict.from_state_dict(state)


def test_whole_numbers_are_refused(state):
    state["tail.weight"] = state["tail.weight"].astype(np.int8)
    with pytest.raises(UserError, match=r"1 tensors are no floating-point numbers, first tail\.weight \(int8\)"):
        torch_state_dict.from_state_dict(state)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("shallow_feat1.0.weight", (12,)),
        ("shallow_feat1.0.weight", (0, 3, 3, 3)),
        ("shallow_feat1.0.weight", (12, 3, 4, 4)),
        ("concat23.weight", ()),
        ("concat23.weight", (2, 1, 1, 1)),
        ("shallow_feat1.1.CA.conv_du.0.weight", (0, 12, 1, 1)),
        ("stage3_orsnet.orb1.body.999999.weight", (1,)),
    ],
)
def test_impossible_sizes_are_refused(state, name, shape):
    state[name] = np.zeros(shape, np.float32)
    with pytest.raises(UserError, match="not an MPRNet"):
        torch_state_dict.from_state_dict(state)


# --- the command -----------------------------------------------------------


def test_command_says_what_it_read_and_wrote(tmp_path, capsys):
    cfg = PRESETS["light"]
    torch_files.write_pth(tmp_path / "a.pth", torch_state_dict.to_state_dict(cfg, init_params(cfg, seed=0)))
    assert cli(tmp_path / "a.pth", "--output", tmp_path / "bundle") == 0
    said = capsys.readouterr().out
    assert re.search(r"read .*a\.pth: sizes of the light preset, [\d,]+ parameters, float32\n", said)
    assert "not one of the official files" in said
    assert "licence: unknown" in said
    assert f"wrote {tmp_path / 'bundle'}" in said
    assert load_bundle(tmp_path / "bundle").config == cfg


def test_command_verifies_against_torch(tmp_path, network, capsys):
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.pth")
    assert cli(tmp_path / "a.pth", "--output", tmp_path / "bundle", "--verify") == 0
    assert re.search(r"from PyTorch: stage3 \S+e-0\d, stage2 \S+, stage1 \S+\n", capsys.readouterr().out)


def test_failed_verification_leaves_nothing_behind(tmp_path, network, monkeypatch, capsys):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    different = parity.Difference(1, 64, 64, {"stage3": 1e-7, "stage2": float("nan"), "stage1": 1e-7})
    monkeypatch.setattr(parity, "differences", lambda *args: [different])
    assert cli(tmp_path / "a.pth", "--output", tmp_path / "bundle", "--verify") == EXIT_USER_ERROR
    assert "PyTorch computes something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("package", ["torch", "spandrel_extra_arches.architectures.MPRNet"])
def test_verifying_without_torch_says_what_to_install(tmp_path, network, monkeypatch, capsys, package):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, package, None)
    assert cli(tmp_path / "a.pth", "--output", tmp_path / "bundle", "--verify") == EXIT_USER_ERROR
    assert 'pip install "mprnet_jax[verify]"' in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_command_needs_no_torch(tmp_path, network):
    torch.save({"state_dict": network.state_dict()}, tmp_path / "a.pth")
    program = f"""
import runpy, sys
sys.modules["torch"] = None  # importing it fails
sys.argv = ["convert_torch_ckpt.py", "a.pth", "--output", "bundle"]
runpy.run_path({str(TOOL)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle").is_dir()


@pytest.mark.parametrize("spoil", ["absent", "empty", "cut", "picture", "other network"])
def test_wrong_files_end_with_one_line_and_code_2(tmp_path, network, capsys, spoil):
    path = tmp_path / "a.pth"
    torch.save(network.state_dict(), path)
    whole = path.read_bytes()
    if spoil == "absent":
        path.unlink()
    elif spoil == "other network":
        torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "picture": b"\x89PNG\r\n\x1a\n" * 9}[spoil])
    assert cli(path, "--output", tmp_path / "bundle") == EXIT_USER_ERROR
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"convert_torch_ckpt: error: {path}: ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def test_nothing_that_exists_is_overwritten(tmp_path, network, capsys):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "full").mkdir()
    assert cli(tmp_path / "a.pth", "--output", tmp_path / "full") == EXIT_USER_ERROR
    assert not list((tmp_path / "full").iterdir())
    save_bundle(tmp_path / "bundle", Bundle(TINY, init_params(TINY, seed=0), {}))
    assert cli("--to-torch", tmp_path / "bundle", "--output", tmp_path / "a.pth") == EXIT_USER_ERROR
    assert (tmp_path / "a.pth").read_bytes() == before
    assert cli("--to-torch", tmp_path / "bundle", "--output", tmp_path / "a.onnx") == EXIT_USER_ERROR
    assert cli("--to-torch", tmp_path / "full", "--output", tmp_path / "b.pth") == EXIT_USER_ERROR
    assert cli("--output", tmp_path / "b.pth") == 2
    assert cli(tmp_path / "a.pth", "--to-torch", tmp_path / "bundle", "--output", tmp_path / "b.pth") == 2
    assert not (tmp_path / "b.pth").exists()
    said = capsys.readouterr().err
    for reason in ("choose another folder", "choose another name", "must end in .pth or .safetensors", "not a checkpo"):
        assert reason in said


def test_help_teaches_both_directions(capsys):
    assert cli("--help") == 0
    said = capsys.readouterr().out
    assert "python tools/convert_torch_ckpt.py model_deblurring.pth --output checkpoints/deblurring" in said
    assert "none that a file brings along is run" in said
