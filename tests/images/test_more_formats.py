"""AVIF, HEIC, single GIFs, and endings of formats that are known by other names."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

PHOTO = np.kron(make.noise(0, 4, 6, 4) // 2 + 60, np.ones((8, 8, 1), np.uint8))


def test_avif_goes_both_ways_with_alpha_and_notes(tmp_path):
    profile = make.rgb_profile()
    exif = b"Exif\0\0" + make.exif_block()
    Image.fromarray(PHOTO).save(tmp_path / "a.avif", quality=95, exif=exif, icc_profile=profile, xmp=make.XMP % 1)
    picture = images.open_picture(tmp_path / "a.avif")
    images.save_picture(tmp_path / "b.avif", picture.pixels, picture)
    for path in (tmp_path / "a.avif", tmp_path / "b.avif"):
        decoded = imagecodecs.avif_decode(path.read_bytes()).astype(int)
        assert np.abs(decoded - PHOTO).mean() < 8
        with Image.open(path) as image:
            assert image.info["icc_profile"] == profile
            assert image.info["xmp"] == make.XMP % 1
    assert make.exif_facts(tmp_path / "b.avif") == make.exif_facts(tmp_path / "a.avif")
    assert np.abs(picture.pixels.astype(int) - PHOTO[..., :3]).mean() < 8


@pytest.mark.parametrize("bits", [10, 12])
def test_a_deep_avif_keeps_its_depth(tmp_path, bits):
    stored = make.noise(1, 16, 24, 3, dtype=np.uint16) >> (16 - bits)
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits, pixelformat="444", speed=9)
    (tmp_path / "a.avif").write_bytes(data)
    picture = images.open_picture(tmp_path / "a.avif")
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, np.rint(stored * (65535 / (2**bits - 1))))


def test_heic_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(PHOTO[..., :3])).save(tmp_path / "a.heic", quality=90)
    assert np.abs(images.read(tmp_path / "a.heic").astype(int) - PHOTO[..., :3]).mean() < 12


def test_single_gif_is_read_and_its_result_is_png(tmp_path):
    Image.fromarray(PHOTO[..., 0]).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(images.read(tmp_path / "a.gif")[..., 0], PHOTO[..., 0])
    assert images.find(tmp_path) == [tmp_path / "a.gif"]
    assert images.result_suffix(".gif") == ".png"
    with pytest.raises(UserError, match="unknown picture format"):
        images.write(tmp_path / "b.gif", PHOTO[..., :3])


def test_other_endings_of_jpeg_and_pnm_are_written_as_what_they_name(tmp_path):
    for suffix, name in ((".jfif", "JPEG"), (".jpe", "JPEG"), (".pgm", "PPM"), (".pnm", "PPM")):
        images.write(tmp_path / f"a{suffix}", PHOTO[..., :3])
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert image.format == name
