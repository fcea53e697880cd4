"""What a bundle says of its parameters: typed, and nothing that it says is lost."""

import dataclasses
import json

import pytest

from mprnet_jax.checkpoints.pretrained import MODELS
from mprnet_jax.checkpoints.provenance import Provenance


def test_fields_that_are_not_known_are_kept():
    said = {"licence": "MIT", "validation_psnr": 31.5, "from a later version": {"a": [1, 2]}}
    provenance = Provenance.from_json(said)
    assert provenance.licence == "MIT"
    assert provenance["validation_psnr"] == 31.5
    assert json.loads(json.dumps(provenance.to_json())) == said
    assert provenance == said
    assert provenance != {**said, "licence": "GPL"}


def test_what_is_none_is_not_said():
    assert Provenance.from_json({"task": None, "licence": None}) == {}
    assert "task" not in Provenance()
    assert Provenance().get("patch_size") is None
    assert dict(Provenance(patch_size=128)) == {"patch_size": 128}


ALL = ("rot0", "rot0_flip", "rot90", "rot90_flip", "rot180", "rot180_flip", "rot270", "rot270_flip")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ALL),
        ({"task": "denoising"}, ALL),
        ({"task": "deraining"}, ALL[:2]),
        ({"official": "deraining"}, ALL[:2]),
        ({"task": "deraining", "orientations": "all"}, ALL),
        ({"orientations": "mirror"}, ALL[:2]),
        ({"orientations": "none"}, ALL[:1]),
        ({"orientations": ["rot0", "rot180_flip"]}, ("rot0", "rot180_flip")),
    ],
)
def test_orientations_are_what_is_said_or_the_tasks(said, expected):
    provenance = Provenance.from_json(said)
    assert provenance.unchanged_under == expected
    assert provenance.get("orientations") == (list(expected) if "orientations" in said else None)


@pytest.mark.parametrize("wrong", ["turns", "", [], [8], [-1], ["rot45"], [0, 0], [True], 3, {"rot0": 1}, [None]])
def test_orientations_that_there_are_not_are_refused(wrong):
    with pytest.raises(ValueError, match="orientations must be all, mirror, none, or a list of rot0, "):
        Provenance.from_json({"orientations": wrong})


def test_a_field_cannot_hide_among_the_others():
    with pytest.raises(ValueError, match="licence is a field of its own"):
        Provenance(other={"licence": "MIT"})


def test_it_can_be_changed_field_by_field():
    changed = dataclasses.replace(Provenance(licence="MIT", other={"step": 3}), task="denoising")
    assert changed == {"licence": "MIT", "task": "denoising", "step": 3}


@pytest.mark.parametrize("name", MODELS)
def test_bundles_of_earlier_versions_say_what_they_said(name):
    stored = json.loads((MODELS[name].path / "provenance" / "metadata").read_text())
    assert Provenance.from_json(stored) == stored
