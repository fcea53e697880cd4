"""Scores of a validation against their formulas; several sets; folders of all kinds."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mprnet_jax import images
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.data.sources import open_folder
from mprnet_jax.support.errors import UserError
from mprnet_jax.training.validation import make_set, named_folders, open_validation, validate


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    made = []
    for _ in range(3):
        target = rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)
        noise = rng.normal(0, 20, target.shape)
        made.append({"input": np.clip(np.rint(target + noise), 0, 255).astype(np.uint8), "target": target})
    return made


def darker(by):
    """A network whose stages 3, 2 and 1 darken the input by 1, 2 and 3 times so many gray levels."""
    return lambda _, image: [np.clip(image - stage * by / 255, 0, 1) for stage in (1, 2, 3)]


def test_all_stages_and_the_untouched_input_are_scored(pairs):
    score, strips = validate(darker(by=4), {}, pairs)
    mean = lambda images: np.mean(
        [peak_signal_noise_ratio(pair["target"], image) for pair, image in zip(pairs, images, strict=True)]
    )
    restored = lambda levels: [np.clip(pair["input"].astype(int) - levels, 0, 255).astype(np.uint8) for pair in pairs]
    assert score.input_psnr == pytest.approx(mean([pair["input"] for pair in pairs]), abs=1e-9)
    for levels, found in ((4, score.psnr), (8, score.stage2_psnr), (12, score.stage1_psnr)):
        assert found == pytest.approx(mean(restored(levels)), abs=1e-9)
    ssim = [
        structural_similarity(
            pair["target"], image, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2
        )
        for pair, image in zip(pairs, restored(4), strict=True)
    ]
    assert score.ssim == pytest.approx(np.mean(ssim), abs=0.01)  # scikit-image leaves out borders
    assert score.gain == pytest.approx(score.psnr - score.input_psnr)
    assert [strip.shape for strip in strips] == [(40, 5 * 48, 3)] * 3
    np.testing.assert_array_equal(strips[0][:, 3 * 48 : 4 * 48], restored(4)[0])


def test_pictures_without_degradation_leave_the_means_finite(pairs):
    same = [{"input": pair["target"], "target": pair["target"]} for pair in pairs]
    score, _ = validate(darker(by=0), {}, [*pairs, *same])
    assert np.isfinite(score).all()
    assert score.gain == pytest.approx(0)


@pytest.mark.parametrize("entries", [["a", "a"], ["x=a", "x=b"], ["=a"], ["x="]])
def test_sets_without_a_name_of_their_own_are_refused(entries):
    with pytest.raises(UserError, match="NAME=FOLDER"):
        named_folders([Path(entry) for entry in entries])


def test_an_existing_folder_may_have_an_equals_sign_in_its_name(tmp_path):
    (tmp_path / "sigma=25").mkdir()
    assert named_folders([tmp_path / "sigma=25"]) == {str(tmp_path / "sigma=25"): tmp_path / "sigma=25"}


@pytest.mark.parametrize("size", [(5, 64), (64, 7), (1, 1)])
def test_a_picture_without_a_crop_is_refused_by_name(tmp_path, size):
    images.write(tmp_path / "whole.png", np.zeros((64, 64, 3), np.uint8))
    images.write(tmp_path / "tiny.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(UserError, match=r"pictures \(mine\): 1 of 2 have a side under 8 pixels, first tiny; remove"):
        make_set("mine", open_folder.open_source(tmp_path), Noise())


@pytest.mark.parametrize(
    ("splits", "opened"), [(("train", "test"), "test"), (("val", "test"), "val"), (("train", "rain100h"), None)]
)
def test_a_built_data_set_is_validated_on_by_the_split_that_it_has(tmp_path, monkeypatch, splits, opened):
    """No builder makes a split of the name that was asked for always, "validation"."""
    info = tmp_path / "gopro" / "1.0.0" / "dataset_info.json"
    info.parent.mkdir(parents=True)
    info.write_text(json.dumps({"splits": [{"name": name} for name in splits]}))
    monkeypatch.setattr("mprnet_jax.data.sources.tfds.TfdsPairs", lambda folder, split, crops: split)
    if opened:
        assert open_validation(tmp_path / "gopro") == opened
    else:
        with pytest.raises(
            UserError, match="the splits rain100h, train, of which none is called validation, val, valid, test"
        ):
            open_validation(tmp_path / "gopro")
