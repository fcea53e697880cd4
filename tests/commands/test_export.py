"""Exports: they compute what the JAX network does, without this package, and say so truly."""

import datetime
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import export, images
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.provenance import Provenance
from mprnet_jax.interchange import parity
from mprnet_jax.model import MPRNetConfig, init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.support import optional_imports
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("flatbuffers")

SHAPES = [(*size, 3) for size in parity.SIZES]  # no export is made for any size; these share compiled programs
UNUSUAL = MPRNetConfig(10, 4, 6, num_cab=2, kernel_size=5, reduction=2)


def strong_params(cfg):
    """Weights that make what the stages add as large as the image, so that errors deep inside show."""
    return jax.tree.map(lambda leaf: leaf * 1.4 if leaf.ndim else leaf, init_params(cfg, seed=3))


def jax_stages(cfg, params, batch):
    return [np.array(image) for image in parity.jax_network(cfg)(params, batch)]


def random_batch(shape):
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def bundle():
    return Bundle(TINY, strong_params(TINY), {"licence": "Apache-2.0"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, bundle):
    path = tmp_path_factory.mktemp("checkpoint") / "bundle"
    save_bundle(path, bundle)
    return str(path)


@pytest.fixture(scope="module")
def exports(tmp_path_factory, bundle):
    """A folder with one export in each format that has a choice of stages, with all of them."""
    folder = tmp_path_factory.mktemp("exports")
    export.export(bundle, folder / "onnx", "onnx", every_stage=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "SIZES", parity.SIZES[:1])  # the tests compile it for the others
        export.export(bundle, folder / "darktable", "darktable")
        export.export(bundle, folder / "stablehlo", "stablehlo", every_stage=True)
    return folder


@pytest.fixture
def one_size(monkeypatch):
    monkeypatch.setattr(parity, "SIZES", parity.SIZES[:1])


@pytest.fixture(scope="module")
def expected(bundle):
    """Shape -> the three images of the JAX network."""
    return {shape: jax_stages(bundle.config, bundle.params, random_batch(shape)) for shape in SHAPES}


def onnx_outputs(path, batch):
    session = onnxruntime.InferenceSession(path)
    return [output.transpose(0, 2, 3, 1) for output in session.run(None, {"image": batch.transpose(0, 3, 1, 2)})]


def stablehlo_outputs(path, batch):
    return jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)(batch)


def run(*argv):
    """Exit code of the command."""
    try:
        export.main([str(argument) for argument in argv])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize(
    ("file", "outputs"), [("onnx/model.onnx", onnx_outputs), ("stablehlo/model.stablehlo", stablehlo_outputs)]
)
def test_all_stages_equal_those_of_the_jax_network_at_sizes_never_seen(exports, expected, file, outputs, shape):
    batch = random_batch(shape)
    found = outputs(exports / file, batch)
    assert len(found) == 3
    for theirs, ours in zip(found, expected[shape], strict=True):
        assert np.std(ours - batch) > 0.05  # a network that does nothing would not pass for ours
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)


def unpack(path):
    """As darktable reads a package: id, manifest, network."""
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        (folder,) = {name.split("/")[0] for name in package.namelist()}
        assert sorted(package.namelist()) == [f"{folder}/config.json", f"{folder}/model.onnx"]
        return folder, json.loads(package.read(f"{folder}/config.json")), package.read(f"{folder}/model.onnx")


def test_a_package_for_darktable_has_its_layout_and_its_manifest(exports, tmp_path):
    folder, manifest, model = unpack(exports / "darktable" / "mprnet.dtmodel")
    assert manifest["id"] == folder == "denoise-mprnet-custom"
    assert set(manifest) == {"id", "name", "description", "task", "arch", "backend", "version", "tiling"}
    assert [manifest[key] for key in ("task", "arch", "backend", "tiling")] == ["denoise", "mprnet", "onnx", True]
    assert "Apache-2.0" in manifest["description"]
    session = onnxruntime.InferenceSession(model)
    for tensors, name in ((session.get_inputs(), "input"), (session.get_outputs(), "output")):
        (tensor,) = tensors
        assert (tensor.name, tensor.type, tensor.shape) == (name, "tensor(float)", ["batch", 3, "height", "width"])
    bought = Provenance(task="Fog & Haze", official="deblurring")
    assert export.darktable.manifest(bought, 2)["id"] == "denoise-mprnet-fog-haze-official-stage2"
    with pytest.raises(UserError, match="darktable takes the image of one stage"):
        export.export(Bundle(TINY, {}, {}), tmp_path / "out", "darktable", every_stage=True)


@pytest.mark.parametrize(("height", "width"), [(67, 117), (131, 41)])
@pytest.mark.parametrize("fixed", [False, True], ids=["any size", "one size, as darktable fixes it for its tiles"])
def test_a_package_for_darktable_gives_our_network_at_odd_sizes(exports, bundle, height, width, fixed):
    options = onnxruntime.SessionOptions()
    for name, size in (("batch", 1), ("height", height), ("width", width)) if fixed else ():
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(unpack(exports / "darktable" / "mprnet.dtmodel")[2], options)
    batch = random_batch((1, height, width, 3))
    (found,) = session.run(["output"], {"input": batch.transpose(0, 3, 1, 2)})
    padded = np.pad(batch, [(0, 0), (0, -height % 8), (0, -width % 8), (0, 0)], mode="reflect")
    ours = jax_stages(bundle.config, bundle.params, padded)[0][:, :height, :width]
    assert np.std(ours - batch) > 0.05
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), ours, rtol=0, atol=1e-4)


def test_stablehlo_is_for_every_platform(exports):
    exported = jax.export.deserialize(bytearray((exports / "stablehlo" / "model.stablehlo").read_bytes()))
    assert {"cpu", "cuda", "tpu"} <= set(exported.platforms)


@pytest.mark.parametrize("stages", [1, 2])
def test_fewer_stages_give_the_image_of_the_last_one_alone(tmp_path, bundle, expected, stages):
    model = export.onnx_graph.onnx_model(bundle.config, bundle.params, stages)
    assert [output.name for output in model.graph.output] == [f"stage{stages}"]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (found,) = onnx_outputs(tmp_path / "model.onnx", random_batch(SHAPES[0]))
    np.testing.assert_allclose(found, expected[SHAPES[0]][3 - stages], rtol=0, atol=1e-4)
    whole = export.onnx_graph.onnx_model(bundle.config, bundle.params)
    assert len(model.graph.node) < len(whole.graph.node)


def test_onnx_of_other_sizes_equals_the_jax_network(tmp_path):
    params = strong_params(UNUSUAL)
    export.onnx_graph.write(tmp_path / "model.onnx", Bundle(UNUSUAL, params, {}), 3, True)
    batch = random_batch((2, 40, 32, 3))
    for theirs, ours in zip(
        onnx_outputs(tmp_path / "model.onnx", batch), jax_stages(UNUSUAL, params, batch), strict=True
    ):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)


def test_onnx_names_its_dimensions_and_carries_sizes_and_licence(exports):
    model = onnx.load(exports / "onnx" / "model.onnx")
    dimensions = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dimensions == ["batch", 3, "height", "width"]
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert MPRNetConfig(**about["config"]) == TINY
    assert about["provenance"] == {"licence": "Apache-2.0"}


def test_the_report_says_what_the_file_is_and_how_near_it_comes(exports):
    report = json.loads((exports / "onnx" / "parity.json").read_text())
    assert report["sha256"] == hashlib.sha256((exports / "onnx" / "model.onnx").read_bytes()).hexdigest()
    assert MPRNetConfig(**report["config"]) == TINY
    assert report["versions"]["onnxruntime"] == onnxruntime.__version__
    assert report["versions"]["jax"] == jax.__version__
    assert report["outputs"] == ["stage3", "stage2", "stage1"]
    values = [value for row in report["differences"] for value in row["stages"].values()]
    assert len(report["differences"]) == 3
    assert 0 < max(values) == report["largest_difference"] < 1e-4
    assert f"{max(values):.1e}" in report["summary"]


def expired(folder, path):
    """A copy of an export whose operations are of a version that StableHLO does not read."""
    shutil.copytree(path, folder)
    content = (folder / "model.stablehlo").read_bytes()
    assert b"add_v1" in content
    (folder / "model.stablehlo").write_bytes(content.replace(b"add_v1", b"add_v0"))
    return folder


def test_an_export_that_has_a_last_day_says_so(exports):
    half_a_year = datetime.date.today() + datetime.timedelta(days=180)
    report = json.loads((exports / "stablehlo" / "parity.json").read_text())
    assert report["guaranteed_until"] == str(half_a_year)
    assert str(half_a_year) in report["summary"]
    assert json.loads((exports / "onnx" / "parity.json").read_text())["guaranteed_until"] is None


def test_an_expired_export_is_one_line(exports, without_the_package, tmp_path, photo):
    folder = expired(tmp_path / "expired", exports / "stablehlo")
    images.write(tmp_path / "noisy.png", photo[:16, :16])
    with pytest.raises(UserError, match=r"model\.stablehlo: JAX .* cannot run it \(.*\); .*: export it again$"):
        export.stablehlo.read(folder / "model.stablehlo", TINY)(np.zeros((1, 8, 8, 3), np.float32))
    command = [sys.executable, folder / "example.py", tmp_path / "noisy.png", tmp_path / "restored.png"]
    done = subprocess.run(command, env=without_the_package, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]  # after those of the compiler
    assert re.fullmatch(r"model\.stablehlo: JAX .* this one until \d{4}-\d\d-\d\d: export it again", line)
    assert not (tmp_path / "restored.png").exists()


def test_a_format_that_there_is_not_lists_the_choices(tmp_path, bundle):
    with pytest.raises(UserError, match="unknown format 'onxn'; choose from stablehlo, onnx, torch, darktable"):
        export.export(bundle, tmp_path / "out", "onxn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("one_size")
def test_differences_are_measured(bundle):
    def shifted(batch):
        last = jax_stages(bundle.config, bundle.params, batch)[0]
        last[0, 5, 7, 1] += 0.25
        return [last]

    (found,) = parity.differences(shifted, bundle, 3, ["stage3"])
    assert (found.batch, found.height, found.width) == SHAPES[0][:3]
    assert found.stages["stage3"] == pytest.approx(0.25, abs=1e-5)


@pytest.mark.usefixtures("one_size")
@pytest.mark.parametrize("scale", [1.001, np.nan])
def test_a_file_that_computes_something_else_is_not_left_behind(tmp_path, bundle, monkeypatch, scale):
    form = export.FORMATS["onnx"]
    wrong = {**bundle.params, "tail": {"kernel": bundle.params["tail"]["kernel"] * np.float32(scale)}}
    write = lambda path, bundle, *options: form.write(path, Bundle(bundle.config, wrong, {}), *options)
    monkeypatch.setitem(export.FORMATS, "onnx", export.dataclasses.replace(form, write=write))
    with pytest.raises(UserError, match="computes something else than the JAX network"):
        export.export(bundle, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def without_the_package(tmp_path_factory):
    """An environment in which mprnet_jax cannot be imported."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "mprnet_jax.py").write_text("raise ImportError('blocked')")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    imported = subprocess.run(
        [sys.executable, "-c", "import mprnet_jax"], env=environment, capture_output=True, text=True, cwd=folder
    )
    assert "ImportError: blocked" in imported.stderr
    return environment


@pytest.fixture(scope="module")
def with_torchvision(without_the_package):
    """The same, with a stand-in for torchvision if that does not fit torch: spandrel imports it for other networks."""
    folder = Path(without_the_package["PYTHONPATH"])
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True).returncode:
        (folder / "torchvision" / "transforms").mkdir(parents=True)
        (folder / "torchvision" / "__init__.py").touch()
        (folder / "torchvision" / "transforms" / "__init__.py").write_text("InterpolationMode = None")
        names = "InterpolationMode = rotate = normalize = None"
        (folder / "torchvision" / "transforms" / "functional.py").write_text(names)
    return without_the_package


def check_example(folder, checkpoint, environment, tmp_path, photo):
    """example.py restores a picture that needs padding as Restorer does."""
    images.write(tmp_path / "noisy.png", photo[:45, :61])
    command = [sys.executable, folder / "example.py", tmp_path / "noisy.png", tmp_path / "restored.png"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ours = Restorer.from_pretrained(checkpoint)(tmp_path / "noisy.png")
    theirs = images.read(tmp_path / "restored.png")
    assert np.abs(ours.astype(int) - photo[:45, :61]).mean() > 5
    assert theirs.shape == ours.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # rounding may fall to either side


@pytest.mark.parametrize("name", ["onnx", "stablehlo", "darktable"])
def test_the_example_restores_without_this_package(exports, checkpoint, without_the_package, tmp_path, photo, name):
    check_example(exports / name, checkpoint, without_the_package, tmp_path, photo)


def test_the_example_turns_pictures_upright_scales_16_bits_and_tells_mistakes(exports, without_the_package, tmp_path):
    def run_example(*names):
        command = [sys.executable, exports / "onnx" / "example.py", *names]
        return subprocess.run(command, env=without_the_package, capture_output=True, text=True, cwd=tmp_path)

    grey = np.linspace(20, 230, 24 * 40).reshape(24, 40).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(grey).save(tmp_path / "grey.png", exif=exif)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png", exif=exif)
    for name in ("grey", "deep"):
        done = run_example(f"{name}.png", f"{name}_restored.png")
        assert done.returncode == 0, done.stderr
    restored = [np.asarray(Image.open(tmp_path / f"{name}_restored.png")) for name in ("grey", "deep")]
    assert restored[0].shape == (40, 24, 3)
    np.testing.assert_array_equal(*restored)
    for names, message in (
        ((), "python example.py noisy.jpg restored.png"),
        (("nowhere.png", "x.png"), "nowhere.png: cannot be read"),
    ):
        done = run_example(*names)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("one_size")
@pytest.mark.skipif(importlib.util.find_spec("spandrel_extra_arches") is None, reason="needs spandrel_extra_arches")
def test_the_torch_example_restores_with_spandrel(checkpoint, with_torchvision, tmp_path, photo, capsys):
    assert run("--checkpoint", checkpoint, "--format", "torch", "--output", tmp_path / "torch") == 0
    assert "model.pth: within" in capsys.readouterr().out
    check_example(tmp_path / "torch", checkpoint, with_torchvision, tmp_path, photo)


@pytest.mark.usefixtures("one_size")
def test_what_is_there_is_replaced_only_if_it_is_an_export_and_overwriting_is_asked_for(tmp_path, checkpoint, capsys):
    arguments = ("--checkpoint", checkpoint, "--format", "onnx", "--output", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    assert run(*arguments) == 2
    assert "exists; choose another folder, or replace it with --overwrite" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 2
    assert "not an export" in capsys.readouterr().err
    assert (tmp_path / "out" / "letter.txt").read_text() == "mine"

    (tmp_path / "out" / "letter.txt").rename(tmp_path / "out" / "parity.json")
    assert run(*arguments, "--overwrite") == 0
    assert "wrote" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["example.py", "model.onnx", "parity.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkpoint", "nowhere", "--format", "onnx"), "nowhere: neither a task"),
        (("--checkpoint", "{folder}", "--format", "onnx"), "not a checkpoint bundle"),
        (("--checkpoint", "{checkpoint}", "--format", "torch", "--stage", "1"), "always holds all three stages"),
        (("--checkpoint", "{checkpoint}", "--format", "onnx", "--output", "{folder}/file/x"), "cannot be written"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, checkpoint, capsys, arguments, message):
    (tmp_path / "file").touch()
    arguments = [text.format(folder=tmp_path, checkpoint=checkpoint) for text in arguments]
    assert run("--output", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mprnet_jax.export: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnx"), ("stablehlo", "flatbuffers")])
def test_a_missing_package_is_named(tmp_path, bundle, monkeypatch, name, package):
    real = optional_imports.importlib.import_module

    def missing(module):
        if module == package:
            raise ModuleNotFoundError(name=module)  # as of a package that is not installed
        return real(module)

    monkeypatch.setattr(optional_imports.importlib, "import_module", missing)
    with pytest.raises(UserError, match=rf"needs {package}.*pip install 'mprnet_jax\[export\]'"):
        export.export(bundle, tmp_path / "out", name)
    assert list(tmp_path.iterdir()) == []
