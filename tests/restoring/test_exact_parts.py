"""Parts of an image, and padded images, give what the whole image gives: tiles with a halo, shapes for many sizes."""

import dataclasses

import jax
import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.model import MPRNet, init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.restoring.engines import executables
from mprnet_jax.restoring.receptive_field import receptive_field_radius
from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

ROUNDING = 2e-6  # of values about 1; 1e-4 is asked for
WIDE_KERNEL = dataclasses.replace(TINY, kernel_size=5)


@pytest.fixture(scope="module")
def restorer():
    options = RestoreOptions(tlc=True, tile="whole", engine="xla")
    return Restorer(TINY, init_params(TINY, seed=0), {"patch_size": 4}, options)


def picture(height, width):
    return np.random.default_rng(height * width).random((height, width, 3), np.float32)


def difference(restorer, image, **changed):
    """Between a restorer with other options and the same without, which restores the image whole."""
    return np.abs(restorer.with_options(**changed)(image) - restorer(image)).max()


def test_tiles_with_a_receptive_field_radius_equal_the_whole_image(restorer):
    changed = {"tile": 680, "halo": "full"}
    assert len(restorer.with_options(**changed).plan(1001, 41)) > 2
    assert difference(restorer, picture(1001, 41), **changed) < ROUNDING


@pytest.mark.slow
def test_tiles_of_the_first_stage_equal_the_whole_image_in_both_directions(restorer):
    first = restorer.with_options(stages=1)
    image = picture(413, 395)
    changed = {"tile": 376, "halo": "full"}
    assert len(first.with_options(**changed).plan(413, 395)) > 3
    assert difference(first, image, **changed) < ROUNDING
    assert difference(first, image, tile=376, overlap=41) > 100 * ROUNDING  # blended tiles do not
    assert difference(first, image, tile=96, halo=8) > 100 * ROUNDING  # nor those with too small a halo


def test_the_receptive_field_radius_is_no_less_than_what_a_pixel_depends_on(restorer):
    """By the gradient of one pixel in the middle with respect to the image."""
    window, side = 12, 640
    model = MPRNet(TINY, window=window)
    halo = receptive_field_radius(TINY, window, stages=1)
    pixel = lambda image: model.apply({"params": restorer.params}, image, stages=1)[0][0, 20, side // 4].sum()
    seen = np.abs(jax.jit(jax.grad(pixel))(picture(48, side)[None])).max(axis=(0, 1, 3)) > 0
    reach = np.abs(np.flatnonzero(seen) - side // 4).max()
    assert halo / 3 < reach <= halo


@pytest.mark.parametrize(
    ("window", "size", "stages"), [(None, (40, 56), 3), (12, (35, 50), 3), (45, (16, 64), 1)], ids=str
)
def test_an_image_in_a_larger_shape_gives_what_it_gives_alone(restorer, window, size, stages):
    patch_size = None if window is None else -(-window * 2 // 3)
    restorer = restorer.with_options(tlc=window is not None, patch_size=patch_size, stages=stages)
    assert restorer.window == window
    assert difference(restorer, picture(*size), shapes=((48, 64),)) < ROUNDING


def test_a_larger_kernel_keeps_pieces_apart_too():
    wide = Restorer(WIDE_KERNEL, init_params(WIDE_KERNEL, seed=0), options=RestoreOptions(stages=1, tile="whole"))
    assert difference(wide, picture(40, 56), shapes=((48, 64),)) < ROUNDING


def test_bfloat16_in_a_larger_shape_is_as_near_to_float32_as_alone(restorer):
    first = restorer.with_options(stages=1)
    half = first.with_options(dtype="bfloat16")
    image = picture(40, 56)
    alone = np.abs(half(image) - first(image)).max()
    padded = np.abs(half.with_options(shapes=((48, 64),))(image) - first(image)).max()
    assert 0 < padded < 2 * alone


def test_self_ensemble_and_tiles_with_a_halo_go_together(restorer):
    first = restorer.with_options(stages=1, self_ensemble=True)
    assert difference(first, picture(461, 29), tile=376, halo="full") < ROUNDING


def test_a_hundred_sizes_compile_a_handful_of_programs(restorer):
    rng = np.random.default_rng(0)
    sizes = [(int(h), int(w)) for h, w in rng.integers(17, 90, (100, 2))]
    few = restorer.with_options(tlc=False, stages=1).for_sizes(sizes, count=4)
    assert len(few.options.shapes) == 4
    executables.compile_restoring.cache_clear()
    for size in sizes:
        assert few(picture(*size)).shape == (*size, 3)
    assert executables.compile_restoring.cache_info().misses <= 4
    assert few.for_sizes(sizes[:3]).options.shapes == ()  # three sizes need no padding


def test_a_halo_that_needs_more_than_there_is_says_what_it_needs(restorer, monkeypatch):
    with pytest.raises(UserError, match=r"a halo of 32 pixels needs tiles of at least 136 pixels, not 96; give a"):
        restorer.with_options(tile=96, halo=32).plan(500, 500)
    automatic = restorer.with_options(tile="auto", halo=32)
    assert len(automatic.plan(500, 500)) == 1
    needed = automatic.program_bytes(500 // 8 * 8 + 8, 504)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed / 3 / memory.SHARE)
    tiles = automatic.plan(500, 500)
    assert 136 <= tiles.tile[0] < 300
    assert tiles.halo == 32


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tlc": False, "halo": 8}, "halo goes with tlc"),
        ({"tile": 64, "halo": 8, "overlap": 8}, "halo goes with tlc, .* without overlap"),
        ({"halo": "most"}, "halo must be full or a number of pixels, got 'most'"),
        ({"shapes": ((20, 16),)}, "shapes must be multiples of 8"),
        ({"devices": (0, 9)}, r"devices must be in 0\.\.3, got \(0, 9\)"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(restorer, changed, message):
    with pytest.raises(UserError, match=message):
        restorer.with_options(**changed)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(("size", "tile"), [((512, 768), 576), ((701, 509), 640)])
def test_exact_tiles_of_the_denoiser_that_ships_equal_the_whole_photo(size, tile):
    """Its full halo is 3,552 pixels; 160 come near enough."""
    restorer = Restorer.from_pretrained("denoising", tlc=True, tile="whole")
    photo = images.read(min((SAMPLES / "denoising" / "input").glob("*.png")))
    mirrored = np.pad(photo, [(0, size[0]), (0, size[1]), (0, 0)], mode="symmetric")[: size[0], : size[1]]
    image = images.to_float(mirrored)
    changed = {"tile": tile, "halo": 160}
    assert len(restorer.with_options(**changed).plan(*size)) > 1
    assert difference(restorer, image, **changed) < 1e-4
