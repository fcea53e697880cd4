"""Sources, degradations, augmentation and batches."""

import itertools

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.data import augment, pipeline, sources
from mprnet_jax.data.degrade import Noise
from mprnet_jax.errors import UserError


@pytest.fixture
def folder(tmp_path, photo):
    for i in range(5):
        images.write(tmp_path / f"{i}.png", np.roll(photo, 7 * i, axis=1))
    return tmp_path


def take(folder, count, start_step=0, **options):
    settings = {"patch_size": 32, "batch_size": 2, "seed": 3, **options}
    source = sources.CleanPhotos(images.find(folder), crops_per_photo=2)
    return list(itertools.islice(pipeline.batches(source, Noise(), start_step=start_step, **settings), count))


def test_a_batch_is_float_pairs_in_0_to_1_of_the_patch_size(folder):
    (batch,) = take(folder, 1)
    for side in ("input", "target"):
        assert batch[side].shape == (2, 32, 32, 3)
        assert batch[side].dtype == np.float32
        assert 0 <= batch[side].min() < batch[side].max() <= 1


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(folder):
    for a, b in zip(take(folder, 12), take(folder, 12), strict=True):
        np.testing.assert_array_equal(a["input"], b["input"])
    assert not np.array_equal(take(folder, 1)[0]["input"], take(folder, 1, seed=4)[0]["input"])


def test_starting_at_a_step_goes_on_with_the_batch_that_would_have_come(folder):
    whole = take(folder, 12)  # over two epochs
    for a, b in zip(whole[7:], take(folder, 5, start_step=7), strict=True):
        np.testing.assert_array_equal(a["input"], b["input"])
        np.testing.assert_array_equal(a["target"], b["target"])


def test_epochs_differ(folder):
    batches = take(folder, 10)  # 5 photos x 2 crops in batches of 2: five steps an epoch
    assert not np.array_equal(batches[0]["target"], batches[5]["target"])


def test_too_few_pictures_for_a_batch_are_refused_with_the_remedy(folder):
    source = sources.CleanPhotos(images.find(folder))
    with pytest.raises(UserError, match="hold 5 crops, fewer than one batch of 8; lower batch_size"):
        pipeline.steps_per_epoch(source, 8)


def test_the_nine_orientations_are_identity_twice_and_the_seven_others():
    square = np.arange(9).reshape(3, 3, 1)
    results = [augment.orient(square, i)[..., 0].tobytes() for i in range(augment.ORIENTATIONS)]
    assert len(set(results)) == 8
    assert results.count(square[..., 0].tobytes()) == 2
    np.testing.assert_array_equal(augment.orient(square, 6)[..., 0], square[..., 0].T)
    np.testing.assert_array_equal(augment.orient(square, 7)[..., 0], square[::-1, ::-1, 0].T)


def test_crops_reach_every_place_and_a_small_picture_is_padded_by_reflection():
    picture = np.arange(5 * 6).reshape(5, 6, 1)
    rng = np.random.default_rng(0)
    corners = {int(augment.random_crop(picture, 4, rng)[0, 0, 0]) for _ in range(200)}
    assert corners == {0, 1, 2, 6, 7, 8}
    padded = augment.random_crop(np.arange(3.0).reshape(1, 3, 1), 4, rng)
    assert padded.shape == (4, 4, 1)
    np.testing.assert_array_equal(augment.random_crop(np.arange(9.0).reshape(3, 3, 1), 4, rng)[0, :, 0], [0, 1, 2, 1])


def residual(noise: Noise, seed=0):
    grey = np.full((256, 256, 3), 128, np.uint8)
    return noise(grey, np.random.default_rng(seed)).astype(np.float64) - 128


def test_white_noise_has_the_sigma_it_says_and_no_correlation():
    noise = residual(Noise(sigma=(25, 25)))
    assert noise.std() == pytest.approx(25, rel=0.02)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.01


def test_camera_noise_has_the_sigma_and_the_correlations_it_says():
    camera = Noise((15, 15), camera_share=1, correlation_sigma=(0.575, 0.575), colour_correlation=(0.4, 0.4))
    noise = residual(camera)
    assert noise.std() == pytest.approx(15, rel=0.03)
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 0.575) ** 2)
    neighbours = np.sum(taps[1:] * taps[:-1]) / np.sum(taps**2)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(neighbours, abs=0.02)
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1] == pytest.approx(0.4, abs=0.05)


def test_the_strength_is_drawn_uniformly():
    draws = [residual(Noise((5, 50)), seed)[:32, :32].std() for seed in range(200)]
    np.testing.assert_allclose(np.quantile(draws, [0.1, 0.5, 0.9]), [9.5, 27.5, 45.5], atol=4)


def test_held_out_pictures_are_not_trained_on_and_an_unknown_name_is_refused(folder):
    train, held_out = sources.split_folder(folder, frozenset({"1.png"}))
    assert [p.name for p in train] == ["0.png", "2.png", "3.png", "4.png"]
    assert [p.name for p in held_out] == ["1.png"]
    with pytest.raises(UserError, match=r"1 of the 1 held-out pictures are not in it, first 9.png"):
        sources.split_folder(folder, frozenset({"9.png"}))
    with pytest.raises(UserError, match="every picture is held out"):
        sources.split_folder(folder, frozenset(f"{i}.png" for i in range(5)))


def test_names_are_read_without_comments_and_blank_lines(tmp_path):
    (tmp_path / "names.txt").write_text("# kept aside\na.png\n\n b.png \n")
    assert sources.read_names(tmp_path / "names.txt") == {"a.png", "b.png"}
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        sources.read_names(tmp_path / "none.txt")
