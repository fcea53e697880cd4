"""The table of published numbers, and the scores of each protocol."""

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.evaluation import protocols
from mprnet_jax.support.errors import UserError

# As the paper prints them, typed in a second time.
PUBLISHED = {
    "gopro": (1111, 32.66, 0.959),
    "hide": (2025, 30.96, 0.939),
    "realblur_r": (980, 35.99, 0.952),
    "realblur_j": (980, 28.70, 0.873),
    "sidd": (1280, 39.71, 0.958),
    "dnd": (1000, 39.80, 0.954),
    "test100": (100, 30.27, 0.897),
    "rain100h": (100, 30.41, 0.890),
    "rain100l": (100, 36.40, 0.965),
    "test2800": (2800, 33.64, 0.938),
    "test1200": (1200, 32.91, 0.916),
}


def test_published_numbers_and_counts():
    found = {name: (p.pairs, *p.published) for name, p in protocols.PROTOCOLS.items() if p.published}
    assert found == PUBLISHED
    derain = [p for p in protocols.PROTOCOLS.values() if p.task == "deraining"]
    means = np.mean([p.published for p in derain], axis=0)
    np.testing.assert_allclose(means[0], protocols.DERAINING_MEAN[0], atol=0.006)
    np.testing.assert_allclose(means[1], protocols.DERAINING_MEAN[1], atol=0.0006)


@pytest.mark.parametrize(
    "name", [name for name in protocols.PROTOCOLS if name not in ("dnd", "realblur_j", "realblur_r")]
)
def test_scores_have_the_named_columns_and_input_psnr_is_the_first(name, photo):
    protocol = protocols.PROTOCOLS[name]
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 9, photo.shape), 0, 255).astype(np.uint8)
    pair = [images.to_float(image) if protocol.unrounded else image for image in (noisy, photo)]
    scores = protocol.score(*pair)
    assert tuple(scores) == protocol.columns
    assert scores[protocol.columns[0]] == protocol.input_psnr(*pair)
    assert set(scores) <= set(protocols.LABELS)


def test_unknown_protocol_lists_the_choices():
    with pytest.raises(UserError, match=r"unknown protocol 'goprp'; choose from gopro, hide"):
        protocols.named("goprp")
