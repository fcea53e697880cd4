"""Which engine and dtype restore, and that OpenVINO gives what XLA gives. Tests that need OpenVINO run where it is."""

import subprocess
import sys

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.infer import main as infer
from mprnet_jax.model import MPRNetConfig, init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.restoring.engines import engine
from mprnet_jax.support.errors import UserError

TINY = MPRNetConfig(4, 2, 2, num_cab=1, reduction=1)
needs_openvino = pytest.mark.skipif(not engine.has_openvino(), reason="OpenVINO is not installed")


@pytest.fixture
def restorer():
    return Restorer(TINY, init_params(TINY, seed=0), {"patch_size": 16})


@pytest.mark.parametrize(
    ("asked", "local", "installed", "cpu", "chosen"),
    [
        ("auto", False, True, True, "openvino"),
        ("auto", False, True, False, "xla"),
        ("auto", False, False, True, "xla"),
        ("auto", True, True, True, "xla"),
        ("openvino", True, True, True, "xla"),
        ("openvino", False, True, False, "openvino"),
        ("xla", False, True, True, "xla"),
    ],
)
def test_the_engine_is_chosen_by_what_is_there_and_what_it_knows(monkeypatch, asked, local, installed, cpu, chosen):
    monkeypatch.setattr(engine, "has_openvino", lambda: installed)
    monkeypatch.setattr(dispatch, "is_cpu", lambda: cpu)
    assert engine.choose_engine(asked, local) == chosen


@pytest.mark.parametrize(
    ("name", "cpu", "native", "pixels", "dtype"),
    [
        ("openvino", True, True, np.uint8, "bfloat16"),
        ("openvino", True, True, np.uint16, "float32"),
        ("openvino", True, True, np.float32, "float32"),
        ("openvino", True, False, np.uint8, "float32"),
        ("xla", True, True, np.uint8, "float32"),
        ("xla", False, False, np.uint8, "bfloat16"),
        ("xla", False, False, np.uint16, "float32"),
    ],
)
def test_dtype_auto_is_bfloat16_for_8_bits_where_the_processor_has_it(monkeypatch, name, cpu, native, pixels, dtype):
    monkeypatch.setattr(dispatch, "is_cpu", lambda: cpu)
    monkeypatch.setattr(dispatch, "cpu_has_bfloat16", lambda: native)
    assert engine.fastest_dtype(name, np.dtype(pixels)) == dtype


def test_dtype_auto_restores_as_the_dtype_that_it_chooses(restorer, photo, monkeypatch):
    chosen = {np.dtype(np.uint8): "bfloat16", np.dtype(np.uint16): "float32"}
    monkeypatch.setattr("mprnet_jax.restoring.restorer.fastest_dtype", lambda _, dtype: chosen[dtype])
    automatic = restorer.with_options(dtype="auto", engine="xla", stages=1)
    assert automatic.computed_by == "XLA, bfloat16 (float32 for pictures of 16 bits)"
    for pixels, dtype in ((photo[:24, :32], "bfloat16"), (photo[:24, :32].astype(np.uint16) * 257, "float32")):
        expected = automatic.with_options(dtype=dtype)(pixels)
        np.testing.assert_array_equal(automatic(pixels), expected)


def test_openvino_that_is_not_installed_is_told_in_one_line(tmp_path, photo, monkeypatch, capsys):
    monkeypatch.setattr(engine, "has_openvino", lambda: False)
    save_bundle(tmp_path / "bundle", Bundle(TINY, init_params(TINY, seed=0), {}))
    images.write(tmp_path / "a.png", photo[:24, :32])
    with pytest.raises(SystemExit) as stop:
        infer([*where(tmp_path), "--engine", "openvino"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "engine openvino: OpenVINO is not installed; run: pip install 'mprnet_jax[openvino]'" in error


def where(folder):
    return ["--checkpoint", str(folder / "bundle"), "--input", str(folder / "a.png"), "--output", str(folder / "out")]


def test_a_long_run_ends_with_what_openvino_would_bring(tmp_path, photo, monkeypatch, capsys):
    save_bundle(tmp_path / "bundle", Bundle(TINY, init_params(TINY, seed=0), {}))
    images.write(tmp_path / "a.png", photo[:24, :32])
    monkeypatch.setattr(engine, "has_openvino", lambda: False)
    infer(where(tmp_path))
    assert "OpenVINO" not in capsys.readouterr().out
    monkeypatch.setattr("mprnet_jax.infer.LONG_SECONDS", 0)
    infer([*where(tmp_path), "--overwrite"])
    assert "faster next time: with OpenVINO (pip install 'mprnet_jax[openvino]')" in capsys.readouterr().out
    monkeypatch.setattr(engine, "has_openvino", lambda: True)
    infer([*where(tmp_path), "--overwrite", "--engine", "xla"])
    assert "faster next time" not in capsys.readouterr().out


# --- OpenVINO itself ---


@needs_openvino
@pytest.mark.parametrize("stages", [1, 3])
def test_openvino_gives_what_xla_gives_at_any_size_and_tiles(restorer, photo, stages):
    for options in ({}, {"tile": 32, "overlap": 8, "batch": 3}, {"self_ensemble": True}):
        pair = [restorer.with_options(engine=name, stages=stages, **options) for name in ("openvino", "xla")]
        assert [each.engine_name for each in pair] == ["openvino", "xla"]
        for size in ((49, 70), (8, 8), (1, 3)):
            pixels = photo[: size[0], : size[1]].astype(np.float32) / 255
            ours, xlas = (each(pixels) for each in pair)
            np.testing.assert_allclose(ours, xlas, atol=1e-5)


@needs_openvino
def test_openvino_in_bfloat16_is_near_to_float32(restorer, photo):
    pixels = photo[:64, :64].astype(np.float32) / 255
    exact, rounded = (restorer.with_options(engine="openvino", dtype=d)(pixels) for d in ("float32", "bfloat16"))
    assert np.sqrt(np.mean((exact - rounded) ** 2)) < 0.01  # 40 dB; nothing where OpenVINO has no bfloat16
    assert dispatch.cpu_has_bfloat16() == bool(np.any(exact != rounded))


@needs_openvino
def test_local_means_and_exact_tiles_are_computed_by_xla_with_a_word(tmp_path, photo, capsys):
    save_bundle(tmp_path / "bundle", Bundle(TINY, init_params(TINY, seed=0), {"patch_size": 16}))
    images.write(tmp_path / "a.png", photo[:64, :64])
    infer([*where(tmp_path), "--engine", "openvino", "--tlc"])
    assert "computed by XLA: OpenVINO knows neither --tlc nor --halo" in capsys.readouterr().out
    both = [(tmp_path / "out" / "a.png").read_bytes()]
    infer([*where(tmp_path), "--engine", "xla", "--tlc", "--overwrite"])
    assert (tmp_path / "out" / "a.png").read_bytes() == both[0]


@needs_openvino
def test_a_folder_of_many_sizes_needs_no_shared_shapes_and_a_picture_of_16_bits_stays_one(tmp_path, photo):
    save_bundle(tmp_path / "bundle", Bundle(TINY, init_params(TINY, seed=0), {}))
    for index in range(12):
        images.write(tmp_path / "in" / f"{index}.png", photo[: 16 + index, : 40 - index])
    images.write(tmp_path / "in" / "deep.png", photo[:20, :20].astype(np.uint16) * 257)
    both = []
    for name in ("openvino", "xla"):
        out = tmp_path / name
        infer(["--checkpoint", str(tmp_path / "bundle"), "--input", str(tmp_path / "in"), "--output", str(out),
               "--engine", name, "--dtype", "float32", "--report"])  # fmt: skip
        both.append({path.name: images.open_picture(path).pixels for path in sorted(out.glob("*.png"))})
        title = engine.TITLES[name]
        assert f"computed by {title}, float32" in (out / "report.html").read_text()
    assert both[0]["deep.png"].dtype == np.uint16
    for name, pixels in both[0].items():
        difference = np.abs(pixels.astype(int) - both[1][name]).max()
        assert difference <= (1 if pixels.dtype == np.uint8 else 4)


@needs_openvino
def test_openvino_sends_nothing_to_its_makers(tmp_path):
    code = (
        "import sys; from mprnet_jax.restoring.engines.openvino import import_openvino; import_openvino().Core(); "
        "print('openvino' in sys.modules, [name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


@needs_openvino
def test_a_device_that_is_not_there_is_told(restorer, photo):
    asked = restorer.with_options(engine="openvino", engine_device="NPU.7")
    with pytest.raises(UserError, match=r"engine device NPU\.7: OpenVINO finds .*CPU.*; choose"):
        asked(photo[:16, :16])


@needs_openvino
def test_the_memory_that_openvino_needs_is_planned_with(restorer, monkeypatch):
    rounded = restorer.with_options(engine="openvino", dtype="bfloat16")
    planned = restorer.with_options(engine="openvino").program_bytes(64, 64)
    assert planned > 64 * 64 * 4 * TINY.n_feat
    for native in (True, False):  # without it, bfloat16 is computed in float32
        monkeypatch.setattr(dispatch, "cpu_has_bfloat16", lambda native=native: native)
        assert (rounded.program_bytes(64, 64) < planned) == native
