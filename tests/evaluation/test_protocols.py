"""Sets on disk: pairing, places, hashes, MATLAB files; and the table of published numbers."""

import subprocess

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.evaluation import matlab, protocols
from mprnet_jax.support.errors import UserError


def write_all(folder, names, shape=(16, 24, 3)):
    for i, name in enumerate(names):
        images.write(folder / name, np.full(shape, 10 * i, np.uint8))


# As the paper prints them, typed in a second time.
PUBLISHED = {
    "gopro": (1111, 32.66, 0.959),
    "hide": (2025, 30.96, 0.939),
    "realblur_r": (980, 35.99, 0.952),
    "realblur_j": (980, 28.70, 0.873),
    "sidd": (1280, 39.71, 0.958),
    "dnd": (1000, 39.80, 0.954),
    "test100": (100, 30.27, 0.897),
    "rain100h": (100, 30.41, 0.890),
    "rain100l": (100, 36.40, 0.965),
    "test2800": (2800, 33.64, 0.938),
    "test1200": (1200, 32.91, 0.916),
}


def test_published_numbers_and_counts():
    found = {name: (p.pairs, *p.published) for name, p in protocols.PROTOCOLS.items() if p.published}
    assert found == PUBLISHED
    derain = [p for p in protocols.PROTOCOLS.values() if p.task == "deraining"]
    means = np.mean([p.published for p in derain], axis=0)
    np.testing.assert_allclose(means[0], protocols.DERAINING_MEAN[0], atol=0.006)
    np.testing.assert_allclose(means[1], protocols.DERAINING_MEAN[1], atol=0.0006)


@pytest.mark.parametrize(
    "name", [name for name in protocols.PROTOCOLS if name not in ("dnd", "realblur_j", "realblur_r")]
)
def test_scores_have_the_named_columns_and_input_psnr_is_the_first(name, photo):
    protocol = protocols.PROTOCOLS[name]
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 9, photo.shape), 0, 255).astype(np.uint8)
    pair = [images.to_float(image) if protocol.unrounded else image for image in (noisy, photo)]
    scores = protocol.score(*pair)
    assert tuple(scores) == protocol.columns
    assert scores[protocol.columns[0]] == protocol.input_psnr(*pair)
    assert set(scores) <= set(protocols.LABELS)


def test_pairs_by_name_and_never_by_position(tmp_path):
    write_all(tmp_path / "input", ["a.png", "b.png", "c.png"])
    write_all(tmp_path / "target", ["a.png", "c.jpg", "d.png"])
    found = protocols.open_set("custom", tmp_path)
    assert [pair.name for pair in found.pairs] == ["a", "c"]
    assert found.pairs[1].read_input().max() == 20
    assert found.pairs[1].read_target().max() == pytest.approx(10, abs=2)
    assert len(found.refused) == 2
    assert str(tmp_path / "input" / "b.png") in found.refused[0]
    assert f"no partner called d.* in {tmp_path / 'input'}" in found.refused[1]


def test_two_pictures_of_one_name_are_refused(tmp_path):
    write_all(tmp_path / "input", ["a.png", "b.png", "b.bmp"])
    write_all(tmp_path / "target", ["a.png", "b.png"])
    found = protocols.open_set("custom", tmp_path)
    assert [pair.name for pair in found.pairs] == ["a"]
    assert "2 pictures are called b (b.bmp, b.png); keep one" in found.refused[0]


@pytest.mark.parametrize(
    ("name", "place"),
    [("gopro", "GoPro/test"), ("realblur_j", "RealBlur_J/test"), ("rain100h", "test/Rain100H"), ("test100", "Test100")],
)
def test_sets_are_found_in_the_usual_places(name, place, tmp_path):
    folder = tmp_path / place
    write_all(folder / "input", ["a.png"])
    write_all(folder / "target", ["a.png"])
    assert protocols.find_folder(name, tmp_path, below=True) == folder
    assert protocols.find_folder(name, folder) == folder
    assert protocols.find_folder(name, folder, below=True) is None
    for other in protocols.PROTOCOLS:
        assert other == name or protocols.find_folder(other, tmp_path, below=True) is None


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "GoPro is not here; it needs input/ and target/"),
        (lambda root: (root / "target").mkdir(), "no pictures in this folder"),
        (lambda root: write_all(root / "target", ["a.png"]) or write_all(root / "input", ["b.png"]), "not one of 1"),
    ],
)
def test_a_set_without_pairs_is_one_line(prepare, message, tmp_path):
    prepare(tmp_path)
    with pytest.raises(UserError, match=message):
        protocols.open_set("gopro", tmp_path)


def test_unknown_protocol_lists_the_choices():
    with pytest.raises(UserError, match=r"unknown protocol 'goprp'; choose from gopro, hide"):
        protocols.named("goprp")


def test_hash_is_that_of_the_shell(tmp_path):
    write_all(tmp_path / "input", ["b.png", "a b.png", "Z.png"])
    write_all(tmp_path / "target", ["a.png"])
    files = sorted(tmp_path.rglob("*.png"))
    shell = "find input target -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    expected = subprocess.run(
        shell, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert protocols.sha256_of_files(tmp_path, files) == expected[0]
    (tmp_path / "target" / "a.png").rename(tmp_path / "target" / "c.png")
    assert protocols.sha256_of_files(tmp_path, sorted(tmp_path.rglob("*.png"))) != expected[0]


def sidd(folder, noisy=(1, 2, 256, 256, 3), truth=(1, 2, 256, 256, 3), dtype=np.uint8):
    io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape).astype(dtype) for shape in (noisy, truth)]
    for file, variable, array in zip(matlab.SIDD_FILES, matlab.SIDD_VARIABLES, arrays, strict=True):
        io.savemat(folder / file, {variable: array})
    return arrays


def test_sidd_blocks_have_names_and_pixels(tmp_path):
    noisy, truth = sidd(tmp_path)
    found = protocols.open_set("sidd", tmp_path)
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
        protocols.open_set("sidd", tmp_path)
    assert "\n" not in str(caught.value)


def test_sidd_damaged_or_missing_is_one_line(tmp_path):
    sidd(tmp_path)
    (tmp_path / matlab.SIDD_FILES[0]).write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(UserError, match="not a whole MATLAB file"):
        protocols.open_set("sidd", tmp_path)
    (tmp_path / matlab.SIDD_FILES[0]).unlink()
    with pytest.raises(UserError, match="no such file"):
        protocols.open_set("sidd", tmp_path)


def dnd(folder, numbers=(1, 2), missing=(), boxes=20):
    """DND in miniature, written as MATLAB v7.3 does: axes reversed, boxes behind references."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    corners = np.array([[1 + k, 2, 16 + k, 25] for k in range(boxes)], np.float64)  # rows, columns; from 1, inclusive
    noisy = {number: rng.random((40, 30, 3), np.float32) for number in numbers}
    (folder / "images_srgb").mkdir(parents=True)
    with h5py.File(folder / "info.mat", "w") as file:
        references = [file.create_dataset(f"#refs#/{number}", data=corners.T).ref for number in numbers]
        file.create_dataset("info/boundingboxes", data=np.array([references], dtype=h5py.ref_dtype))
    for number in numbers:
        if number not in missing:
            with h5py.File(folder / "images_srgb" / f"{number:04d}.mat", "w") as file:
                file["InoisySRGB"] = noisy[number].T
    return noisy


def test_dnd_crops_are_those_of_the_boxes(tmp_path):
    noisy = dnd(tmp_path)
    found = protocols.open_set("dnd", tmp_path)
    assert len(found.pairs) == 40
    assert found.pairs[20].name == "0002_01"
    np.testing.assert_array_equal(found.pairs[22].read_input(), noisy[2][2:18, 1:25])


def test_dnd_without_an_image_does_the_others(tmp_path):
    dnd(tmp_path, missing=(2,))
    found = protocols.open_set("dnd", tmp_path)
    assert len(found.pairs) == 20
    assert found.refused == [
        f"{tmp_path / 'images_srgb' / '0002.mat'}: no such file; download it from the benchmark's page"
    ]


def test_dnd_of_another_shape_is_one_line(tmp_path):
    dnd(tmp_path, boxes=19)
    with pytest.raises(UserError, match=r"info.mat: needs 20 x 4 boxes for each image, got 19 x 4 for image 1"):
        protocols.open_set("dnd", tmp_path)


def test_dnd_file_is_a_cell_of_singles(tmp_path):
    io = pytest.importorskip("scipy.io")
    crops = [np.full((16 + k, 24, 3), k / 10 - 0.1) for k in range(20)]
    content = io.loadmat(matlab.write_dnd(tmp_path / "out", 7, crops))
    assert content["Idenoised"].shape == (1, 20)
    assert content["Idenoised"].dtype == object
    assert content["Idenoised"][0, 3].shape == (19, 24, 3)
    assert content["Idenoised"][0, 3].dtype == np.float32
    assert content["Idenoised"][0, 0].max() == 0
    assert content["Idenoised"][0, 19].max() == 1
    assert not content["israw"].any()
    assert content["eval_version"][0] == "1.0"
    with pytest.raises(UserError, match="19 of 20 crops"):
        matlab.write_dnd(tmp_path / "out", 8, crops[:-1])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0007.mat"]


def test_missing_extra_says_the_pip_command(tmp_path, monkeypatch):
    sidd(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(UserError, match=r"pip install 'mprnet_jax\[evaluate\]'"):
        protocols.open_set("sidd", tmp_path)
