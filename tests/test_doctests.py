"""The examples in docstrings give what they show. Only modules whose examples need no photo and no download."""

import doctest
import importlib

import pytest

MODULES = [
    "restoring.orientations",
    "restoring.padding",
    "restoring.shape_buckets",
    "restoring.tiles",
    "training.optimizer",
    "training.validation",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    failed, tried = doctest.testmod(importlib.import_module(f"mprnet_jax.{name}"))
    assert tried > 0
    assert not failed
