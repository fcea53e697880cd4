import numpy as np
import pytest

from mprnet_jax import model
from mprnet_jax.restoring import options
from mprnet_jax.restoring.padding import pad_to_multiple


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 8), (7, 13), (16, 24)])
def test_any_size_is_padded_to_the_next_multiple_and_the_image_stays_where_it_was(size):
    image = np.random.default_rng(0).random((*size, 3))
    padded = pad_to_multiple(image, 8)
    assert padded.shape == (-(-size[0] // 8) * 8, -(-size[1] // 8) * 8, 3)
    np.testing.assert_array_equal(padded[: size[0], : size[1]], image)


def test_padding_reflects_and_repeats_the_last_row_where_reflection_ends():
    column = np.arange(3.0).reshape(3, 1, 1)
    np.testing.assert_array_equal(pad_to_multiple(column, 8)[:, 0, 0], [0, 1, 2, 1, 0, 0, 0, 0])


def test_a_multiple_is_left_alone():
    image = np.zeros((8, 16, 3))
    assert pad_to_multiple(image, 8).shape == image.shape


def test_options_know_the_multiple_that_the_network_needs():
    assert options.SIZE_MULTIPLE == model.SIZE_MULTIPLE
