"""The guard: nothing changes where stages are plausible; where one is not, an earlier stage or the input is there."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer, guard
from tests.helpers.tiny import TINY

CLOSE = guard.Limits(shift=0.3, step=0.2, excess=0.05)


@pytest.fixture
def image(photo):
    return photo[:80, :88].astype(np.float32) / 255


@pytest.fixture(scope="module")
def restorer():
    quiet = jax.tree.map(lambda leaf: leaf * np.float32(0.5), init_params(TINY, seed=0))
    return Restorer(TINY, quiet, {"task": "denoising"}, RestoreOptions(tile=32, overlap=8))


def stages(image, *changes):
    return [image + np.float32(change) for change in changes]


def test_measures_are_the_means_and_the_range_of_blocks_by_their_formulas(image):
    rng = np.random.default_rng(0)
    outputs = [image + rng.normal(0, 0.2, image.shape).astype(np.float32) for _ in range(2)]
    first, second = guard.measure(image, outputs)
    block = np.s_[32:48, 80:88]  # in the last, narrower column
    nearby = image[16:64, 64:88]
    mean = lambda pixels: pixels.astype(np.float64).mean(axis=(0, 1))
    low, high = nearby.min(axis=(0, 1)), nearby.max(axis=(0, 1))
    beyond = np.maximum(np.maximum(low - outputs[1][block], outputs[1][block] - high), 0)
    np.testing.assert_allclose(
        second.shift[2, 5], np.abs(mean(outputs[1][block]) - mean(image[block])).max(), atol=1e-6
    )
    np.testing.assert_allclose(
        second.step[2, 5], np.abs(mean(outputs[1][block]) - mean(outputs[0][block])).max(), atol=1e-6
    )
    np.testing.assert_allclose(second.excess[2, 5], mean(beyond).max(), atol=1e-6)
    assert first.step.max() == 0


def test_the_range_of_each_block_is_that_of_the_blocks_around_it_too(image):
    grey = image[..., :1]  # 80 x 88: the last column of blocks is narrower
    below, above = guard.measure(grey, [np.full_like(grey, -9), np.full_like(grey, 9)])
    wider = np.pad(grey[..., 0], ((0, 0), (0, 8)), mode="symmetric").reshape(5, 16, 6, 16)
    low = ndimage.minimum_filter(wider.min(axis=(1, 3)), 3, mode="nearest")
    high = ndimage.maximum_filter(wider.max(axis=(1, 3)), 3, mode="nearest")
    np.testing.assert_allclose(below.excess, 9 + low, atol=1e-5)
    np.testing.assert_allclose(above.excess, 9 - high, atol=1e-5)


def test_plausible_stages_come_out_untouched(image):
    outputs = stages(image, 0.02, 0.01, -0.01)
    result, fell_back = guard.guarded(image, outputs, CLOSE)
    assert result is outputs[-1]
    assert fell_back is None


@pytest.mark.parametrize("fault", [5.0, np.nan, np.inf])
def test_a_part_that_went_astray_is_the_stage_before_and_the_rest_the_last_stage(image, fault):
    outputs = stages(image, 0.02, 0.01, -0.01)
    outputs[2][35:45, 37:42] = fault
    result, fell_back = guard.guarded(image, outputs, CLOSE)
    np.testing.assert_allclose(result[32:48, 32:48], outputs[1][32:48, 32:48], atol=1e-6)
    np.testing.assert_allclose(fell_back[32:48, 32:48], 1 / 3, atol=1e-6)
    away = np.ones(image.shape[:2], bool)
    away[8:72, 8:72] = False  # to the middles of the blocks next to the neighbours
    np.testing.assert_allclose(result[away], outputs[2][away], atol=1e-6)
    assert fell_back[away].max() < 1e-6
    assert np.isfinite(result).all()
    assert np.abs(np.diff(result - image, axis=0)).max() < 0.01  # no seam: 0.02 over a block's height


def test_where_all_stages_are_wrong_the_input_is_kept(image):
    outputs = stages(image, np.nan, 4, -4)
    result, fell_back = guard.guarded(image, outputs, CLOSE)
    np.testing.assert_array_equal(result, image)
    np.testing.assert_array_equal(fell_back, 1)


def test_without_a_fault_the_guard_changes_no_bit(restorer, photo):
    pixels = photo[:56, :72].astype(np.float32) / 255
    np.testing.assert_array_equal(restorer(pixels), restorer.with_options(guard=False)(pixels))


def test_weights_that_blew_up_give_the_input_and_say_where(restorer, photo):
    broken = jax.tree.map(lambda leaf: leaf * np.float32(40), restorer.params)
    broken = Restorer(TINY, broken, restorer.provenance, restorer.options)
    maps = []
    pixels = photo[:56, :72]
    np.testing.assert_array_equal(broken(pixels, on_fallback=maps.append), pixels)
    (fell_back,) = maps
    np.testing.assert_array_equal(fell_back, np.ones((56, 72)))
    assert guard.where(fell_back) == (
        "in 100% of the picture (0,0 to 72,56); an earlier stage or the input is kept there"
    )
    with pytest.warns(RuntimeWarning, match="the network went astray in 100% of the picture"):
        broken(pixels)


def test_darkness_behind_dense_rain_is_no_failure_of_a_derainer_alone():
    white = np.ones((64, 64, 3), np.float32)
    behind = [np.full_like(white, 0.65)] * 3  # darker than all that the input has
    assert guard.guarded(white, behind, guard.LIMITS["deraining"])[1] is None
    assert guard.guarded(white, behind, guard.LIMITS["denoising"])[1] is not None
