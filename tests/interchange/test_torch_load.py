"""Weights out of what training programs save: wrappers' prefixes, entries, and files that strangers made."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from attacks import checkpoints

from mprnet_jax.interchange.torch import state_dict as torch_state_dict
from mprnet_jax.interchange.torch.load import load, official_state_dict
from mprnet_jax.model import init_params
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

torch = pytest.importorskip("torch")

SECONDS, BYTES = 10, 1_000_000_000  # that a hostile file may take


@pytest.fixture(scope="module")
def state():
    return torch_state_dict.to_state_dict(TINY, init_params(TINY, seed=0))


def tensors(arrays):
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def same(found, state):
    assert found.keys() == state.keys()
    assert all(np.array_equal(found[name], state[name]) for name in state)


PREFIXES = ["module.", "model.", "net_g.", "_orig_mod.", "generator.", "params_ema.", "network.unet.", "0."]
NESTED = ["module.module.", "module._orig_mod.", "_orig_mod.module.", "model.net_g.module._orig_mod.", "a.b.c.d.e."]


@pytest.mark.parametrize("prefix", ["", *PREFIXES, *NESTED])
def test_what_wrappers_put_before_every_name_is_taken_off(state, prefix):
    same(official_state_dict({prefix + name: array for name, array in state.items()}, "a.pth"), state)


def test_a_prefix_in_a_file_is_told(tmp_path, state):
    torch.save({"state_dict": {f"model.net.{k}": v for k, v in tensors(state).items()}}, tmp_path / "a.ckpt")
    cfg, params, provenance = load(tmp_path / "a.ckpt")
    assert cfg == TINY
    same(torch_state_dict.to_state_dict(cfg, params), state)
    assert provenance["prefix"] == "model.net."


def test_wrappers_inside_the_names_are_taken_off(state):
    wrapped = {name.replace("stage1_encoder.", "stage1_encoder._orig_mod."): array for name, array in state.items()}
    wrapped = {
        name.replace(".body.", "._fsdp_wrapped_module._checkpoint_wrapped_module.body."): array
        for name, array in wrapped.items()
    }
    same(official_state_dict(wrapped, "a.pth"), state)


def test_other_networks_beside_it_are_left_out(state):
    whole = {f"generator.{name}": array for name, array in state.items()}
    others = {"discriminator.0.weight": np.zeros(3), "loss.vgg.shallow.weight": np.zeros(3), "n_averaged": np.array(3)}
    same(official_state_dict(others | whole, "a.pth"), state)


def test_averaged_weights_are_chosen_and_two_networks_that_nothing_tells_apart_are_not(state):
    latest = {f"model.{name}": array * 0 for name, array in state.items()}
    same(official_state_dict(latest | {f"model_ema.{name}": array for name, array in state.items()}, "a.pth"), state)
    with pytest.raises(UserError, match=r"a\.pth: 2 MPRNets in one state dict \(model\., teacher\.\); save the one"):
        official_state_dict(latest | {f"teacher.{name}": array for name, array in state.items()}, "a.pth")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "net_g": state},
        lambda state: {"generator": state, "discriminator": {"w": np.zeros(2)}},
        lambda state: {"optimizer": {"w": np.zeros(2)}, "my own name": state},
        lambda state: {"checkpoint": {"model": {"state_dict": state}}},
        lambda state: {**state, "epoch": 3},
    ],
    ids=range(5),
)
def test_the_network_is_found_under_any_entry(state, wrap):
    same(official_state_dict(wrap(state), "a.pth"), state)


def test_entries_that_hold_each_other_end(state):
    content = {"a": {}}
    for _ in range(3):
        content = {str(number): content for number in range(1000)}
    content["0"]["self"] = content
    with pytest.raises(UserError, match="no state dict in it"):
        official_state_dict(content, "a.pth")


# --- kinds that are not read are not called damaged ------------------------------------------------------------------


def unsupported(folder, kind):
    path = folder / "a.pth"
    weights = {"w": torch.rand(2, 2)}
    if kind == "protocol 4":
        torch.save(weights, path, pickle_protocol=4)
    elif kind == "protocol 4, old layout":
        torch.save(weights, path, pickle_protocol=4, _use_new_zipfile_serialization=False)
    elif kind == "tuple keys":
        torch.save({"state_dict": weights, "x": {(1, 2): 3}}, path)
    elif kind in ("complex64", "float8_e4m3fn"):
        torch.save({"w": torch.zeros(2, dtype=getattr(torch, kind))}, path)
    elif kind == "sparse":
        torch.save({"w": torch.eye(3).to_sparse()}, path)
    elif kind == "compressed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    elif kind == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.pth", b"inside")
    else:
        header = json.dumps({"w": {"dtype": kind, "shape": [8], "data_offsets": [0, 8]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return path


KINDS = ["protocol 4", "protocol 4, old layout", "tuple keys", "complex64", "float8_e4m3fn", "sparse", "compressed"]


@pytest.mark.parametrize("kind", [*KINDS, "another zip", "F8_E4M3", "U64"])
def test_a_whole_file_of_another_kind_is_not_called_damaged(tmp_path, kind):
    with pytest.raises(UserError, match=r"a\.pth: of a kind that is not read here \(.*; load it in PyTorch and save"):
        load(unsupported(tmp_path, kind))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "device": "/dev/zero", "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UserError, match=rf"cannot be read \(a {kind} instead of a file\)"):
        load(path)


# --- hostile files ----------------------------------------------------------------------------------------------------


MEASURED = """
import sys, time
from mprnet_jax.interchange.torch.load import load
from mprnet_jax.support.errors import UserError
for path in sys.argv[1:]:
    before = time.process_time()
    try:
        load(path)
        print("loaded")
    except UserError as error:
        print(str(error).splitlines()[0])
    print(time.process_time() - before)
# Not ru_maxrss: that begins with the peak of the process that started this one.
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) * 1024)
"""


def test_hostile_files_take_little_time_and_memory(tmp_path, state):
    paths = []
    for number, make in enumerate(checkpoints.built(state).values()):
        (tmp_path / str(number)).mkdir()
        paths.append(make(tmp_path / str(number)))
    done = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, check=True)
    *said, memory = done.stdout.splitlines()
    assert int(memory) < BYTES
    for path, line, seconds in zip(paths, said[::2], said[1::2], strict=True):
        assert line.startswith(f"{path}: "), line
        assert float(seconds) < SECONDS, path
    assert "num_cab of 3000 is more than any such network has" in done.stdout


def test_names_of_strangers_play_no_tricks_with_the_terminal(state):
    with pytest.raises(UserError) as caught:
        torch_state_dict.from_state_dict({**state, "\x1b[31m\nred": np.zeros(1, np.float32)})
    assert "surplus  \\x1b[31m\\nred" in str(caught.value)
    with pytest.raises(UserError) as caught:
        torch_state_dict.from_state_dict({"\x1b[31m": np.zeros(1, np.float32)})
    assert "\x1b" not in str(caught.value)
