"""Each metric against an independent reference: scikit-image, the formula written out with SciPy, or fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.metrics

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.pretrained import SAMPLES


def photo(height: int, width: int) -> np.ndarray:
    """A made scene, uint8 H W 3: gradients, hard edges, texture, a burnt-out lamp and a black corner."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    sky = np.stack([120 + 60 * y, 150 + 50 * y, 230 - 40 * x], axis=-1)
    wall = np.stack([170 - 90 * x, 110 + 30 * y, 80 + 20 * x], axis=-1)
    wall += 25 * np.sign(np.sin(40 * x) * np.sin(30 * y))[..., None]
    scene = np.where((y > 0.4 + 0.1 * np.sin(9 * x))[..., None], wall, sky)
    scene += scipy.ndimage.gaussian_filter(rng.normal(0, 30, scene.shape), (1, 1, 0)) * (y > 0.6)[..., None]
    scene[(x - 0.7) ** 2 + (y - 0.2) ** 2 < 0.01] = 255
    scene[(x < 0.15) & (y > 0.8)] = 0
    return np.rint(np.clip(scene, 0, 255)).astype(np.uint8)


def degrade(image: np.ndarray, how: str) -> np.ndarray:
    if how == "blur":
        degraded = scipy.ndimage.uniform_filter(image.astype(float), (1, 9, 1))
    elif how == "noise":
        degraded = image + np.random.default_rng(1).normal(0, 25, image.shape)
    elif how == "shift":
        degraded = image * [1.0, 0.9, 0.8] + 12
    return np.rint(np.clip(degraded, 0, 255)).astype(np.uint8)


DEGRADATIONS = ["blur", "noise", "shift"]


@pytest.fixture(params=[*DEGRADATIONS, "photo, blur", "photo, noise", "photo, real noise"])
def pair(request) -> tuple[np.ndarray, np.ndarray]:
    if request.param == "photo, real noise":
        return real("phone2", "input"), real("phone2", "target")
    target = real("koala_sigma25", "target") if request.param.startswith("photo") else photo(96, 130)
    return degrade(target, request.param.removeprefix("photo, ")), target


def real(name: str, side: str) -> np.ndarray:
    """A part of a photograph that ships with the package."""
    return images.read(SAMPLES / "denoising" / side / f"{name}.png")[100:196, 150:280]


def unit(pair):
    return [image / 255 for image in pair]


def gaussian_kernel(ndim: int) -> np.ndarray:
    """The 11-tap Gaussian as one dense array of `ndim` axes, as MATLAB's fspecial makes it."""
    offsets = np.meshgrid(*[np.arange(-5, 6)] * ndim, indexing="ij")
    kernel = np.exp(-sum(offset**2 for offset in offsets) / (2 * 1.5**2))
    return kernel / kernel.sum()


def ssim_by_the_formula(x, y, peak, window) -> float:
    x, y = x.astype(float), y.astype(float)
    mu_x, mu_y = window(x), window(y)
    var_x, var_y, cov = window(x**2) - mu_x**2, window(y**2) - mu_y**2, window(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + (0.01 * peak) ** 2) / (mu_x**2 + mu_y**2 + (0.01 * peak) ** 2)
    structure = (2 * cov + (0.03 * peak) ** 2) / (var_x + var_y + (0.03 * peak) ** 2)
    return (luminance * structure).mean()


def volume_ssim(x, y, peak) -> float:
    kernel = gaussian_kernel(3)
    return ssim_by_the_formula(x, y, peak, lambda v: scipy.ndimage.correlate(v, kernel, mode="nearest"))


def exact_y(red: int, green: int, blue: int) -> int:
    luma = 65481 * int(red) + 128553 * int(green) + 24966 * int(blue)
    return math.floor(16 + Fraction(luma, 255_000) + Fraction(1, 2))


def test_psnr_equals_skimage(pair):
    expected = skimage.metrics.peak_signal_noise_ratio(pair[1], pair[0], data_range=255)
    assert metrics.psnr(*pair) == pytest.approx(expected, abs=1e-9)
    assert metrics.psnr(*unit(pair), peak=1) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_known_errors():
    black, grey = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 51, np.uint8)
    assert metrics.psnr(black, grey) == pytest.approx(20 * math.log10(5))
    assert metrics.psnr(black, np.full_like(black, 255)) == 0  # differences of uint8 must not wrap
    assert metrics.psnr(black[..., 0], grey[..., 0]) == metrics.psnr(grey, black)
    one_channel = black.copy()
    one_channel[..., 0] = 51  # one MSE over the channels, not the mean of three PSNRs
    assert metrics.psnr(one_channel, black) == pytest.approx(10 * math.log10(3 * 25))


def test_float32_images_are_scored_in_float64():
    target = np.full((16, 16, 3), 0.5, np.float32)
    restored = np.nextafter(target, np.float32(1))
    assert metrics.psnr(restored, target, peak=1) == pytest.approx(-20 * math.log10(2**-24), abs=1e-9)


def test_y_is_exact_on_a_grid_of_colours():
    levels = [0, 1, 2, 16, 31, 64, 100, 127, 128, 129, 177, 200, 235, 253, 254, 255]
    colours = np.array(np.meshgrid(levels, levels, levels), np.uint8).reshape(3, -1, 16).transpose(1, 2, 0)
    y = metrics.matlab_y(colours)
    assert y.dtype == np.uint8
    assert y.ravel().tolist() == [exact_y(*colour) for colour in colours.reshape(-1, 3)]


@pytest.mark.parametrize(
    ("colour", "y"),
    [
        ((255, 255, 255), 235),
        ((0, 0, 0), 16),
        ((255, 0, 0), 81),  # 81.481
        ((0, 255, 0), 145),  # 144.553
        ((0, 0, 255), 41),  # 40.966
    ],
)
def test_y_of_known_colours(colour, y):
    assert metrics.matlab_y(np.array([[colour]], np.uint8)).item() == y


def test_y_rounds_ties_up():
    """Where 299 R + 587 G + 114 B is 42500, 127500 or 212500, Y ends in .5; floats get some of these wrong."""
    red, green, blue = np.ogrid[:256:5, :256, :256]
    ties = np.isin(299 * red + 587 * green + 114 * blue, [42500, 127500, 212500])
    colours = (np.argwhere(ties)[None] * [5, 1, 1]).astype(np.uint8)
    assert set(metrics.matlab_y(colours).ravel().tolist()) == {53, 126, 199}


def test_psnr_y_is_the_psnr_of_the_exact_y(pair):
    restored, target = ([exact_y(*pixel) for pixel in image[:20].reshape(-1, 3)] for image in pair)
    mse = sum((a - b) ** 2 for a, b in zip(restored, target, strict=True)) / len(target)
    assert metrics.psnr_y(pair[0][:20], pair[1][:20]) == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-9)


def test_channel_mixing_has_the_published_rows():
    rows = [[0.633006, 0.213006, 0.153989], [0.366994, 0.266012, 0.366994], [0.153989, 0.213006, 0.633006]]
    np.testing.assert_allclose(metrics.channel_mixing(), rows, rtol=0, atol=1e-6)
    np.testing.assert_allclose(metrics.channel_mixing().sum(axis=1), 1, rtol=0, atol=1e-15)


def test_ssim_matlab_rgb_equals_the_ssim_of_a_volume(pair):
    restored, target = (image[30:80, 40:100] for image in pair)
    assert metrics.ssim_matlab_rgb(restored, target) == pytest.approx(volume_ssim(restored, target, 255), abs=1e-9)
    restored, target = restored / 255, target / 255
    assert metrics.ssim_matlab_rgb(restored, target, 1) == pytest.approx(volume_ssim(restored, target, 1), abs=1e-9)


def test_ssim_matlab_rgb_takes_images_smaller_than_its_window():
    target = photo(96, 130)[50:57, 60:69]
    restored = degrade(target, "noise")
    assert metrics.ssim_matlab_rgb(restored, target) == pytest.approx(volume_ssim(restored, target, 255), abs=1e-9)


def test_ssim_per_channel_equals_skimage(pair):
    def expected(images, peak):
        return skimage.metrics.structural_similarity(
            *images, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=peak
        )

    assert metrics.ssim_per_channel(*pair) == pytest.approx(expected(pair, 255), abs=1e-9)
    assert metrics.ssim_per_channel(*unit(pair), peak=1) == pytest.approx(expected(unit(pair), 1), abs=1e-9)


def test_ssim_map_is_skimages_without_its_border(pair):
    _, expected = skimage.metrics.structural_similarity(
        *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255, full=True
    )
    np.testing.assert_allclose(metrics.ssim_map(*pair), expected[5:-5, 5:-5], rtol=0, atol=1e-9)


def test_ssim_index_y_equals_the_formula_on_the_exact_y(pair):
    kernel = gaussian_kernel(2)
    restored, target = (np.apply_along_axis(lambda pixel: exact_y(*pixel), 2, image[:40, :50]) for image in pair)
    expected = ssim_by_the_formula(
        restored, target, 255, lambda image: scipy.signal.convolve2d(image, kernel, mode="valid")
    )
    assert metrics.ssim_index_y(pair[0][:40, :50], pair[1][:40, :50]) == pytest.approx(expected, abs=1e-9)


def test_identical_images_score_one_and_infinity():
    image = photo(40, 56)
    assert metrics.psnr(image, image) == metrics.psnr_y(image, image) == math.inf
    for ssim in (metrics.ssim_matlab_rgb, metrics.ssim_index_y, metrics.ssim_per_channel):
        assert ssim(image, image) == 1
    batch = np.stack([image, image]) / np.float32(255)
    assert metrics.psnr_jax(batch, batch).tolist() == [math.inf] * 2


def test_the_psnr_of_batches_equals_that_of_each_image():
    target = photo(96, 130)
    restored = np.stack([degrade(target, how) for how in DEGRADATIONS])
    targets = np.stack([target] * len(DEGRADATIONS))
    expected = [metrics.psnr(image, target) for image in restored]
    for scale, peak in ((255, 1), (1, 255)):
        ours = metrics.psnr_jax((restored / scale).astype(np.float32), (targets / scale).astype(np.float32), peak)
        assert ours.shape == (3,)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


NUMPY_FORMS = [metrics.psnr, metrics.psnr_y, metrics.ssim_matlab_rgb, metrics.ssim_index_y, metrics.ssim_per_channel]


@pytest.mark.parametrize("metric", [*NUMPY_FORMS, metrics.psnr_jax])
def test_differing_shapes_are_named(metric):
    with pytest.raises(ValueError, match=r"differ in shape: \(16, 24, 3\) and \(16, 1, 3\)"):
        metric(np.zeros((16, 24, 3), np.uint8), np.zeros((16, 1, 3), np.uint8))


BATCH, IMAGE, PLANE, SMALL = ((2, 16, 16, 3), (16, 16, 3), (16, 16), (10, 16, 3))


@pytest.mark.parametrize(
    ("metric", "shape", "text"),
    [
        (metrics.psnr, BATCH, "expected H W or H W C, got restored (2, 16, 16, 3) and target (2, 16, 16, 3)"),
        (metrics.ssim_per_channel, BATCH, "expected H W or H W C, got restored (2, 16, 16, 3)"),
        (metrics.psnr_y, PLANE, "expected H W 3, got restored (16, 16) and target (16, 16)"),
        (metrics.ssim_index_y, (16, 16, 4), "expected H W 3, got restored (16, 16, 4)"),
        (metrics.ssim_matlab_rgb, (16, 16, 1), "expected H W 3, got restored (16, 16, 1)"),
        (metrics.psnr_jax, IMAGE, "expected N H W C, got restored (16, 16, 3)"),
        (metrics.ssim_per_channel, SMALL, "at least 11 x 11 pixels, got restored (10, 16, 3) and target (10, 16, 3)"),
    ],
)
def test_wrong_dimensions_are_named(metric, shape, text):
    image = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole text is compared
        metric(image, image)
    assert text in str(error.value)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim_matlab_rgb, metrics.ssim_per_channel])
@pytest.mark.parametrize(("restored", "target"), [("float32", "uint8"), ("int64", "int64"), ("uint8", "uint16")])
def test_mixed_ranges_are_refused(metric, restored, target):
    text = f"must both be uint8 or both floats, got {restored} and {target}"
    with pytest.raises(ValueError, match=text):
        metric(np.zeros(IMAGE, restored), np.zeros(IMAGE, target))


@pytest.mark.parametrize("metric", [metrics.psnr_y, metrics.ssim_index_y])
def test_y_metrics_take_uint8_alone(metric):
    with pytest.raises(ValueError, match=r"got restored float64 \(16, 16, 3\) and target uint8 \(16, 16, 3\)"):
        metric(np.zeros(IMAGE), np.zeros(IMAGE, np.uint8))


def test_y_of_another_dtype_or_shape_is_refused():
    with pytest.raises(ValueError, match=r"uint8 alone, got image float64 \(16, 16, 3\); convert with images.to_uint8"):
        metrics.matlab_y(np.zeros(IMAGE))
    with pytest.raises(ValueError, match=r"expected an RGB image H W 3, got \(16, 16\)"):
        metrics.matlab_y(np.zeros(PLANE, np.uint8))
