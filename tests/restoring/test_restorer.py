"""Restorer: any size, each kind of input, clear refusals."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.model import MPRNet, init_params
from mprnet_jax.restoring import Restorer, tile_planner
from mprnet_jax.restoring.engines import executables
from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError


@pytest.fixture(scope="module")
def restorer():
    from tests.helpers.tiny import TINY

    return Restorer(TINY, init_params(TINY, seed=0)).with_options(engine="xla")


def test_a_picture_whose_size_fits_is_restored_as_the_network_alone_would(restorer, photo):
    pixels = photo[:32, :40].astype(np.float32) / 255
    alone = jax.jit(MPRNet(restorer.config).apply)({"params": restorer.params}, pixels[None])[0]
    np.testing.assert_allclose(restorer(pixels), np.clip(alone[0], 0, 1), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 40), (31, 39)])
def test_any_size_comes_back_in_its_size_and_kind(restorer, photo, size):
    small = photo[: size[0], : size[1]]
    restored = restorer(small)
    assert (restored.shape, restored.dtype) == (small.shape, np.uint8)
    as_float = restorer(small.astype(np.float64) / 255)
    assert (as_float.shape, as_float.dtype) == (small.shape, np.float32)
    assert 0 <= as_float.min() <= as_float.max() <= 1
    np.testing.assert_array_equal(restored, np.rint(as_float * 255))
    deep = restorer(small.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep, np.rint(as_float * 65535))


def test_a_path_and_a_pil_image_give_what_their_pixels_give(restorer, photo, tmp_path):
    pixels = photo[:32, :40]
    images.write(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(restorer(tmp_path / "a.png"), restorer(pixels))
    restored = restorer(Image.fromarray(pixels))
    assert isinstance(restored, Image.Image)
    np.testing.assert_array_equal(np.asarray(restored), restorer(pixels))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"height x width x 3 \(RGB\); got shape \(8, 8\)"),
        (np.zeros((8, 0, 3), np.uint8), r"got shape \(8, 0, 3\)"),
        (np.zeros((8, 8, 3), np.int32), "must be uint8, uint16, or float in .*; got int32"),
        (np.full((8, 8, 3), np.nan), "not finite"),
        (np.full((8, 8, 3), 200.0), r"must be in about \[0, 1\]; this one has values up to 200, divide it"),
        ([[1, 2]], "must be an array, a PIL image or a path; got list"),
        ("nowhere.png", "nowhere.png: no such file"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(restorer, image, message):
    with pytest.raises(UserError, match=message):
        restorer(image)


def test_bfloat16_stays_near_float32(restorer, photo):
    pixels = photo[:32, :40].astype(np.float32) / 255
    error = options(restorer, dtype="bfloat16")(pixels) - restorer(pixels)
    assert -10 * np.log10(np.mean(error**2)) > 45  # dB


def test_a_bundle_is_restored_from_by_its_path(restorer, photo, tmp_path):
    save_bundle(tmp_path / "bundle", Bundle(restorer.config, restorer.params, {"licence": "none"}))
    loaded = Restorer.from_pretrained(tmp_path / "bundle")
    assert loaded.provenance == {"licence": "none"}
    np.testing.assert_array_equal(loaded(photo[:32, :40]), restorer(photo[:32, :40]))


def test_an_unknown_name_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"denoisng: neither a task \(deblurring, denoising, deraining\) nor"):
        Restorer.from_pretrained("denoisng")


def options(restorer, **changed):
    return restorer.with_options(**changed)


def test_tiles_of_the_whole_images_size_are_the_whole_image(restorer, photo):
    picture = photo[:48, :64]
    np.testing.assert_array_equal(options(restorer, tile=64)(picture), options(restorer, tile="whole")(picture))


def test_tiles_come_near_the_whole_image_and_use_one_program(restorer, photo):
    pixels = photo.astype(np.float32) / 255  # 96 x 128
    executables.compile_restoring.cache_clear()
    tiled = options(restorer, tile=64, overlap=32)(pixels)
    assert executables.compile_restoring.cache_info().misses == 1
    error = tiled - options(restorer, tile="whole")(pixels)
    # dB; the channel attention sees other means, and a network with random weights makes much of them
    assert -10 * np.log10(np.mean(error**2)) > 25


def test_auto_takes_the_whole_image_where_it_fits_and_tiles_that_fit_where_not(restorer, monkeypatch):
    assert len(restorer.plan(256, 320)) == 1
    needed = restorer.program_bytes(256, 320)
    monkeypatch.setattr(memory, "available_bytes", lambda: int(needed / 2 / memory.SHARE))
    tiles = restorer.plan(256, 320)
    assert len(tiles) > 1
    assert 0.2 < math.prod(tiles.tile) / (256 * 320) <= 0.5
    assert tiles.overlap == math.isqrt(math.prod(tiles.tile)) // 8


def test_tiles_that_are_longer_than_wide_are_turned_with_the_picture(restorer, photo, monkeypatch):
    monkeypatch.setattr(tile_planner.TilePlanner, "_auto_tile", lambda planner, *size_and_halo: (48, 80))
    pixels = photo.astype(np.float32) / 255  # 96 x 128
    ensemble = options(restorer, self_ensemble=True)
    assert len(ensemble.plan(*pixels.shape[:2])) > 1
    error = ensemble(pixels) - options(ensemble, tile="whole")(pixels)
    assert -10 * np.log10(np.mean(error**2)) > 25


@pytest.mark.parametrize("size", [(3000, 4000), (4000, 6000), (1080, 1920), (1024, 2048), (8165, 12248), (400, 9000)])
@pytest.mark.parametrize("free", [10**8, 10**9, 10**10])
def test_tiles_of_auto_overlap_little_and_are_no_strips(restorer, monkeypatch, size, free):
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    monkeypatch.setattr(tile_planner.TilePlanner, "_bytes_per_pixel", lambda planner, exact: 500)
    plan = restorer.plan(*size)
    computed = lambda tiles: len(tiles) * math.prod(tiles.tile)
    pixels = max(min(0.6 * free / 500, 1024**2), min(0.24 * free / 500, 2048**2))
    assert math.prod(plan.tile) <= pixels
    assert computed(plan) <= 1.4 * size[0] * size[1]
    if len(plan) > 1:
        squares = range(256, min(int(pixels**0.5), *size) // 8 * 8 + 1, 64)
        assert computed(plan) <= 1.1 * min(computed(options(restorer, tile=side).plan(*size)) for side in squares)
    assert max(plan.tile) <= 2 * min(plan.tile) or min(plan.tile) >= min(size)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU's memory is its own")
def test_auto_takes_tiles_where_the_whole_image_would_take_much_of_the_machine(restorer, monkeypatch):
    monkeypatch.setattr(tile_planner, "COMPILED_AT_ONCE", 0)
    needed = restorer.program_bytes(256, 256) * 32
    monkeypatch.setattr(memory, "available_bytes", lambda: int(4.2 * needed))
    assert len(restorer.plan(1024, 2048)) == 1
    monkeypatch.setattr(memory, "available_bytes", lambda: int(3.8 * needed))
    tiles = restorer.plan(1024, 2048)
    assert (tiles.tile, len(tiles), tiles.overlap) == ((1024, 1088), 2, 128)
    assert len(restorer.plan(1024, 1024)) == 1  # no larger than a tile
    assert len(options(restorer, tile="whole").plan(1024, 2048)) == 1
    # Shared by two devices, a picture is never whole on one of them; each with its own picture has half of the memory.
    monkeypatch.setattr(memory, "available_bytes", lambda: 20 * needed)
    both = options(restorer, devices=2)
    assert len(both.plan(1024, 2048)) > 1
    assert len(both.plan(512, 512)) == 1  # no larger than a tile
    assert [each.options.memory_share for each in both.on_each_device()] == [memory.SHARE / 2] * 2


def test_local_means_need_the_training_patch_and_change_the_result(restorer, photo):
    with pytest.raises(UserError, match="does not say which patches it was trained on; tlc needs patch_size"):
        options(restorer, tlc=True)
    picture = photo[:32, :40].astype(np.float32) / 255
    named = dataclasses.replace(restorer, provenance={"patch_size": 16})
    local = options(named, tlc=True)
    assert local.window == 24
    np.testing.assert_array_equal(local(picture), options(restorer, tlc=True, patch_size=16)(picture))
    assert np.abs(local(picture) - named(picture)).max() > 1e-6


def test_fewer_stages_give_the_earlier_stages_image(restorer, photo):
    pixels = photo[:32, :40].astype(np.float32) / 255
    outputs = jax.jit(MPRNet(restorer.config).apply)({"params": restorer.params}, pixels[None])
    for stages, output in ((1, outputs[2]), (2, outputs[1])):
        restored = options(restorer, stages=stages)(pixels)
        np.testing.assert_allclose(restored, np.clip(output[0], 0, 1), atol=1e-5)


def test_self_ensemble_commutes_with_flips_and_rotations(restorer, photo):
    ensemble = options(restorer, self_ensemble=True)
    pixels = photo[:32, :40].astype(np.float32) / 255
    restored = ensemble(pixels)
    for turn in (lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: np.rot90(x), lambda x: x.swapaxes(0, 1)):
        np.testing.assert_allclose(ensemble(np.ascontiguousarray(turn(pixels))), turn(restored), atol=1e-5)
    assert np.abs(restored - restorer(pixels)).max() > 1e-6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": "float64"}, "dtype must be auto, float32 or bfloat16, got 'float64'"),
        ({"patch_size": 0}, "patch_size must be a positive number of pixels, got 0"),
        ({"stages": 4}, "stages must be 1, 2 or 3, got 4"),
        ({"tile": 60}, "tile must be a multiple of 8 of at least 16 pixels, got 60"),
        ({"tile": "big"}, "tile must be auto, whole or a number of pixels, got 'big'"),
        ({"tile": 64, "overlap": 40}, "overlap must be in 0..32, half of the tile; got 40"),
        ({"overlap": 8}, "overlap goes with a tile of your own"),
    ],
)
def test_options_that_cannot_be_are_refused(restorer, changed, message):
    with pytest.raises(UserError, match=message):
        options(restorer, **changed)


# --- orientations ---


def test_self_ensemble_uses_those_orientations_alone_under_which_the_task_is_the_same(restorer, photo):
    """Against the network alone, on the image and its mirror image."""
    mirrored = dataclasses.replace(restorer, provenance={"orientations": ["rot0", "rot0_flip"]})
    pixels = photo[:32, :40].astype(np.float32) / 255
    calls = []
    restored = options(mirrored, self_ensemble=True)(pixels, lambda *call: calls.append(call))
    both = jax.jit(MPRNet(restorer.config).apply)({"params": restorer.params}, np.stack([pixels, pixels[:, ::-1]]))[0]
    np.testing.assert_allclose(restored, np.clip((both[0] + both[1][:, ::-1]) / 2, 0, 1), atol=1e-5)
    assert calls == [(1, 2), (2, 2)]
    by_word = dataclasses.replace(restorer, provenance={"orientations": "mirror"})
    np.testing.assert_array_equal(options(by_word, self_ensemble=True)(pixels), restored)


@pytest.mark.parametrize("names", ["sideways", ["rot45"], [], 7, [["rot0"]]], ids=str)
def test_orientations_that_there_are_not_are_refused(restorer, names):
    with pytest.raises(UserError, match="orientations must be all, mirror, none, or a list of rot0, rot0_flip, rot90"):
        dataclasses.replace(restorer, provenance={"orientations": names})


def test_rain_falls_down_and_noise_and_blur_are_the_same_in_all_orientations():
    found = {task: len(Restorer.from_pretrained(task).orientations) for task in PRETRAINED}
    assert found == {"denoising": 8, "deblurring": 8, "deraining": 2}


# --- values of the Python world ---


def test_arrays_of_jax_are_taken_whatever_their_floating_type(restorer, photo):
    pixels = photo[:32, :40]
    np.testing.assert_array_equal(restorer(jnp.asarray(pixels)), restorer(pixels))
    rounded = jnp.asarray(pixels / 255.0, jnp.bfloat16)
    np.testing.assert_array_equal(restorer(rounded), restorer(np.asarray(rounded, np.float32)))


def test_tensors_of_torch_are_taken_or_told_how(restorer, photo):
    torch = pytest.importorskip("torch")
    pixels = photo[:32, :40]
    tensor = torch.from_numpy(pixels.copy())
    np.testing.assert_array_equal(restorer(tensor), restorer(pixels))
    with pytest.raises(UserError, match=r"tensor\.detach\(\)\.float\(\)\.cpu\(\)\.numpy\(\)"):
        restorer((tensor / 255).requires_grad_())
    with pytest.raises(UserError, match=r"got shape \(3, 32, 40\); move the channels to the end: transpose\(1, 2, 0\)"):
        restorer(tensor.permute(2, 0, 1))


def test_a_list_gives_a_list(restorer, photo):
    pixels = photo[:32, :40]
    first, second = restorer([pixels, Image.fromarray(pixels)])
    np.testing.assert_array_equal(first, restorer(pixels))
    assert isinstance(second, Image.Image)
    with pytest.raises(UserError, match=r"got shape \(2, 32, 40, 3\); for several images give a list of them"):
        restorer(np.stack([pixels, pixels]))


def test_restorers_are_compared_and_hashed_and_say_that_they_cannot_be_jitted(restorer, photo):
    again = options(restorer, stages=3)
    assert restorer == restorer
    assert restorer != again
    assert len({restorer, again}) == 2
    with pytest.raises(UserError, match=r"cannot be used inside jax.jit.*MPRNet\(restorer.config\).apply"):
        jax.jit(restorer)(photo[:32, :40])


def test_floats_beyond_0_and_1_give_what_a_file_of_them_would(restorer, photo):
    rng = np.random.default_rng(0)
    noisy = photo[:32, :40] / 255 + rng.normal(0, 0.3, (32, 40, 3))
    assert noisy.min() < -0.1
    assert noisy.max() > 1.1
    np.testing.assert_array_equal(restorer(noisy), restorer(np.minimum(np.maximum(noisy, 0), 1)))


def test_a_home_folder_and_an_address_are_understood(restorer, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    images.write(tmp_path / "a.png", photo[:32, :40])
    np.testing.assert_array_equal(restorer("~/a.png"), restorer(photo[:32, :40]))
    with pytest.raises(UserError, match="^https://example.org/a.png: an address, not a file; download it"):
        restorer("https://example.org/a.png")
