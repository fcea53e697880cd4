import numpy as np
import pytest

from mprnet_jax.restoring.tiles import Tiles, pad_to_multiple, turn, turned_part


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


def blended(image, tile, overlap, function=lambda part: part):
    result = np.full_like(image, np.nan)
    grid = Tiles(*image.shape[:2], tile=tile, overlap=overlap)

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
    grid = Tiles(100, 260, tile=64, overlap=16)
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
    with pytest.raises(ValueError, match="overlap must be in 0..tile/2, got 20 for tiles of 32 pixels"):
        Tiles(100, 100, tile=32, overlap=20)


def test_cores_of_tiles_with_a_halo_cover_the_image_and_leave_room_for_the_halo():
    image = np.random.default_rng(0).random((100, 260, 3)).astype(np.float32)
    grid = Tiles(100, 260, tile=104, overlap=0, halo=24)
    assert grid.core(100) == 100  # a tile sees all rows, and restores them all
    assert grid.core(260) == 104 - 2 * 24 - 8
    result = np.full_like(image, np.nan)

    def finish(first, rows):
        result[first : first + len(rows)] = rows

    grid.blend((image[part] for part in grid.parts()), finish)
    np.testing.assert_allclose(result, image, atol=1e-6)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("flipped", [False, True])
def test_a_turned_part_is_the_part_of_the_turned_image_and_turns_back(quarters, flipped):
    image = np.arange(5 * 9).reshape(5, 9, 1)
    part = slice(1, 4), slice(6, 8)
    there = turn(image, quarters, flipped)[turned_part(part, (5, 9), quarters, flipped)]
    np.testing.assert_array_equal(there, turn(image[part], quarters, flipped))
    np.testing.assert_array_equal(turn(there, quarters, flipped, back=True), image[part])
