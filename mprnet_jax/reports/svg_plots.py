"""Plots as SVG in HTML for a page of html_parts, whose style colours them: histograms and scatter plots."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

BINS = 24  # at most


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


def histogram(values: np.ndarray, label: str, signed: bool = False) -> str:
    """Bars with a dashed line at the mean; `signed` colours what is below 0 apart."""
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    low, high = _range(values)
    edges = np.linspace(low, high, min(BINS, max(6, math.ceil(math.sqrt(values.size) * 1.5))) + 1)
    counts, _ = np.histogram(values, edges)
    width, height, left, bottom, top = 360, 180, 34, 22, 10
    x = lambda value: left + (value - low) / (high - low) * (width - left - 8)
    y = lambda count: height - bottom - count / counts.max() * (height - bottom - top)
    bars = "".join(
        f'<rect class="{"bar2" if signed and (a + b) / 2 < 0 else "bar1"}" x="{x(a) + 0.5:.1f}" y="{y(n):.1f}" '
        f'width="{x(b) - x(a) - 1:.1f}" height="{y(0) - y(n):.1f}"><title>{a:.4g} to {b:.4g}: {n}</title></rect>'
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    marks = "".join(
        f'<text x="{x(tick):.1f}" y="{height - bottom + 14}" text-anchor="middle">{_tick_label(tick)}</text>'
        for tick in _ticks(low, high)
    )
    mean = float(values.mean())
    return (
        f'<div class="plot"><svg viewBox="0 0 {width} {height}" role="img" aria-label="histogram: {escape(label)}">'
        f'<line class="axis" x1="{left}" y1="{y(0)}" x2="{width - 8}" y2="{y(0)}"/>{bars}{marks}'
        f'<line class="line" x1="{x(mean):.1f}" y1="{top}" x2="{x(mean):.1f}" y2="{y(0)}"/>'
        f'<text x="{left - 4}" y="{y(counts.max()) + 8:.1f}" text-anchor="end">{counts.max()}</text>'
        f'<text x="{left - 4}" y="{y(0):.1f}" text-anchor="end">0</text>'
        f"</svg><p>{escape(label)}: images in each bin, mean dashed</p></div>"
    )


def scatter(x_values: np.ndarray, y_values: np.ndarray, names: Sequence[str], x_label: str, y_label: str) -> str:
    """Points on equal axes, with the diagonal where both values are equal."""
    finite = np.isfinite(x_values) & np.isfinite(y_values)
    if not finite.any():
        return ""
    low, high = _range(np.concatenate([x_values[finite], y_values[finite]]))
    width, height, left, bottom, top = 360, 290, 40, 22, 10
    x = lambda value: left + (value - low) / (high - low) * (width - left - 8)
    y = lambda value: height - bottom - (value - low) / (high - low) * (height - bottom - top)
    points = "".join(
        f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3"><title>{escape(name)}: {a:.3f}, {b:.3f}</title></circle>'
        for a, b, name, keep in zip(x_values, y_values, names, finite, strict=True)
        if keep
    )
    marks = "".join(
        f'<text x="{x(tick):.1f}" y="{height - bottom + 14}" text-anchor="middle">{_tick_label(tick)}</text>'
        f'<text x="{left - 4}" y="{y(tick) + 4:.1f}" text-anchor="end">{_tick_label(tick)}</text>'
        for tick in _ticks(low, high)
    )
    return (
        f'<div class="plot"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(y_label)} against {escape(x_label)}">'
        f'<path class="axis" fill="none" d="M{left} {top}V{height - bottom}H{width - 8}"/>'
        f'<line class="line" x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}"/>{points}{marks}'
        f"</svg><p>{escape(y_label)} (up) against {escape(x_label)} (across); dashed: equal</p></div>"
    )
