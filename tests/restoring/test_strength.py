"""Restoring in part: its two ends bit for bit, less noise and more texture than a blend in between."""

import numpy as np
import png
import pytest

from mprnet_jax import images
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer, restore_picture, strength
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

OPTIONS = RestoreOptions(tile=32, overlap=8, guard=False)  # it would take random weights for broken ones


@pytest.fixture(scope="module")
def restorer():
    return Restorer(
        TINY, init_params(TINY, seed=0), {"task": "denoising"}, RestoreOptions(tile=32, overlap=8, guard=False)
    )


@pytest.fixture(scope="module")
def textured():
    """A picture that is smooth on the left, textured in its right third; with noise; and a result that lost half of the
    texture with the noise."""
    rng = np.random.default_rng(0)
    across = np.arange(192)
    texture = 0.1 * np.sin(across * 1.3) * np.sin(across[:, None] * 1.1) * (across > 128)
    truth = np.repeat((0.5 + texture)[..., None], 3, axis=-1).astype(np.float32)
    before = truth + rng.normal(0, 0.04, truth.shape).astype(np.float32)
    restored = np.repeat((0.5 + texture / 2)[..., None], 3, axis=-1).astype(np.float32)
    return np.clip(before, 0, 1), restored, truth


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_0_is_the_input_and_1_what_there_is_without_the_option_bit_for_bit(restorer, photo, dtype):
    pixels = photo[:40, :52]
    deep = pixels.astype(np.uint16) * 257 + 3
    pixels = {"uint8": pixels, "uint16": deep, "float32": images.to_float(pixels)}[dtype]
    none = restorer.with_options(strength=0)(pixels)
    np.testing.assert_array_equal(none, pixels)
    assert none is not pixels
    assert none.dtype == dtype
    np.testing.assert_array_equal(restorer.with_options(strength=1.0, strength_colour=1)(pixels), restorer(pixels))


def test_a_part_of_a_tiled_picture_is_that_of_the_whole_result_and_rounded_once(restorer, photo):
    pixels = photo[:56, :72]
    half = restorer.with_options(strength=0.5)
    assert len(half.plan(56, 72)) > 2
    before = images.to_float(pixels)
    expected = strength.partly(before, restorer(before), 0.5, 0.5, texture=True)
    np.testing.assert_array_equal(half(before), expected)
    np.testing.assert_array_equal(half(pixels), images.to_uint8(expected))


def test_smooth_areas_keep_less_noise_than_in_a_blend_and_textured_ones_more_texture(textured):
    before, restored, truth = textured
    half = strength.partly(before, restored, 0.5, 0.5, texture=True)
    blend = (before + restored) / 2
    smooth, textured_part = (slice(None), slice(8, 112)), (slice(None), slice(140, 184))
    spread = lambda image: (image - truth)[smooth].mean(-1).std()
    assert spread(half) < 0.8 * spread(blend)
    wave = (truth - 0.5)[textured_part]
    kept = lambda image: ((image - 0.5)[textured_part] * wave).sum() / (wave * wave).sum()
    assert kept(restored) < kept(blend) < kept(half) < 1


def test_colour_has_a_strength_of_its_own_that_leaves_luminance_alone(textured):
    before, restored, _ = textured
    only_colour = strength.partly(before, restored, 0, 1, texture=True)
    inside = (before > 0.2) & (before < 0.8)
    np.testing.assert_allclose(only_colour.mean(-1), before.mean(-1), atol=1e-6)
    assert np.ptp(only_colour, axis=-1).max() < 1e-5
    assert inside.all()
    only_luminance = strength.partly(before, restored, 1, 0, texture=True)
    np.testing.assert_allclose(only_luminance.mean(-1), restored.mean(-1), atol=1e-6)
    differences = lambda image: image - image.mean(-1, keepdims=True)
    np.testing.assert_allclose(differences(only_luminance), differences(before), atol=1e-6)


def test_rain_and_blur_are_blended(restorer, photo):
    before = images.to_float(photo[:40, :52])
    rain = Restorer(TINY, restorer.params, {"task": "deraining"}, restorer.options)
    expected = before + 0.25 * (rain(before) - before)
    np.testing.assert_allclose(rain.with_options(strength=0.25)(before), expected, atol=1e-6)


def test_a_grey_picture_of_16_bits_with_alpha_comes_back_whole_at_0(restorer, tmp_path):
    grey = np.random.default_rng(1).integers(0, 65536, (9, 11, 2), dtype=np.uint16)
    with (tmp_path / "grey.png").open("wb") as file:
        png.Writer(11, 9, greyscale=True, alpha=True, bitdepth=16).write(file, grey.reshape(9, -1).tolist())
    picture = images.open_picture(tmp_path / "grey.png")
    images.save_picture(tmp_path / "out.png", restore_picture(restorer.with_options(strength=0), picture), picture)
    _, _, rows, _ = png.Reader(bytes=(tmp_path / "out.png").read_bytes()).read()
    np.testing.assert_array_equal(np.array([list(row) for row in rows]), grey.reshape(9, -1))


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "much", True])
@pytest.mark.parametrize("name", ["strength", "strength_colour"])
def test_what_is_no_share_is_refused(name, value):
    with pytest.raises(UserError, match=rf"{name} must be a number in 0\.\.1, got"):
        RestoreOptions(**{name: value})
