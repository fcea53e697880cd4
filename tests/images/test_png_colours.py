"""Colours that a PNG describes without a profile, written to formats that have no other way to say it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

LEVELS = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2)


def as_srgb(path):
    with Image.open(path) as image:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))).astype(int)


def srgb_of_linear(linear):
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
@pytest.mark.parametrize(
    "chunk", [(b"gAMA", struct.pack(">I", 100_000)), (b"cICP", bytes([1, 8, 0, 1]))], ids=["gAMA", "cICP"]
)
def test_linear_light_looks_the_same_in_other_formats(tmp_path, suffix, chunk):
    (tmp_path / "a.png").write_bytes(make.png_file(LEVELS, chunk))
    picture = images.open_picture(tmp_path / "a.png")
    images.save_picture(tmp_path / f"b{suffix}", picture.pixels, picture)
    np.testing.assert_allclose(as_srgb(tmp_path / f"b{suffix}"), srgb_of_linear(LEVELS / 255), atol=2)


def test_wide_primaries_stay_wide(tmp_path):
    red = np.array([[[255, 0, 0]]], np.uint8)
    (tmp_path / "a.png").write_bytes(make.png_file(red // 2 + 60, (b"cICP", bytes([12, 13, 0, 1]))))
    picture = images.open_picture(tmp_path / "a.png")
    images.save_picture(tmp_path / "b.tif", picture.pixels, picture)
    linear = ((picture.pixels[0, 0] / 255 + 0.055) / 1.055) ** 2.4
    # Display P3 to sRGB, linear, from the chromaticities of both (published to 4 digits).
    matrix = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    np.testing.assert_allclose(as_srgb(tmp_path / "b.tif")[0, 0], srgb_of_linear((matrix @ linear).clip(0, 1)), atol=2)


def test_plain_srgb_gets_no_profile_and_hdr_is_refused_before_the_work(tmp_path):
    (tmp_path / "a.png").write_bytes(make.png_file(LEVELS, (b"gAMA", struct.pack(">I", 45455))))
    picture = images.open_picture(tmp_path / "a.png")
    images.save_picture(tmp_path / "b.webp", picture.pixels, picture)
    with Image.open(tmp_path / "b.webp") as image:
        assert "icc_profile" not in image.info
    (tmp_path / "a.png").write_bytes(make.png_file(LEVELS, (b"cICP", bytes([9, 16, 0, 1]))))
    with pytest.raises(UserError, match="HDR \\(PQ\\), which only PNG holds"):
        images.check_savable(tmp_path / "b.jpg", images.open_picture(tmp_path / "a.png"))
    images.check_savable(tmp_path / "b.png", images.open_picture(tmp_path / "a.png"))
