"""The weights that ship: each loads, is small, and does on bundled pairs what its card says."""

import json

import numpy as np
import pytest

from mprnet_jax import images, metrics
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.checkpoints.pretrained import MODELS, PRETRAINED, SAMPLES, TASKS, bundle_path, list_models
from mprnet_jax.restoring import Restorer

LARGEST = 3e6  # bytes of a bundle in the repository
# task, pair, (left, top) of a part of 128 x 128 pixels, and the least gain in PSNR
GAINS = (
    ("denoising", "koala_sigma25", (150, 80), 7.0),
    ("denoising", "bridge_sigma50", (100, 120), 9.0),
    ("denoising", "phone1", (150, 80), 7.0),
    ("deraining", "koala_rain", (150, 80), 5.0),
    ("deraining", "bridge_downpour", (100, 120), 5.0),
    ("deblurring", "koala_shake9", (150, 80), 1.0),
    ("deblurring", "bridge_shake14", (100, 120), 0.6),
)
LEAST_CLEAN = {"denoising": 36, "deraining": 36, "deblurring": 42}  # PSNR in dB of a clean part


@pytest.fixture(scope="module")
def restorers():
    return {task: Restorer.from_pretrained(task) for task in PRETRAINED}


def part(task, name, side, left, top):
    return images.read(SAMPLES / task / side / f"{name}.png")[top : top + 128, left : left + 128]


def test_all_three_tasks_have_weights():
    assert set(PRETRAINED) == set(TASKS)


@pytest.mark.parametrize(("task", "name", "place", "least_gain"), GAINS)
def test_the_weights_gain_what_they_should_on_photos_that_training_never_saw(restorers, task, name, place, least_gain):
    degraded, truth = part(task, name, "input", *place), part(task, name, "target", *place)
    assert metrics.psnr(restorers[task](degraded), truth) - metrics.psnr(degraded, truth) > least_gain


@pytest.mark.parametrize("task", PRETRAINED)
def test_a_clean_photo_stays_nearly_as_it_is(restorers, task):
    clean = part("denoising", "coffee_clean", "target", 128, 80)
    restored = restorers[task](clean)
    assert metrics.psnr(restored, clean) > LEAST_CLEAN[task]
    assert np.abs(restored.mean((0, 1)) - clean.mean((0, 1))).max() < 2  # no colour shift, in steps of 1/255


@pytest.mark.parametrize("name", MODELS)
def test_shipped_weights_are_small_and_say_where_they_come_from(name):
    path = bundle_path(name)
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) <= LARGEST
    provenance = load_bundle(path).provenance
    assert provenance["command"].startswith("python -m mprnet_jax.train --config configs/")
    assert provenance["licence"] == "Apache-2.0"
    assert provenance["patch_size"] % 8 == 0
    # No path of the machine it was trained on, nor of the photos.
    assert "/" not in json.dumps([provenance["config"][field] for field in ("data", "held_out", "init_from")])


def test_every_model_is_listed_with_its_task_and_size():
    lines = list_models().splitlines()
    assert len(lines) == 1 + len(MODELS)
    for line, model in zip(lines[1:], MODELS.values(), strict=True):
        assert {model.name, model.task} < set(line.split())
        assert " MB " in line
