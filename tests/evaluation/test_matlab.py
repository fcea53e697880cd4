"""MATLAB files of SIDD and DND, whole, damaged and hostile."""

import configparser
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from attacks.benchmark_files import dnd, sidd
from attacks.mutations import mutations
from attacks.victims import lines_of

from mprnet_jax.evaluation import comparison, test_sets
from mprnet_jax.evaluation import dnd as dnd_files
from mprnet_jax.evaluation import sidd as sidd_files
from mprnet_jax.support.errors import UserError

h5py = pytest.importorskip("h5py")


def test_sidd_blocks_have_names_and_pixels(tmp_path):
    noisy, truth = sidd(tmp_path)
    found = test_sets.open_set("sidd", tmp_path)
    assert [pair.name for pair in found.pairs] == ["0001_01", "0001_02"]
    np.testing.assert_array_equal(found.pairs[1].read_input(), noisy[0, 1])
    np.testing.assert_array_equal(found.pairs[1].read_target(), truth[0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": (1, 2, 128, 256, 3)}, r"ValidationGtBlocksSrgb.mat: needs blocks of 40 x 32 .* got 1 x 2 x 128"),
        ({"noisy": (2, 256, 256, 3)}, r"ValidationNoisyBlocksSrgb.mat: needs blocks"),
        ({"dtype": np.float64}, r"uint8, got 1 x 2 x 256 x 256 x 3 float64"),
        ({"noisy": (1, 3, 256, 256, 3)}, r"1 x 3 x 256 x 256 x 3, but ValidationGtBlocksSrgb.mat has 1 x 2"),
    ],
)
def test_sidd_of_another_shape_is_one_line(change, message, tmp_path):
    sidd(tmp_path, **change)
    with pytest.raises(UserError, match=message) as caught:
        test_sets.open_set("sidd", tmp_path)
    assert "\n" not in str(caught.value)


def test_sidd_damaged_or_missing_is_one_line(tmp_path):
    sidd(tmp_path)
    (tmp_path / sidd_files.FILES[0]).write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(UserError, match="not a whole MATLAB file"):
        test_sets.open_set("sidd", tmp_path)
    (tmp_path / sidd_files.FILES[0]).unlink()
    with pytest.raises(UserError, match="no such file"):
        test_sets.open_set("sidd", tmp_path)


def test_dnd_crops_are_those_of_the_boxes(tmp_path):
    noisy = dnd(tmp_path)
    found = test_sets.open_set("dnd", tmp_path)
    assert len(found.pairs) == 40
    assert found.pairs[20].name == "0002_01"
    np.testing.assert_array_equal(found.pairs[22].read_input(), noisy[2][2:18, 1:25])


def test_dnd_without_an_image_does_the_others(tmp_path):
    dnd(tmp_path, missing=(2,))
    found = test_sets.open_set("dnd", tmp_path)
    assert len(found.pairs) == 20
    assert found.refused == [
        f"{tmp_path / 'images_srgb' / '0002.mat'}: no such file; download it from the benchmark's page"
    ]


def test_dnd_of_another_shape_is_one_line(tmp_path):
    dnd(tmp_path, boxes=19)
    with pytest.raises(UserError, match=r"info.mat: needs 20 x 4 boxes for each image, got 19 x 4 for image 1"):
        test_sets.open_set("dnd", tmp_path)


def test_dnd_file_is_a_cell_of_singles(tmp_path):
    crops = [np.full((16 + k, 24, 3), k / 10 - 0.1) for k in range(20)]
    content = scipy.io.loadmat(dnd_files.write_submission(tmp_path / "out", 7, crops))
    assert content["Idenoised"].shape == (1, 20)
    assert content["Idenoised"].dtype == object
    assert content["Idenoised"][0, 3].shape == (19, 24, 3)
    assert content["Idenoised"][0, 3].dtype == np.float32
    assert content["Idenoised"][0, 0].max() == 0
    assert content["Idenoised"][0, 19].max() == 1
    assert not content["israw"].any()
    assert content["eval_version"][0] == "1.0"
    with pytest.raises(UserError, match="19 of 20 crops"):
        dnd_files.write_submission(tmp_path / "out", 8, crops[:-1])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0007.mat"]


def test_missing_extra_says_the_pip_command(tmp_path, monkeypatch):
    dnd(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"needs h5py.*pip install 'mprnet_jax\[evaluate\]'"):
        test_sets.open_set("dnd", tmp_path)


def test_sidd_and_comparing_need_no_package_that_jax_does_not_need(tmp_path, monkeypatch):
    for module in ("h5py", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)
    sidd(tmp_path)
    assert len(test_sets.open_set("sidd", tmp_path).pairs) == 2
    assert comparison.paired_difference(np.arange(8.0), np.arange(8.0) + 1).verdict == "B is higher"
    requirements = configparser.ConfigParser()
    requirements.read(Path(__file__).parents[2] / "setup.cfg")
    needed = requirements["options"]["install_requires"]
    assert "scipy>=" in needed
    assert all(f"\n{package}" not in needed for package in ("h5py", "opencv"))
    assert "scipy" not in requirements["options.extras_require"]["evaluate"]


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_sidd_files_are_read_or_refused_in_one_line(compressed, tmp_path):
    sidd(tmp_path, noisy=(1, 1, 256, 256, 3), truth=(1, 1, 256, 256, 3))
    path = tmp_path / sidd_files.FILES[0]
    blocks = scipy.io.loadmat(path)[sidd_files.VARIABLES[0]]
    scipy.io.savemat(path, {sidd_files.VARIABLES[0]: blocks}, do_compression=compressed)
    for data in mutations(path.read_bytes(), 60, seed=int(compressed)):
        path.write_bytes(data)
        assert all("\n" not in line and str(tmp_path) in line for line in lines_of("sidd", tmp_path))


@pytest.mark.parametrize("file", ["info.mat", "images_srgb/0001.mat"])
def test_damaged_dnd_files_are_read_or_refused_in_one_line(file, tmp_path):
    dnd(tmp_path)
    for data in mutations((tmp_path / file).read_bytes(), 60, seed=2):
        (tmp_path / file).write_bytes(data)
        assert all("\n" not in line and str(tmp_path) in line for line in lines_of("dnd", tmp_path))


OF_ANOTHER_KIND = {
    "a structure": {"a": 1, "b": 2},
    "text": "text",
    "a cell": np.array([[1, "x"]], dtype=object),
    "sparse": scipy.sparse.eye_array(4, format="csc"),
    "complex": np.zeros((1, 1, 256, 256, 3), complex),
    "logical": np.zeros((1, 1, 256, 256, 3), bool),
    "empty": np.zeros((0, 0, 256, 256, 3), np.uint8),
    "more blocks than there are": np.zeros((40, 33, 1, 1, 1), np.uint8),
}


@pytest.mark.parametrize("kind", OF_ANOTHER_KIND)
def test_sidd_of_another_kind_is_one_line(kind, tmp_path):
    sidd(tmp_path)
    scipy.io.savemat(tmp_path / sidd_files.FILES[1], {sidd_files.VARIABLES[1]: OF_ANOTHER_KIND[kind]})
    if kind == "logical":  # MATLAB keeps them as bytes: read as the black blocks that they are
        with pytest.raises(UserError, match="1 x 1 x 256"):
            test_sets.open_set("sidd", tmp_path)
        return
    with pytest.raises(UserError, match=f"{sidd_files.FILES[1]}: ") as caught:
        test_sets.open_set("sidd", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_size_that_a_file_makes_up_is_refused_before_it_is_allocated(tmp_path):
    dnd(tmp_path)
    with h5py.File(tmp_path / "images_srgb" / "0001.mat", "w") as file:
        file.create_dataset("InoisySRGB", (3, 10**6, 10**6), np.float32, chunks=(1, 100, 100))  # 12 TB of zeros
    with h5py.File(tmp_path / "images_srgb" / "0002.mat", "w") as file:
        file.create_dataset("InoisySRGB", (3, 10**9, 10**9, 10**9), np.float64, chunks=(1, 10, 10, 10))
    with pytest.raises(UserError, match=r"0001.mat: needs H x W x 3 floats, got 1000000 x 1000000 x 3"):
        test_sets.open_set("dnd", tmp_path)


def info_with(path, change):
    """info.mat of two images, after `change` made it another."""
    with h5py.File(path, "r+") as file:
        change(file)


def boxes_of(values):
    def change(file):
        del file["#refs#/1"]
        reference = file.create_dataset("#refs#/1", data=values).ref
        file["info/boundingboxes"][0, 0] = reference

    return change


def replaced(make):
    def change(file):
        del file["info/boundingboxes"]
        make(file["info"])

    return change


CHANGES = {
    "a group": replaced(lambda info: info.create_group("boundingboxes")),
    "numbers": replaced(lambda info: info.create_dataset("boundingboxes", data=np.zeros((1, 2)))),
    "text": replaced(lambda info: info.create_dataset("boundingboxes", data="boxes")),
    "nothing": replaced(lambda info: info.create_dataset("boundingboxes", data=h5py.Empty("f"))),
    "no references": replaced(lambda info: info.create_dataset("boundingboxes", (1, 2), h5py.ref_dtype)),
    "references without end": replaced(
        lambda info: info.create_dataset("boundingboxes", (1, 10**9), h5py.ref_dtype, chunks=(1, 1000))
    ),
    "a link to another file": replaced(lambda info: info.__setitem__("boundingboxes", h5py.ExternalLink("x", "/y"))),
    "NaN": boxes_of(np.full((4, 20), np.nan)),
    "strings": boxes_of(np.full((4, 20), b"x")),
    "infinity": boxes_of(np.full((4, 20), np.inf)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_boxes_of_another_kind_are_one_line(kind, tmp_path):
    dnd(tmp_path)
    info_with(tmp_path / "info.mat", CHANGES[kind])
    with pytest.raises(UserError, match=r"info.mat: ") as caught:
        test_sets.open_set("dnd", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("corner", [0, -5, 1e300, 99])
def test_boxes_out_of_an_image_refuse_that_image_and_not_the_others(corner, tmp_path):
    dnd(tmp_path)
    info_with(tmp_path / "info.mat", boxes_of(np.full((4, 20), float(corner))))
    found = test_sets.open_set("dnd", tmp_path)
    assert len(found.pairs) == 20
    assert found.found == 40
    assert "0001.mat: a box" in found.refused[0]
    assert len(found.refused) == 1


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: os.mkfifo(path), lambda path: path.touch()])
def test_what_is_no_file_is_not_waited_for(make, tmp_path):
    dnd(tmp_path)
    (tmp_path / "images_srgb" / "0002.mat").unlink()
    make(tmp_path / "images_srgb" / "0002.mat")
    found = test_sets.open_set("dnd", tmp_path)
    assert len(found.pairs) == 20
    assert len(found.refused) == 1
    assert "0002.mat: not a" in found.refused[0]


def test_pixels_that_are_no_numbers_are_not_scored(tmp_path):
    noisy = dnd(tmp_path)
    noisy[1][5, 5] = np.nan
    with h5py.File(tmp_path / "images_srgb" / "0001.mat", "w") as file:
        file["InoisySRGB"] = noisy[1].T
    found = test_sets.open_set("dnd", tmp_path)
    with pytest.raises(UserError, match=r"0001.mat: has pixels that are not finite"):
        found.pairs[0].read_input()
    assert np.isfinite(found.pairs[20].read_input()).all()
