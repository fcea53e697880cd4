"""The examples in docstrings give what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["padding", "tiles", "shape_buckets", "orientations"])
def test_examples_in_docstrings_are_true(module):
    failed, tried = doctest.testmod(importlib.import_module(f"mprnet_jax.restoring.{module}"))
    assert failed == 0
    assert tried > 0
