"""Devices, batches, progress, and nothing left behind."""

import gc
import pickle
import resource
from pathlib import Path

import jax
import numpy as np
import pytest

from mprnet_jax.backends import dispatch
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.restoring.engines import executables
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def restorer():
    options = RestoreOptions(stages=1, tile=32, overlap=8, engine="xla")
    return Restorer(TINY, init_params(TINY, seed=0), {"patch_size": 8}, options)


def picture(height=61, width=75):
    return np.random.default_rng(0).random((height, width, 3), np.float32)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="blend"),
        pytest.param({"tlc": True, "tile": 96, "overlap": None, "halo": 8}, marks=pytest.mark.slow, id="halo"),
    ],
)
def test_tiles_on_several_devices_and_in_batches_equal_those_on_one(restorer, changed):
    one = restorer.with_options(**changed)
    image = picture(150, 110) if changed else picture()
    assert len(one.plan(*image.shape[:2])) > 2
    expected = one(image)
    executables.compile_restoring.cache_clear()
    devices = (2, 3) if changed else (0, 1, 2, 3)
    np.testing.assert_array_equal(one.with_options(devices=devices)(image), expected)
    assert executables.compile_restoring.cache_info().misses == len(devices)
    np.testing.assert_allclose(one.with_options(batch=3)(image), expected, atol=2e-6)


def test_each_device_restores_images_of_its_own(restorer):
    image = picture(32, 40)
    expected = restorer(image)
    several = restorer.with_options(devices=(1, 3)).on_each_device()
    assert [each.devices for each in several] == [(1,), (3,)]
    for each in several:
        np.testing.assert_array_equal(each(image), expected)
        assert {device.id for device in jax.tree.leaves(each._engine._placed)[0].devices()} == {each.devices[0]}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")
def test_the_form_for_onednn_is_taken_for_many_pixels_and_gives_the_same(restorer, monkeypatch):
    """Where jaxlib has no oneDNN, the same form is compiled to XLA's own convolutions."""
    asked, image = [], picture()
    monkeypatch.setattr(dispatch, "prefers_onednn", lambda dtype, pixels: asked.append(pixels))
    expected = restorer(image)
    monkeypatch.setattr(dispatch, "prefers_onednn", lambda dtype, pixels: True)
    network = restorer._network_for(1)
    assert network.onednn
    np.testing.assert_allclose(restorer(image), expected, atol=1e-5)
    program = executables.compile_restoring(executables.ProgramKey(network, 32, 32))
    assert (dispatch.ONEDNN_CALL in program.as_text()) == dispatch.has_onednn_convolutions("float32")
    # What is counted: every pixel of every tile, for as many images as the program is to restore.
    assert asked == [len(restorer.plan(61, 75)) * 32 * 32]
    assert restorer.for_sizes([(61, 75)] * 9 + [(20, 20)]).options.uses == 5


@pytest.mark.parametrize(("ensemble", "times"), [(False, 1), (True, 8)])
def test_progress_is_told_after_every_tile(restorer, ensemble, times):
    calls = []
    restorer.with_options(self_ensemble=ensemble)(picture(), lambda *call: calls.append(call))
    total = len(restorer.plan(61, 75)) * times
    assert calls == [(i, total) for i in range(1, total + 1)]
    whole = []
    restorer(picture(16, 16), lambda *call: whole.append(call))
    assert whole == [(1, 1)]


def test_what_progress_raises_stops_the_image_and_not_the_restorer(restorer):
    def stop(done, total):
        raise KeyboardInterrupt

    expected = restorer(picture())
    with pytest.raises(KeyboardInterrupt):
        restorer(picture(), stop)
    np.testing.assert_array_equal(restorer(picture()), expected)


def test_a_used_restorer_is_pickled_without_what_it_holds_on_devices(restorer):
    fresh = len(pickle.dumps(restorer.with_options()))
    restorer(picture(16, 16))
    assert len(pickle.dumps(restorer)) == fresh
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(restorer))(picture()), restorer(picture()))


def test_nothing_is_left_on_the_devices_or_in_memory_after_200_images(restorer):
    image = (picture() * 255).astype(np.uint8)
    resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    for _ in range(20):  # allocators settle
        restorer(image)
    gc.collect()
    arrays, before = len(jax.live_arrays()), resident()
    for _ in range(200):
        restorer(image)
    gc.collect()
    assert len(jax.live_arrays()) == arrays
    # One image kept, as float32 and of each tile, would make 200 x 55 KB at least.
    assert resident() - before < 8e6
