import numpy as np
import pytest

from mprnet_jax.restoring.tiles import Tiles


def blended(image, tile, overlap, function=lambda part: part):
    result = np.full_like(image, np.nan)
    grid = Tiles(*image.shape[:2], tile=(tile, tile), overlap=overlap)

    def finish(first, rows):
        result[first : first + len(rows)] = rows

    grid.blend((function(image[part]) for part in grid.parts()), finish)
    return result, grid


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((50, 70), 32, 8), ((50, 70), 32, 16), ((97, 33), 32, 0), ((20, 90), 32, 5), ((9, 7), 16, 4)],
)
def test_tiles_with_the_identity_as_network_give_the_image(size, tile, overlap):
    image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    result, _ = blended(image, tile, overlap)
    np.testing.assert_allclose(result, image, atol=1e-6)


def test_tiles_are_equal_overlap_enough_and_are_no_more_than_needed():
    grid = Tiles(100, 260, tile=(64, 64), overlap=16)
    assert grid.rows == [0, 36]
    assert grid.columns == [0, 39, 78, 118, 157, 196]  # five would reach 16 + 5 * 48 = 256 pixels
    assert len(grid) == 12
    assert all(b - a <= 64 - 16 for a, b in zip(grid.columns, grid.columns[1:], strict=False))


def test_a_difference_between_tiles_is_spread_over_the_overlap():
    values = iter([0.0, 1.0])
    result, _ = blended(np.zeros((8, 24, 1), np.float32), 16, 8, lambda part: np.full_like(part, next(values)))
    np.testing.assert_allclose(np.diff(result[0, :, 0]).max(), 1 / 8, atol=1e-6)  # no step larger than 1 / overlap
    np.testing.assert_allclose(result[0, [0, 7, 16, 23], 0], [0, 0, 1, 1], atol=1e-6)


def test_an_overlap_of_more_than_half_a_tile_is_refused():
    with pytest.raises(ValueError, match=r"overlap must be in 0..tile/2, got 20 for tiles of \(64, 32\) pixels"):
        Tiles(100, 100, tile=(64, 32), overlap=20)


def test_cores_of_tiles_with_a_halo_cover_the_image_and_leave_room_for_the_halo():
    image = np.random.default_rng(0).random((100, 260, 3)).astype(np.float32)
    grid = Tiles(100, 260, tile=(104, 104), overlap=0, halo=24)
    assert grid.core == (100, 104 - 2 * 24 - 8)  # a tile sees all rows, and restores them all
    result = np.full_like(image, np.nan)

    def finish(first, rows):
        result[first : first + len(rows)] = rows

    grid.blend((image[part] for part in grid.parts()), finish)
    np.testing.assert_allclose(result, image, atol=1e-6)
