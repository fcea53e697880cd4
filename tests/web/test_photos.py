"""What the page makes of a photo: the part that was clicked on."""

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.model import init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError
from mprnet_jax.web import photos
from tests.helpers.tiny import TINY


def picture(height, width, alpha=None):
    return images.Picture(np.zeros((height, width, 3), np.uint8), alpha, "rgb", "PNG")


def test_a_click_on_the_shown_copy_is_a_point_of_the_photo():
    assert photos.point_of_photo([30, 20], picture(60, 80)) == (30, 20)
    assert photos.point_of_photo([4096, 10.5], picture(100, 8192)) == (8191, 21)


@pytest.mark.parametrize("clicked", [None, "12", [1], [1, 2, 3], [-1, 0], [0, 1e9], [float("nan"), 0], [None, 0], {}])
def test_what_is_no_click_is_refused(clicked):
    with pytest.raises(UserError, match="click on the photo"):
        photos.point_of_photo(clicked, picture(60, 80))


def test_the_part_keeps_the_photos_kind_and_transparency(photo):
    alpha = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48).astype(np.uint8)
    whole = images.Picture(photo[:40, :48], alpha, "rgb", "PNG")
    restorer = Restorer(TINY, init_params(TINY, seed=0)).with_options(strength=0)
    before, after = photos.preview_photo(whole, restorer, (20, 20))
    np.testing.assert_array_equal(before.pixels, whole.pixels)
    np.testing.assert_array_equal(after.pixels, whole.pixels)
    np.testing.assert_array_equal(after.alpha, alpha)
    assert before.format == "PNG"
