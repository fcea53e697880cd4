"""Degradations against what their formulas say. 8-bit values in and out."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from mprnet_jax.data.augment import window
from mprnet_jax.data.degradations import linear_light, motion_blur
from mprnet_jax.data.degradations.mixture import (
    DEGRADATIONS,
    Mixture,
    MotionBlur,
    Noise,
    PoissonNoise,
    Rain,
    degrade_window,
)
from mprnet_jax.data.degradations.rain import streak_kernel
from mprnet_jax.support.errors import UserError


def flat(value, size=256):
    return np.full((size, size, 3), value, np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degradation_keeps_size_and_type_and_is_the_same_for_the_same_seed(name, photo):
    degradation = DEGRADATIONS[name]()
    before = photo.copy()
    degraded = degradation(photo, rng(1))
    assert degraded.shape == photo.shape
    assert degraded.dtype == np.uint8
    assert not np.array_equal(degraded, photo)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(degraded, degradation(photo, rng(1)))
    assert not np.array_equal(degraded, degradation(photo, rng(2)))


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_picture_smaller_than_the_margin_can_be_degraded(name):
    assert DEGRADATIONS[name]()(flat(90, 3), rng()).shape == (3, 3, 3)


# Noise


def residual(noise: Noise, seed=0):
    return noise(flat(128), rng(seed)).astype(np.float64) - 128


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


@pytest.mark.parametrize(("value", "light_of_it"), [(128, 0.21586), (188, 0.50289), (225, 0.75294)])
def test_the_variance_of_photon_noise_is_signal_by_photons_plus_read_noise_in_linear_light(value, light_of_it):
    noisy = PoissonNoise(photons=(500, 500), read_noise=(5, 5))(flat(value), rng()) / 255
    linear = np.where(noisy <= 0.04045, noisy / 12.92, ((noisy + 0.055) / 1.055) ** 2.4)
    assert linear.mean() == pytest.approx(light_of_it, rel=0.01)
    assert linear.var() == pytest.approx(light_of_it / 500 + (5 / 500) ** 2, rel=0.03)


def test_photons_are_drawn_uniformly_in_their_logarithm():
    noise = PoissonNoise(photons=(20, 2000), read_noise=(0, 0))
    generator = rng()
    photons = [0.2159 / linear_light.to_linear(noise(flat(128, 48), generator)).var() for _ in range(500)]
    np.testing.assert_allclose(np.quantile(photons, [0.1, 0.5, 0.9]), [31.7, 200, 1262], rtol=0.25)


# Linear light


def test_the_curve_is_that_of_srgb_and_there_and_back_is_nothing():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(linear_light.to_stored(linear_light.to_linear(values)), values)
    # IEC 61966-2-1, by other sources' tables
    np.testing.assert_allclose(
        linear_light.to_linear(values[[0, 10, 128, 255]]), [0, 0.0030353, 0.2158605, 1], rtol=1e-4
    )


def test_half_of_the_light_of_white_and_black_is_188_not_128():
    halves = np.zeros((40, 40, 3), np.uint8)
    halves[:, 1::2] = 255
    kernel = np.array([[0, 0, 0], [0.25, 0.5, 0.25], [0, 0, 0]])
    blurred = linear_light.to_stored(linear_light.convolve(linear_light.to_linear(halves), kernel))
    np.testing.assert_array_equal(blurred, 188)


def test_the_convolution_is_that_of_scipy():
    image, kernel = rng().random((31, 45, 3)), rng(1).random((7, 7))
    expected = fftconvolve(image, kernel[..., None], mode="valid", axes=(0, 1))
    np.testing.assert_allclose(linear_light.convolve(image, kernel), expected, rtol=1e-9)


# Motion blur


def kernels(count=50):
    for seed in range(count):
        generator = rng(seed)
        size = generator.uniform(2, 40)
        yield size, motion_blur.trajectory_kernel(motion_blur.draw_trajectory(2, generator) * size / 2)


def test_a_motion_kernel_sums_to_one_shifts_nothing_and_fits_its_circle():
    for size, kernel in kernels():
        offset = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
        assert kernel.sum(axis=0) @ offset == pytest.approx(0, abs=1e-9)
        assert kernel.sum(axis=1) @ offset == pytest.approx(0, abs=1e-9)
        reached = np.hypot(*np.meshgrid(offset, offset))[kernel > 1e-12].max()
        assert size / 2 - 1 <= reached <= size / 2 + 1.5  # the path reaches the circle; pixels beside it share it


def test_a_path_between_pixels_is_shared_by_its_neighbours():
    kernel = motion_blur.trajectory_kernel(np.array([[0.25, -0.5], [-0.25, 0.5]]))
    np.testing.assert_allclose(kernel, [[0, 0.0625, 0.0625], [0.1875, 0.375, 0.1875], [0.0625, 0.0625, 0]])


def test_a_path_is_smooth():
    for seed in range(20):
        steps = np.diff(motion_blur.draw_trajectory(2, rng(seed)), axis=0)
        direction = np.unwrap(np.arctan2(*steps.T))
        assert np.abs(np.diff(direction)).max() < 0.1  # radians between two of 400 points


@pytest.mark.parametrize("value", [0, 1, 60, 128, 254, 255])
def test_motion_blur_keeps_a_flat_picture_flat(value):
    np.testing.assert_array_equal(MotionBlur()(flat(value, 64), rng()), value)


def test_motion_blur_keeps_the_light_of_a_picture_and_where_it_is():
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[48:53, 48:53] = 250
    blurred = linear_light.to_linear(MotionBlur(size=(21, 21))(dot, rng()))[..., 0].astype(float)
    before = linear_light.to_linear(dot)[..., 0].astype(float)
    assert blurred.sum() == pytest.approx(before.sum(), rel=0.02)
    assert blurred.sum(axis=0) @ np.arange(101) / blurred.sum() == pytest.approx(50, abs=0.1)
    assert blurred.max() < 0.6 * before.max()


def test_with_its_margin_a_crop_is_blurred_as_in_the_whole_picture(photo):
    blur = MotionBlur(size=(15, 15))
    whole = blur(photo, rng())[20:60, 30:70].astype(int)
    crop = degrade_window(blur, window(photo, 20, 30, 40, blur.margin), rng())
    assert np.abs(crop - whole).max() <= 1


# Rain


def test_rain_only_brightens_and_by_the_same_light_in_each_colour(photo):
    for seed in range(5):
        rainy = Rain()(photo, rng(seed))
        assert (rainy >= photo).all()
        assert (rainy > photo).any()
    black = Rain()(flat(0), rng())
    np.testing.assert_array_equal(black[..., 0], black[..., 2])
    np.testing.assert_array_equal(Rain()(flat(255), rng()), 255)


@pytest.mark.parametrize("angle", [-30, 0, 20])
def test_streaks_have_the_angle_the_length_and_the_width_they_say(angle):
    streak = streak_kernel(40, 3, np.radians(angle))
    y, x = np.mgrid[: len(streak), : len(streak)] - len(streak) // 2
    moments = np.array([[np.sum(streak * a * b) for a in (y, x)] for b in (y, x)]) / streak.sum()
    values, vectors = np.linalg.eigh(moments)
    longest = vectors[:, 1] * np.sign(vectors[0, 1])
    assert np.degrees(np.arctan2(longest[1], longest[0])) == pytest.approx(angle, abs=0.5)
    assert np.sqrt(12 * values[1]) == pytest.approx(40, rel=0.1)  # of a uniform line
    assert np.sqrt(8 * np.log(2) * values[0]) == pytest.approx(3, rel=0.05)  # of a Gaussian, at half its height


def test_denser_rain_covers_more_by_the_share_it_says():
    share = lambda density: np.mean(
        [Rain(density=(density, density), brightness=(0.5, 0.5)).layer(256, 256, rng(i)) > 0.12 for i in range(8)]
    )
    assert share(0.02) == pytest.approx(0.02, rel=0.5)
    assert share(0.1) == pytest.approx(0.1, rel=0.4)


def test_brighter_rain_is_brighter():
    peaks = [Rain(brightness=(b, b)).layer(256, 256, rng()).max() for b in (0.2, 0.4)]
    assert peaks[0] < peaks[1]


# Mixture


def test_a_mixture_draws_its_parts_by_their_weights():
    mixture = Mixture((Noise((0, 0)), Noise((60, 60)), MotionBlur(size=(9, 9))), (1, 3, 0))
    assert mixture.margin == 5
    noisy = [not np.array_equal(mixture(flat(128, 8), rng(seed)), flat(128, 8)) for seed in range(1000)]
    assert np.mean(noisy) == pytest.approx(0.75, abs=0.055)  # 4 standard deviations


def test_a_mixture_needs_a_weight_for_each_part():
    with pytest.raises(UserError, match="one weight for each part, got 1 for 2"):
        Mixture((Noise(), Rain()), (1,))
    with pytest.raises(UserError, match="weights must not be negative, and not all 0"):
        Mixture((Noise(), Rain()), (0, 0))
