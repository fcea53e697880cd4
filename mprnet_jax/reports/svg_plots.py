"""Plots as SVG, coloured by the style of a page: histograms, scatter plots and lines."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from mprnet_jax.reports import pages

BINS = 24  # at most
LINE_COLOURS = ("var(--text)", "#c2571a", "#2f7fc1", "#5a9a3c")


@dataclasses.dataclass(frozen=True)
class _Axes:
    """From values to SVG's units: one range from `left` to `right`, another from `bottom` up to `top`."""

    width: int
    height: int
    left: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    right_margin: int = 8
    bottom_margin: int = 22
    top: int = 10

    @property
    def right(self) -> int:
        return self.width - self.right_margin

    @property
    def bottom(self) -> int:
        return self.height - self.bottom_margin

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(self.left + (value - low) / (high - low) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top), 1)


def _ticks(low: float, high: float, count: int = 8) -> list[float]:
    """At most `count` round numbers from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _tick_label(value: float) -> str:
    return f"{value:.6g}" if abs(value) > 1e-9 else "0"


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * 0.02 or max(abs(high) * 0.01, 1e-3)
    return low - margin, high + margin


def histogram(values: np.ndarray, label: str, signed: bool = False) -> Markup:
    """Bars with a dashed line at the mean; `signed` colours what is below 0 apart. Empty without a finite value."""
    values = values[np.isfinite(values)]
    if not values.size:
        return Markup()
    low, high = _range(values)
    edges = np.linspace(low, high, min(BINS, max(6, math.ceil(math.sqrt(values.size) * 1.5))) + 1)
    counts, _ = np.histogram(values, edges)
    most = int(counts.max())
    axes = _Axes(360, 180, 34, (low, high), (0, most))
    bars = [
        {
            "x": axes.x(a) + 0.5,
            "y": axes.y(count),
            "width": axes.x(b) - axes.x(a) - 1,
            "height": axes.bottom - axes.y(count),
            "below": signed and (a + b) / 2 < 0,
            "title": f"{a:.4g} to {b:.4g}: {count}",
        }
        for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    ticks = [(tick, _tick_label(tick)) for tick in _ticks(low, high)]
    plot = {"axes": axes, "bars": bars, "ticks": ticks, "mean": float(values.mean()), "most": most, "label": label}
    return Markup(pages.render("mprnet_jax.reports", "histogram.html", **plot))


def scatter(x_values: np.ndarray, y_values: np.ndarray, names: Sequence[str], x_label: str, y_label: str) -> Markup:
    """Points on equal axes, with the diagonal where both values are equal. Empty without a finite pair."""
    finite = np.isfinite(x_values) & np.isfinite(y_values)
    if not finite.any():
        return Markup()
    both = _range(np.concatenate([x_values[finite], y_values[finite]]))
    points = [
        (a, b, f"{name}: {a:.3f}, {b:.3f}")
        for a, b, name, keep in zip(x_values.tolist(), y_values.tolist(), names, finite, strict=True)
        if keep
    ]
    ticks = [(tick, _tick_label(tick)) for tick in _ticks(*both)]
    plot = {"axes": _Axes(360, 290, 40, both, both), "points": points, "ticks": ticks, "diagonal": both}
    return Markup(pages.render("mprnet_jax.reports", "scatter.html", **plot, x_label=x_label, y_label=y_label))


def lines(x_values: np.ndarray, curves: Mapping[str, np.ndarray], x_label: str, y_label: str) -> Markup:
    """Lines over common values, each with its name; curves of the names red, green and blue have these colours.

    The vertical axis begins at 0, or below where a value does.
    """
    values = np.concatenate(list(curves.values()))
    low, high = min(0.0, float(values.min())), float(values.max())
    y_range = (low, high + ((high - low) * 0.04 or 1.0))
    axes = _Axes(360, 220, 40, (float(x_values.min()), float(x_values.max())), y_range)
    drawn = [
        {
            "name": name,
            "points": " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in zip(x_values.tolist(), ys.tolist(), strict=True)),
            "colour": {"red": "#d33", "green": "#393", "blue": "#47d"}.get(name, LINE_COLOURS[i % len(LINE_COLOURS)]),
            "x": axes.left + 10 + 112 * i,
        }
        for i, (name, ys) in enumerate(curves.items())
    ]
    ticks = [
        [(tick, _tick_label(tick)) for tick in _ticks(*bounds, count)]
        for bounds, count in ((axes.x_range, 8), (y_range, 5))
    ]
    plot = {
        "axes": axes,
        "lines": drawn,
        "x_ticks": ticks[0],
        "y_ticks": ticks[1],
        "x_label": x_label,
        "y_label": y_label,
    }
    return Markup(pages.render("mprnet_jax.reports", "lines.html", **plot))
