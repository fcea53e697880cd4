"""Pictures for browsers: copies that look as the picture does in a viewer, and error maps."""

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image, ImageCms

from mprnet_jax import images
from mprnet_jax.images.formats.codec import Picture
from mprnet_jax.reports import pictures

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def shown(tmp_path, picture, **options):
    size = pictures.write_browser_jpeg(tmp_path / "a.jpg", picture, **options)
    with Image.open(tmp_path / "a.jpg") as copy:
        copy.load()
        assert copy.size == size
        assert copy.mode == "RGB"
        return copy


@pytest.fixture
def opened(tmp_path, photo):
    def make(name, pixels, **options) -> Picture:
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return images.open_picture(tmp_path / name)

    return make


def test_transparency_is_seen_on_white(tmp_path, opened):
    rgba = np.zeros((8, 8, 4), np.uint8)  # black, half transparent
    rgba[..., 3] = 128
    np.testing.assert_allclose(np.asarray(shown(tmp_path, opened("a.png", rgba))), 127, atol=1)


def test_depth_is_rounded_and_bytes_stay_as_they_are(tmp_path, opened):
    deep = np.full((8, 8), 40000, np.uint16)
    np.testing.assert_allclose(np.asarray(shown(tmp_path, opened("a.png", deep))), 40000 / 65535 * 255, atol=1)
    flat = np.full((8, 8, 3), (10, 200, 90), np.uint8)
    np.testing.assert_allclose(np.asarray(shown(tmp_path, opened("b.png", flat))), flat, atol=2)


def test_the_profile_is_kept_where_it_is_of_the_pixels_and_left_where_it_is_of_others(tmp_path, opened):
    rgb, grey = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    assert shown(tmp_path, opened("a.png", rgb, icc_profile=SRGB)).info["icc_profile"] == SRGB
    assert "icc_profile" not in shown(tmp_path, opened("b.png", grey, icc_profile=SRGB)).info
    of_grey = SRGB[:16] + b"GRAY" + SRGB[20:]
    assert "icc_profile" not in shown(tmp_path, opened("c.png", rgb, icc_profile=of_grey)).info


def test_large_copies_are_scaled_to_the_longest_side(tmp_path, opened):
    assert shown(tmp_path, opened("a.png", np.zeros((60, 200, 3), np.uint8)), longest=50).size == (50, 15)


def test_a_copy_that_cannot_be_written_leaves_what_was_there(tmp_path, opened, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"before")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        pictures.write_browser_jpeg(tmp_path / "a.jpg", opened("a.png", np.zeros((8, 8, 3), np.uint8)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png"]
    assert (tmp_path / "a.jpg").read_bytes() == b"before"


def test_error_map_is_black_without_and_yellow_with_error(photo):
    np.testing.assert_array_equal(pictures.error_map(photo, photo, 0.1), np.zeros_like(photo) + np.uint8([0, 0, 4]))
    other = np.where(photo < 128, photo + 64, photo - 64).astype(np.uint8)
    np.testing.assert_array_equal(pictures.error_map(other, photo, 0.1)[0, 0], [252, 255, 164])


def test_large_pictures_are_reduced(monkeypatch):
    monkeypatch.setattr(pictures, "LONGEST_SIDE", 50)
    data = pictures.data_uri(np.zeros((60, 120, 3), np.uint8)).split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 20)
