"""A preview is the crop of the whole result, to what tiles differ by, and finds the busiest part."""

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer, make_preview, preview, strength
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def restorer():
    return Restorer(TINY, init_params(TINY, seed=0), {"task": "denoising"}, RestoreOptions(guard=False))


@pytest.fixture
def small(monkeypatch):
    """Crops of a size that tests have time for."""
    monkeypatch.setattr(preview, "SIDE", 32)
    monkeypatch.setattr(preview, "MARGIN", 8)


def test_the_busiest_part_is_where_detail_is_and_not_at_one_hard_edge():
    rng = np.random.default_rng(0)
    image = np.full((300, 400, 3), 60, np.uint8)
    image[:, 40:] = 200
    image[200:260, 300:360] = rng.integers(0, 255, (60, 60, 1), np.uint8)
    x, y = preview.busiest(image, side=64)
    assert (abs(x - 330) <= 8, abs(y - 230) <= 8) == (True, True)
    deep = image.astype(np.uint16) * 257
    assert preview.busiest(deep, side=64) == (x, y)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (512, 512), (513, 511)])
def test_a_picture_of_any_size_has_a_crop(size):
    rows, columns = preview.crop_at(*size, *preview.busiest(np.zeros((*size, 3), np.uint8)))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (min(size[0], 512), min(size[1], 512))
    assert 0 <= rows.start <= rows.stop <= size[0]


def test_a_crop_at_a_point_is_moved_inside():
    assert preview.crop_at(100, 200, x=199, y=0, side=32) == (slice(0, 32), slice(168, 200))
    assert preview.crop_at(100, 200, x=60, y=50, side=32) == (slice(34, 66), slice(44, 76))


def test_a_crop_is_what_the_network_makes_of_it_with_its_margin_at_each_strength(restorer, photo, small):
    found = make_preview(restorer.with_options(strength=0.3, tile=16), photo, at=(30, 34), strengths=[0, 0.5, 1])
    crop = (slice(18, 50), slice(14, 46))
    seen = images.to_float(photo[10:58, 6:54])
    restored = restorer(seen)
    assert found.part == crop
    np.testing.assert_array_equal(found.before, images.to_float(photo[crop]))
    np.testing.assert_array_equal(found.after[0], found.before)
    half = strength.partly(seen, restored, 0.5, 0.5, texture=True)
    np.testing.assert_array_equal(found.after[1], half[8:40, 8:40])
    np.testing.assert_array_equal(found.after[2], restored[8:40, 8:40])


def test_a_crop_anywhere_in_a_large_picture_takes_one_compiled_program(restorer, photo, small, monkeypatch):
    seen = set()
    monkeypatch.setattr(Restorer, "__call__", lambda self, pixels: seen.add(pixels.shape) or pixels)
    height, width, _ = photo.shape
    for at in ((0, 0), (width // 2, 3), (width - 1, height - 1), (20, height // 2), (width // 2, height // 2)):
        found = make_preview(restorer, photo, at)
        np.testing.assert_array_equal(found.after[0], images.to_float(photo[found.part]))  # cut where it lies
    assert seen == {(48, 48, 3)}


def test_without_strengths_those_of_the_restorer_count(restorer, photo, small):
    (after,) = make_preview(restorer.with_options(strength=0, strength_colour=1), photo, at=(30, 34)).after
    assert np.ptp(after, axis=-1).max() > 0
    np.testing.assert_allclose(after.mean(-1), images.to_float(photo[18:50, 14:46]).mean(-1), atol=2e-2)


def test_a_crop_is_computed_in_the_dtype_of_the_whole_picture(restorer, photo, small, monkeypatch):
    of_8_bits = lambda engine, dtype: "bfloat16" if dtype == np.uint8 else "float32"
    monkeypatch.setattr("mprnet_jax.restoring.restorer.fastest_dtype", of_8_bits)
    automatic = restorer.with_options(dtype="auto")
    for pixels, dtype in ((photo, "bfloat16"), (images.to_float(photo), "float32")):
        (found,) = make_preview(automatic, pixels, at=(30, 34)).after
        (expected,) = make_preview(restorer.with_options(dtype=dtype), pixels, at=(30, 34)).after
        np.testing.assert_array_equal(found, expected)
