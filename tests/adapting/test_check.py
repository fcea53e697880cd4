"""The estimate of the error without truth, against the error with truth."""

import numpy as np
import pytest
from scipy import ndimage

from mprnet_jax.adapting import check
from mprnet_jax.adapting.check import Score, compare, score
from mprnet_jax.adapting.noise_model import measure
from mprnet_jax.adapting.photos import Photo
from tests.helpers.noisy_photos import known_noise, smooth_scene, to_file

SHAPE = (480, 640)


@pytest.fixture(scope="module")
def pair():
    """A scene with fine texture in a part, the same with correlated noise, and the noise as it is measured."""
    scene = smooth_scene(*SHAPE)
    rng = np.random.default_rng(1)
    scene[:160, :240] += 20 * ndimage.gaussian_filter(rng.standard_normal((160, 240, 1)), (1, 1, 0)) * 3.5
    noisy = to_file(scene + 6 * known_noise(SHAPE, 0.6, 1.2, 0.5, 2))
    (profile,) = measure([Photo.of("a", noisy)])
    return scene, noisy, profile


def blur(sigma):
    return lambda image: ndimage.gaussian_filter(image, (sigma, sigma, 0)).astype(np.float32)


def median(image):
    return ndimage.median_filter(image, (3, 3, 1)).astype(np.float32)


@pytest.mark.parametrize("restore", [blur(0.6), blur(1.2), blur(3), median], ids=["0.6", "1.2", "3", "median"])
def test_the_estimated_error_is_that_with_truth_within_a_tenth_of_the_noise(pair, restore):
    scene, noisy, profile = pair
    found, restored = score(noisy, profile, restore)
    squares = (255 * restored - scene) ** 2
    assert found.error == pytest.approx(squares.mean(), abs=0.1 * 36)
    assert found.busy_error == pytest.approx(squares[check.busy_pixels(noisy)].mean(), rel=0.15, abs=0.2 * 36)


def test_less_noise_is_left_after_a_blur_and_the_lost_texture_is_seen(pair):
    _, noisy, profile = pair
    light, heavy = (score(noisy, profile, blur(sigma))[0] for sigma in (0.6, 4))
    assert heavy.left < 0.5 * light.left
    verdict = compare([light], [heavy])
    assert verdict.noise_after < verdict.noise_before
    assert any("edges and texture" in reason for reason in verdict.reasons)


def test_better_weights_are_taken_and_the_same_or_noisier_ones_refused():
    before = Score(10.0, 20.0, 4.0)
    assert compare([before, before], [Score(8.0, 18.0, 2.0)] * 2).reasons == []
    (reason,) = compare([before], [before]).reasons
    assert "+0.00 dB" in reason
    (reason,) = compare([before], [Score(8.0, 18.0, 9.0)]).reasons
    assert "sigma 3.00, before 2.00" in reason
    assert compare([before], [Score(float("nan"), 18.0, 1.0)]).reasons


def test_gains_are_decibels_of_the_errors_of_all_photos_together():
    verdict = compare([Score(10, 10, 1), Score(30, 10, 1)], [Score(10, 10, 1), Score(10, 5, 1)])
    assert verdict.gain == pytest.approx(10 * np.log10(40 / 20))
    assert verdict.busy_gain == pytest.approx(10 * np.log10(20 / 15))
