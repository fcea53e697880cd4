"""Restorer: any size, each kind of input, clear refusals."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.checkpoint import Bundle, save_bundle
from mprnet_jax.errors import UserError
from mprnet_jax.model import MPRNet, init_params
from mprnet_jax.restore import Restorer


@pytest.fixture(scope="module")
def restorer():
    from conftest import TINY

    return Restorer(TINY, init_params(TINY, seed=0))


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
        ([[1, 2]], "a NumPy array, a PIL image or a path; got list"),
        ("nowhere.png", "nowhere.png: no such file"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(restorer, image, message):
    with pytest.raises(UserError, match=message):
        restorer(image)


def test_bfloat16_stays_near_float32(restorer, photo):
    pixels = photo[:32, :40].astype(np.float32) / 255
    error = dataclasses.replace(restorer, dtype="bfloat16")(pixels) - restorer(pixels)
    assert -10 * np.log10(np.mean(error**2)) > 45  # dB


def test_a_bundle_is_restored_from_by_its_path(restorer, photo, tmp_path):
    save_bundle(tmp_path / "bundle", Bundle(restorer.config, restorer.params, {"licence": "none"}))
    loaded = Restorer.from_pretrained(tmp_path / "bundle")
    assert loaded.provenance == {"licence": "none"}
    np.testing.assert_array_equal(loaded(photo[:32, :40]), restorer(photo[:32, :40]))


def test_a_task_without_weights_and_an_unknown_name_are_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"no weights for deraining ship yet; convert the official ones"):
        Restorer.from_pretrained("deraining")
    with pytest.raises(UserError, match=r"denoisng: neither a task \(deblurring, denoising, deraining\) nor"):
        Restorer.from_pretrained("denoisng")
