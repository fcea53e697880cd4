"""Plots: every value is drawn, and nothing is drawn of nothing."""

import re

import numpy as np
import pytest

from mprnet_jax.reports import svg_plots


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [0.1, 0.2, 0.4], [-1e-6, 2e5], [np.inf, 1.0], list(range(500))])
def test_histogram_counts_every_finite_value(values):
    plot = svg_plots.histogram(np.array(values, float), "x")
    counts = [int(count) for count in re.findall(r": (\d+)</title>", plot)]
    assert sum(counts) == np.isfinite(values).sum()


def test_plots_of_nothing_are_empty():
    assert svg_plots.histogram(np.array([np.inf]), "x") == ""
    assert svg_plots.scatter(np.array([np.nan]), np.array([1.0]), ["a"], "x", "y") == ""


def test_points_lie_where_their_values_say():
    plot = svg_plots.scatter(np.array([0.0, 10.0]), np.array([10.0, 0.0]), ["a", "b"], "x", "y")
    (left, upper), (right, lower) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', plot)
    assert float(left) < float(right)
    assert float(upper) < float(lower)  # SVG counts downwards


def test_names_in_plots_are_escaped():
    plot = svg_plots.scatter(np.array([1.0]), np.array([2.0]), ["<b>&\x1b"], "x", "y")
    assert "&lt;b&gt;&amp;\\x1b: 1.000, 2.000" in plot
