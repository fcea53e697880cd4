"""Datasets built from downloads, on small made pictures."""

import pickle
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mprnet_jax import images
from mprnet_jax.data import pipeline
from mprnet_jax.data.build import build, main
from mprnet_jax.data.prepare.tfds_builders import BUILDERS, GoPro
from mprnet_jax.data.sources import open_folder
from mprnet_jax.data.sources.tfds import TfdsPairs
from mprnet_jax.support.errors import UserError

tfds.disable_progress_bar()


def write_pairs(folder, count, size=(20, 24)):
    """Flat pairs: number i has the value 10 i as input and 10 i + 1 as target."""
    for i in range(count):
        images.write(folder / "input" / f"GOPR{i // 2}-{i}.png", np.full((*size, 3), 10 * i, np.uint8))
        images.write(folder / "target" / f"GOPR{i // 2}-{i}.png", np.full((*size, 3), 10 * i + 1, np.uint8))


@pytest.fixture
def small(monkeypatch):
    """GoPro, as if it had 5 pairs to train on and 2 to test on."""
    monkeypatch.setattr(GoPro, "SPLITS", {"train": ("train", 5), "test": ("test", 2)})


@pytest.fixture
def built(tmp_path, small):
    write_pairs(tmp_path / "downloads" / "GoPro" / "train", 5)
    write_pairs(tmp_path / "downloads" / "GoPro" / "test", 2)
    return build("gopro", tmp_path / "downloads", tmp_path / "datasets")


def values(source):
    return [(int(p["input"][0, 0, 0]), int(p["target"][0, 0, 0])) for p in map(source.read, range(len(source.names)))]


def test_a_built_dataset_gives_the_pairs_in_the_order_of_their_names(built):
    assert any(path.name.startswith("gopro-train.array_record") for path in built.iterdir())
    source = TfdsPairs(built)
    assert source.names == ["GOPR0-0", "GOPR0-1", "GOPR1-2", "GOPR1-3", "GOPR2-4"]
    assert values(source) == [(0, 1), (10, 11), (20, 21), (30, 31), (40, 41)]
    assert source.read(0)["input"].shape == (20, 24, 3)
    assert values(TfdsPairs(built, "test")) == [(0, 1), (10, 11)]
    assert values(pickle.loads(pickle.dumps(source.subset([3, 1])))) == [(30, 31), (10, 11)]


def test_a_built_dataset_is_trained_on_and_split_by_scene_as_any_other_source(built):
    train, validation = open_folder.open_split(built.parent, validation_share=0.4, scene_separator="-", crops=2)
    assert not {name[:5] for name in train.names} & {name[:5] for name in validation.names}
    batches = pipeline.batches(train, None, patch_size=16, batch_size=2, seed=0)
    batch = next(batches)
    batches.close()
    np.testing.assert_allclose(255 * (batch["target"] - batch["input"]), 1, atol=1e-3)


def test_building_again_leaves_what_is_there(built, tmp_path, small):
    before = {path.name: path.stat().st_mtime_ns for path in built.iterdir()}
    assert build("gopro", tmp_path / "gone", tmp_path / "datasets") == built
    assert {path.name: path.stat().st_mtime_ns for path in built.iterdir()} == before


@pytest.mark.parametrize("inside", ["GoPro/train", "train", "Downloads/GoPro/train", "", "train/GoPro"])
def test_an_archive_is_read_without_being_unpacked(tmp_path, small, inside):
    write_pairs(tmp_path / "pairs", 5)
    (tmp_path / "downloads").mkdir()
    with zipfile.ZipFile(tmp_path / "downloads" / "train.zip", "w") as archive:
        for path in (tmp_path / "pairs").rglob("*.png"):
            archive.write(path, f"{inside}/{path.relative_to(tmp_path / 'pairs')}".lstrip("/"))
    source = TfdsPairs(build("gopro", tmp_path / "downloads", tmp_path / "datasets"))
    assert values(source) == [(0, 1), (10, 11), (20, 21), (30, 31), (40, 41)]


def test_a_damaged_picture_in_an_archive_is_one_line(tmp_path, small):
    write_pairs(tmp_path / "pairs" / "train", 5)
    (tmp_path / "downloads").mkdir()
    archive = tmp_path / "downloads" / "train.zip"
    with zipfile.ZipFile(archive, "w") as file:  # stored, so that its bytes can be found
        for path in (tmp_path / "pairs").rglob("*.png"):
            file.write(path, path.relative_to(tmp_path / "pairs"))
    data = (tmp_path / "pairs" / "train" / "input" / "GOPR1-3.png").read_bytes()
    archive.write_bytes(archive.read_bytes().replace(data, data[:-20] + bytes(20)))
    with pytest.raises(UserError, match=r"GOPR1-3.png: cannot be read \(Bad CRC.*download it again"):
        build("gopro", tmp_path / "downloads", tmp_path / "datasets")
    assert not list((tmp_path / "datasets").iterdir())


def test_the_test_sets_of_deraining_are_splits(tmp_path):
    write_pairs(tmp_path / "downloads" / "test" / "Rain100H", 3)
    write_pairs(tmp_path / "downloads" / "test" / "Test100", 2)
    built = build("rain13k", tmp_path / "downloads", tmp_path / "datasets", any_count=True)
    assert len(TfdsPairs(built, "rain100h").names) == 3
    with pytest.raises(UserError, match=r"the splits rain100h, test100, of which none is called rain100l"):
        TfdsPairs(built, "rain100l")


def test_every_set_has_instructions_and_its_published_number_of_pairs():
    counts = {name: {split: count for split, (_, count) in b.SPLITS.items()} for name, b in BUILDERS.items()}
    assert counts["gopro"] == {"train": 2103, "test": 1111}
    assert counts["hide"] == {"test": 2025}
    assert counts["realblur_j"]["test"] == counts["realblur_r"]["test"] == 980
    assert counts["sidd"] == {"train": 96000, "val": 1280}
    assert counts["rain13k"]["train"] == 13712
    assert sum(counts["rain13k"].values()) == 13712 + 4300
    for builder in BUILDERS.values():
        assert f"{builder.FOLDER}/" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        assert builder.HOMEPAGE in builder.MANUAL_DOWNLOAD_INSTRUCTIONS


def spoil_count(folder):
    for side in ("input", "target"):
        (folder / side / "GOPR1-3.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_count, r"train: 4 pairs, but GoPro .* has 5 in train; complete the download, or .* --any-count"),
        (
            lambda f: (f / "input" / "GOPR1-3.png").unlink(),
            "1 of 5 target images have no partner among the input images",
        ),
        (
            lambda f: (f / "input" / "GOPR1-3.png").write_bytes(b"no"),
            r"GOPR1-3.png: cannot be read .*download it again",
        ),
        (lambda f: images.write(f / "input" / "GOPR1-3.png", np.zeros((8, 9, 3))), "input is 9x8, target 24x20"),
        (
            lambda f: (f / "input").rename(f / "before"),
            r"(?s)nothing of GoPro .*download it from https.*GoPro/train/input",
        ),
    ],
)
def test_a_download_that_is_not_whole_is_refused_and_leaves_nothing_behind(tmp_path, small, spoil, message):
    write_pairs(tmp_path / "downloads" / "train", 5)
    spoil(tmp_path / "downloads" / "train")
    with pytest.raises(UserError, match=message):
        build("gopro", tmp_path / "downloads", tmp_path / "datasets")
    assert not list((tmp_path / "datasets").rglob("*.array_record*"))
    assert not list((tmp_path / "datasets").rglob("dataset_info.json"))


def test_what_is_not_an_archive_an_unknown_set_and_an_empty_folder_are_refused(tmp_path, small):
    (tmp_path / "GoPro.zip").write_bytes(b"half a download")
    with pytest.raises(UserError, match=r"GoPro.zip: not a whole zip archive; download it again"):
        build("gopro", tmp_path, tmp_path / "datasets")
    with pytest.raises(UserError, match=r"unknown dataset 'gopr'; choose from gopro, hide"):
        build("gopr", tmp_path, tmp_path / "datasets")
    with pytest.raises(UserError, match=r"(?s)none: no such folder.*download it from"):
        build("gopro", tmp_path / "none", tmp_path / "datasets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"(?s)empty: nothing of GoPro.* in it.*download it from"):
        build("gopro", tmp_path / "empty", tmp_path / "datasets")
    with pytest.raises(UserError, match=r"no dataset in it; build one with python -m mprnet_jax.data.build"):
        TfdsPairs(tmp_path)


def test_the_command_builds_and_says_where(tmp_path, small, capsys):
    write_pairs(tmp_path / "downloads" / "test", 2)
    main(["--dataset", "gopro", "--manual-dir", str(tmp_path / "downloads"), "--data-dir", str(tmp_path / "sets")])
    assert f"built: {tmp_path / 'sets' / 'gopro' / '1.0.0'}" in capsys.readouterr().out
