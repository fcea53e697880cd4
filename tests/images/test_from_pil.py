"""PIL images given in Python: whatever they are or carry beside RGB pixels."""

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

GREY = make.noise(0, 6, 9)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.fromarray(GREY.astype(np.int32) * 257),
        Image.fromarray(GREY.astype(np.float32) / 255),
    ],
    ids=["I;16", "I", "F"],
)
def test_deep_modes_keep_their_values(image):
    picture = images.from_pil(image)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, np.repeat(GREY[..., None].astype(int) * 257, 3, axis=2))
    np.testing.assert_array_equal(images.to_pil(picture.pixels, picture), GREY.astype(int) * 257)  # 16 bits again


def test_values_of_no_known_range_are_refused():
    for image in (Image.fromarray(GREY.astype(np.float32)), Image.fromarray(GREY.astype(np.int32) - 1000)):
        with pytest.raises(UserError, match="scale them first"):
            images.from_pil(image)
    with pytest.raises(UserError, match="mode LAB cannot be read"):
        images.from_pil(Image.new("LAB", (2, 2)))


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "RGBa", "La"])
def test_alpha_goes_both_ways(mode):
    array = make.noise(1, 6, 9, 4)
    array[:3, :, 3], array[3:, :, 3] = 0, 255
    image = Image.fromarray(array)
    image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    picture = images.from_pil(image)
    np.testing.assert_array_equal(picture.alpha, array[..., 3])
    back = images.to_pil(picture.pixels, picture)
    assert back.mode == ("LA" if mode in ("LA", "La") else "RGBA")
    np.testing.assert_array_equal(np.asarray(back)[..., -1], array[..., 3])


def test_an_opened_photo_comes_back_upright_with_its_notes(tmp_path):
    stored, profile = make.noise(2, 16, 32, 3), make.rgb_profile()
    Image.fromarray(stored).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0" + make.exif_block(6), icc_profile=profile, xmp=make.XMP % 6, dpi=make.DPI
    )
    with Image.open(tmp_path / "a.jpg") as image:
        picture = images.from_pil(image)
    np.testing.assert_array_equal(picture.pixels, images.read(tmp_path / "a.jpg"))
    back = images.to_pil(picture.pixels, picture)
    assert back.size == (16, 32)
    assert back.getexif()[274] == 1
    assert back.getexif()[271] == "Camera Co"
    assert (back.info["icc_profile"], back.info["xmp"]) == (profile, make.XMP % 1)
    back.save(tmp_path / "b.jpg", exif=back.info["exif"])
    assert make.exif_facts(tmp_path / "b.jpg")[-1] == 1


def test_an_image_whose_file_is_cut_off_is_refused(tmp_path):
    Image.fromarray(make.noise(3, 64, 64, 3)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(UserError, match="not a whole picture"):
        images.from_pil(image)
