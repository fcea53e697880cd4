"""PIL images: whatever they carry beside RGB pixels comes back, and what a file of them gives is what they give."""

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def restorer():
    return Restorer(TINY, init_params(TINY, seed=0), options=RestoreOptions(stages=1))


@pytest.fixture
def picture(photo):
    return Image.fromarray(photo[:16, :24])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_comes_back_as_it_was_seen(picture, mode):
    """Without restoring: pixels as Pillow itself shows them, alpha too."""
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        image = picture.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(np.arange(384, dtype=np.uint8).reshape(16, 24)))
    back = images.to_pil(images.from_pil(image).pixels, images.from_pil(image))
    expected = {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert back.mode == expected
    tolerance = 2 if mode == "CMYK" else 0  # through a profile
    seen = np.asarray(image.convert(expected) if mode != expected else image).astype(int)
    assert np.abs(np.asarray(back).astype(int) - seen).max() <= tolerance


def test_it_is_turned_upright_and_keeps_profile_and_exif(restorer, picture):
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "Maker"
    lying = picture.copy()
    lying.info["exif"], lying.info["icc_profile"] = exif.tobytes(), b"\0" * 128
    lying.getexif()
    restored = restorer(lying)
    np.testing.assert_array_equal(np.asarray(restored), restorer(np.rot90(np.asarray(picture), -1).copy()))
    assert restored.getexif()[0x010F] == "Maker"
    assert restored.getexif().get(ORIENTATION, 1) == 1
    assert restored.info["icc_profile"] == b"\0" * 128


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_modes_without_a_known_range_are_refused_with_the_remedy(restorer, picture, mode):
    image = Image.new("LAB", (4, 4)) if mode == "LAB" else picture.convert("L").convert(mode)
    with pytest.raises(UserError, match=f"the PIL image: .*mode {mode}"):
        restorer(image)
