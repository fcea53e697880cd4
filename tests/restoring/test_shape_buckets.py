import numpy as np
import pytest

from mprnet_jax.restoring import shape_buckets


def waste(sizes, shapes):
    """Pixels computed, over the pixels of the images."""
    computed = sum(np.prod(shape_buckets.smallest_fitting(shapes, *size)) for size in sizes)
    return computed / sum(h * w for h, w in sizes)


def test_few_sizes_are_their_own_shapes_rounded_up_to_multiples_of_8():
    assert shape_buckets.choose_shapes([(33, 40), (40, 40), (16, 16)], 2) == ((16, 16), (40, 40))


def test_portraits_and_landscapes_keep_shapes_of_their_own():
    sizes = [(480 + i, 320 + i) for i in range(20)] + [(320 + i, 480 + i) for i in range(20)]
    assert shape_buckets.choose_shapes(sizes, 2) == ((344, 504), (504, 344))


def test_every_size_of_a_thousand_fits_and_little_is_added():
    sizes = [(int(h), int(w)) for h, w in np.random.default_rng(0).integers(200, 2000, (1000, 2))]
    shapes = shape_buckets.choose_shapes(sizes, 8)
    assert len(shapes) == 8
    assert 1 < waste(sizes, shapes) < 1.7  # a grid of nine makes it 1.61
    assert waste(sizes, shape_buckets.choose_shapes(sizes, 30)) < waste(sizes, shapes)


def test_what_no_shape_holds_has_none():
    assert shape_buckets.smallest_fitting([(64, 64), (32, 96)], 40, 80) is None
    assert shape_buckets.smallest_fitting([(64, 64), (32, 96)], 16, 60) == (32, 96)


def test_no_shapes_at_all_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        shape_buckets.choose_shapes([(8, 8)], 0)
