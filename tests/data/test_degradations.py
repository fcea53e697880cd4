"""Degradations against what their formulas say. 8-bit values in and out."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.signal import fftconvolve

from mprnet_jax import images
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.data.augment import window
from mprnet_jax.data.degradations import linear_light, motion_blur
from mprnet_jax.data.degradations.base import Degraded, degrade_crop
from mprnet_jax.data.degradations.camera_noise import (
    DSLR,
    PHONE,
    SMOOTH_COLOURS,
    CameraNoise,
    colour_matrix,
    demosaic,
    mosaic_masks,
    to_curve,
)
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture, check_ranges
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.degradations.rain import Rain, streak_kernel
from mprnet_jax.data.degradations.softness import Softness
from mprnet_jax.data.degradations.video_blur import VideoBlur, disc_kernel
from mprnet_jax.support.errors import UserError
from tests.helpers.degradations import KINDS


def flat(value, size=256):
    return np.full((size, size, 3), value, np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", KINDS)
def test_a_degradation_keeps_size_and_type_and_is_the_same_for_the_same_seed(name, photo):
    degradation = KINDS[name]()
    before = photo.copy()
    degraded = degradation(photo, rng(1))
    assert degraded.shape == photo.shape
    assert degraded.dtype == np.uint8
    assert not np.array_equal(degraded, photo)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(degraded, degradation(photo, rng(1)))
    assert not np.array_equal(degraded, degradation(photo, rng(2)))


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_smaller_than_the_margin_can_be_degraded(name):
    assert KINDS[name]()(flat(90, 3), rng()).shape == (3, 3, 3)


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


# Noise of cameras


def clean_crops():
    """Photographs that ship, without noise."""
    paths = sorted(SAMPLES.glob("*/target/*"))
    return [images.read(path)[:192, :192] for path in paths]


def statistics_of(camera):
    """Means over draws, as measured on genuine pairs: what is added, minus its mean over 33 pixels."""
    found = []
    for index, clean in enumerate(clean_crops() * 4):
        noise = camera.apply(Degraded(clean, clean), rng(index)).input.astype(float) - clean
        noise -= ndimage.uniform_filter(noise, (33, 33, 0))
        luma = noise @ np.array([0.299, 0.587, 0.114])
        away = lambda x, n: np.corrcoef(x[:, n:].ravel(), x[:, :-n].ravel())[0, 1]
        chroma = noise - luma[..., None]
        red, green, blue = np.moveaxis(noise, 2, 0).reshape(3, -1)
        colours = (np.corrcoef(red, green)[0, 1] + np.corrcoef(red, blue)[0, 1] + np.corrcoef(green, blue)[0, 1]) / 3
        found.append([noise.std(), *(away(noise, n) for n in (1, 2, 3, 4)), away(chroma, 1), away(chroma, 3), colours])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("camera", "least", "most"),
    # Standard deviation; correlation 1, 2, 3, 4 pixels away; of chroma 1 and 3 away; between colours. The standard
    # deviations are the tenth and ninetieth percentile of genuine pictures; the others the measured mean, give or take.
    [
        (DSLR, [4.1, 0.59, 0.23, 0.10, 0.05, 0.74, 0.32, 0.36], [7.9, 0.79, 0.43, 0.26, 0.17, 0.94, 0.52, 0.56]),
        (PHONE, [16, 0.36, 0.0, -0.05, -0.05, 0.51, -0.03, 0.24], [25, 0.56, 0.17, 0.09, 0.06, 0.71, 0.17, 0.56]),
    ],
    ids=["DSLRs, Nam", "phones, SIDD"],
)
def test_noise_of_cameras_has_the_strength_and_the_grain_of_genuine_noise(camera, least, most):
    found = statistics_of(camera)
    assert (found >= least).all(), found.round(2)
    assert (found <= most).all(), found.round(2)


def test_a_camera_that_smooths_its_colours_leaves_fine_grain_in_luma():
    """As on the genuine pairs of Nam: luma 0.55 and 0.12, Cb and Cr 0.88, 0.73 and 0.37 at 1, 2 and 4 pixels."""
    luma, colours = [], []
    for index, clean in enumerate(clean_crops() * 4):
        noise = 255 * SMOOTH_COLOURS.noise(clean, rng(index))
        y = noise @ np.array([0.299, 0.587, 0.114])
        away = lambda x, n: np.corrcoef(x[:, n:].ravel(), x[:, :-n].ravel())[0, 1]
        luma.append([away(y, n) for n in (1, 2)])
        colours.append([[away(noise[..., c] - y, n) for n in (1, 2, 4)] for c in (0, 2)])
    np.testing.assert_allclose(np.mean(luma, axis=0), [0.55, 0.12], atol=0.1)
    np.testing.assert_allclose(np.mean(colours, axis=(0, 1)), [0.88, 0.73, 0.37], atol=0.1)


def test_noise_of_a_raw_mosaic_has_the_variance_of_photons_and_read_noise():
    """With all that a camera does switched off, a flat green is photons / white + (read noise / white)^2."""
    off = {"gain": (1, 1), "matrix": (0, 0), "contrast_share": 0, "malvar_share": 0, "scale": (1, 1), "push": (1, 1)}
    camera = CameraNoise((900, 900), (12, 12), smoothing=(0, 0), blotches=(0, 0), colours=(1, 1), **off)
    stored = flat(188).astype(float) + 255 * camera.noise(flat(188), rng())
    light = (np.clip(stored / 255, 0, 1) + 0.055) / 1.055
    places = mosaic_masks(256, 256, 0)[1].astype(bool)  # green is measured there in half of all mosaics, and else mixed
    variances = [np.var((light**2.4)[..., 1][mask]) for mask in (places, ~places)]
    assert max(variances) == pytest.approx(0.50289 / 900 + (12 / 900) ** 2, rel=0.06)


def test_the_noise_changes_no_colours_and_no_tones():
    strong = CameraNoise(photons=(3000, 3000), push=(1, 1), read_noise=(1, 1))
    for value in (60, 128, 190):
        means = [strong(flat(value), rng(seed)).mean(axis=(0, 1)) for seed in range(6)]
        np.testing.assert_allclose(np.mean(means, axis=0), value, atol=0.6)


@pytest.mark.parametrize("malvar", [False, True])
@pytest.mark.parametrize("phase", range(4))
def test_demosaicing_gives_a_smooth_grey_picture_back(malvar, phase):
    y, x = np.mgrid[:40, :48] / 48
    plane = (0.3 + 0.3 * x + 0.2 * y).astype(np.float32)
    masks = mosaic_masks(40, 48, phase)
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    np.testing.assert_allclose(masks.mean(axis=(1, 2)), [0.25, 0.5, 0.25])
    inner = demosaic(plane, masks, malvar)[:, 4:-4, 4:-4]
    np.testing.assert_allclose(inner, np.broadcast_to(plane[4:-4, 4:-4], inner.shape), atol=1e-5)


def test_a_colour_matrix_keeps_grey_and_the_curve_keeps_black_and_white():
    np.testing.assert_allclose(colour_matrix(0.3, rng()).sum(axis=1), 1, rtol=1e-6)
    for contrast in (False, True):
        np.testing.assert_allclose(to_curve(np.array([-1.0, 0.0, 1.0, 2.0]), contrast), [0, 0, 1, 1], atol=1e-6)


def test_coarse_grain_is_coarser():
    fine, coarse = (statistics_of(CameraNoise(scale=(s, s)))[2] for s in (1, 2.5))
    assert coarse > fine + 0.15


# JPEG


def test_a_jpeg_is_what_another_encoder_makes_and_the_target_is_left():
    clean = clean_crops()[0]
    pair = Jpeg(quality=(75, 75)).apply(Degraded(clean, clean), rng())
    assert pair.target is clean
    file = io.BytesIO()
    Image.fromarray(clean).save(file, "JPEG", quality=75)
    others = np.asarray(Image.open(file)).astype(float)
    ours, theirs = (np.mean((picture - clean.astype(float)) ** 2) for picture in (pair.input.astype(float), others))
    assert ours == pytest.approx(theirs, rel=0.5)  # another place of the blocks, perhaps whole colours


def test_the_share_of_jpegs_is_as_asked():
    clean = clean_crops()[0][:40, :40]
    changed = [not np.array_equal(Jpeg(share=0.3)(clean, rng(seed)), clean) for seed in range(300)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.11)


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
    crop = degrade_crop(blur, window(photo, 20, 30, 40, blur.margin), rng()).input
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


def test_added_rain_is_brighter_than_screened_rain_and_is_cut_at_white(photo):
    screened, added = (Rain(brightness=(0.6, 0.6), added_share=share)(photo, rng()) for share in (0, 1))
    assert (added >= screened).all()
    assert (added[photo > 200] > screened[photo > 200]).any()
    layer = Rain(brightness=(0.6, 0.6)).layer(96, 128, rng())[..., None]
    np.testing.assert_array_equal(added, np.rint(np.minimum(photo + 255 * layer.astype(float), 255)).astype(np.uint8))


def test_rain_from_noise_covers_the_area_it_says_with_streaks_of_every_brightness():
    """As the rain of Rain100L: a tenth to four tenths of the picture, mostly faint."""
    for area in (0.1, 0.4):
        rain = Rain(density=(area, area), brightness=(0.5, 0.5), noise_share=1.0)
        layers = np.array([rain.layer(192, 192, rng(seed)) for seed in range(6)])
        assert np.mean(layers > 0) == pytest.approx(area, abs=0.01)
        assert layers.max() == pytest.approx(0.5)
        wet = layers[layers > 0]
        assert 0.05 < np.median(wet) < 0.2
        assert np.mean(wet > 0.4) < 0.1


def test_rain_from_noise_falls_as_it_says():
    rain = Rain(angle=(30, 30), length=(40, 40), width=(1, 1), noise_share=1.0).layer(256, 256, rng())
    along = [
        ndimage.rotate(rain, angle, reshape=False)[64:-64, 64:-64].sum(axis=0).var() for angle in range(-60, 61, 10)
    ]
    assert abs(10 * int(np.argmax(along)) - 60) == 30


def test_rain_of_several_directions_has_streaks_in_them():
    tall = {"length": (60, 60), "width": (2, 2), "density": (0.05, 0.05)}
    tilted = Rain(angle=(-50, 50), directions=(3, 3), **tall).layer(256, 256, rng(3))
    straight = Rain(angle=(0, 0), **tall).layer(256, 256, rng(3))
    across = lambda rain, angle: ndimage.rotate(rain, angle, reshape=False)[64:-64, 64:-64].sum(axis=0).var()
    ratio = lambda rain: np.divide(*np.sort([across(rain, angle) for angle in (-40, 0, 40)])[[2, 0]])
    assert ratio(straight) > 2 * ratio(tilted)


def test_mist_brightens_smoothly_and_no_more_than_asked():
    misty = Rain(density=(0, 0), veil_share=1, veil=(0.3, 0.3))(flat(0), rng()).astype(float)
    assert 70 < misty.max() <= 0.3 * 255 + 1
    assert np.abs(np.diff(misty, axis=0)).max() <= 2


# Blur of videos


def test_a_path_that_stands_still_changes_nothing(photo):
    still = VideoBlur(size=(0, 0), roll=(0, 0), zoom=(0, 0), tilt=(0, 0), layers_share=0, defocus_share=0)
    pair = still.apply(Degraded(photo, photo), rng())
    assert np.abs(pair.input.astype(int) - photo).max() <= 1
    assert pair.target is photo


def test_video_blur_is_as_long_as_it_says_and_its_truth_lies_on_it():
    dot = np.zeros((121, 121, 3), np.uint8)
    dot[60, 60] = 255
    straight = {"turn": (0, 0), "roll": (0, 0), "zoom": (0, 0), "tilt": (0, 0), "layers_share": 0, "defocus_share": 0}
    for seed in range(5):
        blurred = VideoBlur(size=(30, 30), stored_share=1, **straight)(dot, rng(seed))[..., 0]
        y, x = np.nonzero(blurred)
        assert np.hypot(np.ptp(y), np.ptp(x)) == pytest.approx(30, abs=4)
        assert np.hypot(y - 60, x - 60).min() < 1.5


def test_the_truth_lies_at_the_mean_of_the_path_also_where_the_speed_changes():
    y, x = np.mgrid[:121, :121]
    dot = np.repeat((255 * np.exp(-((y - 60) ** 2 + (x - 60) ** 2) / 32)).astype(np.uint8)[..., None], 3, axis=2)
    moving = VideoBlur((24, 24), (1, 1), (0, 0), (0, 0), (0, 0), layers_share=0, defocus_share=0, stored_share=1)
    centre = lambda image: np.array([(image[..., 0] * axis).sum() for axis in (y, x)]) / image[..., 0].sum()
    for seed in range(8):
        np.testing.assert_allclose(centre(moving(dot, rng(seed)).astype(float)), centre(dot.astype(float)), atol=0.15)


def test_blur_that_rolls_is_stronger_far_from_the_middle():
    y, x = np.mgrid[:161, :161]
    dots = np.repeat((((x % 20 == 0) & (y % 20 == 0)) * 255).astype(np.uint8)[..., None], 3, axis=2)
    straight = {"zoom": (0, 0), "tilt": (0, 0), "layers_share": 0, "defocus_share": 0, "stored_share": 1}
    rolling = VideoBlur(size=(0, 0), roll=(8, 8), **straight)
    blurred = rolling(dots, rng())[..., 0].astype(int)
    assert blurred[75:86, 75:86].max() > 3 * blurred[:15, :15].max()


def test_layers_that_move_are_sharp_in_the_target_and_blurred_in_the_input():
    clean = clean_crops()[1]
    moving = VideoBlur(size=(15, 15), layers_share=1, defocus_share=0)
    pair = moving.apply(Degraded(clean, clean), rng(2))
    sharpness = lambda image: np.abs(np.diff(image.astype(float), axis=1)).mean()
    assert (pair.target != clean).mean() > 0.02
    assert sharpness(pair.input) < 0.8 * sharpness(pair.target)


# Softness


def test_softness_is_the_gaussian_of_light_that_it_says_and_the_network_is_to_leave_it(photo):
    pair = Softness((0.8, 0.8)).apply(Degraded(photo, photo), rng())
    assert pair.input is pair.target
    light = np.where(photo / 255 <= 0.04045, photo / 255 / 12.92, ((photo / 255 + 0.055) / 1.055) ** 2.4)
    soft = ndimage.gaussian_filter(light, (0.8, 0.8, 0))
    stored = np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * np.maximum(soft, 1e-9) ** (1 / 2.4) - 0.055)
    assert np.abs(255 * stored - pair.target).max() <= 1.5


def test_softness_after_a_degradation_softens_both_and_takes_its_share(photo):
    noisy = Noise((20, 20))(photo, rng())
    pair = Softness().apply(Degraded(noisy, photo), rng())
    assert pair.input.std() < noisy.std()
    assert (pair.target != photo).any()
    assert Softness(share=0).apply(Degraded(noisy, photo), rng()) == (noisy, photo)


@pytest.mark.parametrize("radius", [0, 0.6, 2.5, 5])
def test_a_disc_sums_to_one_and_is_as_wide_as_it_says(radius):
    disc = disc_kernel(radius)
    assert disc.sum() == pytest.approx(1)
    assert np.count_nonzero(disc[len(disc) // 2]) == pytest.approx(2 * radius + 1, abs=1.01)


# Mixture and chain


def test_a_chain_takes_its_steps_in_order_and_an_empty_one_changes_nothing(photo):
    chain = Chain((MotionBlur(size=(9, 9)), Noise((20, 20))))
    assert chain.margin == 5
    generator = rng(4)
    expected = Noise((20, 20))(MotionBlur(size=(9, 9))(photo, generator), generator)
    np.testing.assert_array_equal(chain(photo, rng(4)), expected)
    np.testing.assert_array_equal(Chain()(photo, rng()), photo)


def test_ranges_are_checked_in_every_part():
    with pytest.raises(UserError, match=r"degradation.quality must be"):
        check_ranges(Mixture((Chain((Noise(), Jpeg(quality=(90, 80)))),), (1,)))
    check_ranges(Mixture((Chain((Rain(), Jpeg())), VideoBlur(), DSLR, PHONE, Chain()), (1, 1, 1, 1, 1)))


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
