"""The examples in docstrings give what they show. Only modules whose examples need no photo and no download."""

import doctest
import importlib

import pytest

MODULES = ["restoring.padding", "restoring.tiles", "restoring.shape_buckets", "training.optimizer"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    failed, tried = doctest.testmod(importlib.import_module(f"mprnet_jax.{name}"))
    assert tried > 1
    assert not failed
