"""What the page says about a photo."""

import numpy as np

from mprnet_jax import images
from mprnet_jax.web import photos


def test_what_the_result_cannot_keep_is_said_before_the_work():
    pixels = np.zeros((4, 6, 3), np.uint8)
    about = photos.facts(images.Picture(pixels, None, "rgb", "JPEG", lost=("the video of a motion photo",)))
    assert about == "6 x 4 pixels; JPEG, 8 bits a channel; the result will be without the video of a motion photo"
