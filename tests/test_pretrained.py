"""The weights that ship: each loads, is small, and does on bundled pairs what its card says."""

import json

import numpy as np
import pytest

from mprnet_jax import images, metrics
from mprnet_jax.checkpoint import load_bundle
from mprnet_jax.infer import SAMPLES
from mprnet_jax.pretrained import PRETRAINED
from mprnet_jax.restore import Restorer

# pair: (left, top) of a part of 128 x 128 pixels, and the least gain in PSNR
DENOISING = {"koala_sigma25": ((150, 80), 7.0), "bridge_sigma50": ((100, 120), 9.0), "phone1": ((150, 80), 7.0)}


@pytest.fixture(scope="module")
def denoiser():
    return Restorer.from_pretrained("denoising")


def part(name, side, left, top):
    return images.read(SAMPLES / "denoising" / side / f"{name}.png")[top : top + 128, left : left + 128]


@pytest.mark.parametrize("name", DENOISING)
def test_the_denoiser_gains_what_it_should_on_photos_that_training_never_saw(denoiser, name):
    place, least_gain = DENOISING[name]
    noisy, truth = part(name, "input", *place), part(name, "target", *place)
    assert metrics.psnr(denoiser(noisy), truth) - metrics.psnr(noisy, truth) > least_gain


def test_a_clean_photo_stays_nearly_as_it_is(denoiser):
    clean = part("coffee_clean", "target", 128, 80)
    restored = denoiser(clean)
    assert metrics.psnr(restored, clean) > 36
    assert np.abs(restored.mean((0, 1)) - clean.mean((0, 1))).max() < 1  # no colour shift, in steps of 1/255


@pytest.mark.parametrize("task", PRETRAINED)
def test_shipped_weights_are_small_and_say_where_they_come_from(task):
    files = [path for path in PRETRAINED[task].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    provenance = load_bundle(PRETRAINED[task]).provenance
    assert provenance["command"].startswith("python -m mprnet_jax.train --config configs/")
    assert provenance["patch_size"] % 8 == 0
    assert "/" not in json.dumps(provenance["config"]["photos"])  # no path of the machine it was trained on
