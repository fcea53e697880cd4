"""Results as a table, as JSON and as a plot."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Result
from mprnet_jax.support.optional_imports import import_extra

PACKAGES = ("jax", "jaxlib", "flax", "torch", "onnxruntime", "openvino", "numpy")
HALF = "bfloat16"  # what the names of contestants with such features say
SIMD = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")  # of the processor's abilities, those that tell


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    line = lambda cells: "  ".join(
        cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "\n".join(line(cells).rstrip() for cells in (header, *rows))


def machine(threads: int) -> dict[str, Any]:
    """What was measured on: processor, cores, devices, versions. No names of hosts or users."""
    import jax

    about = {"model name": platform.processor(), "flags": ""}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() in about:
            about[key.strip()] = value.strip()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": about["model name"],
        "simd": [name for name in SIMD if name in about["flags"].split()],
        "cores": threads,
        "devices": [device.device_kind for device in jax.devices()],
        "python": platform.python_version(),
        "packages": versions,
    }


def difference(answer: np.ndarray | None, reference: np.ndarray | None) -> tuple[float, float] | None:
    """(largest absolute difference, PSNR in dB for values in [0, 1]; infinite where both are equal)."""
    if answer is None or reference is None:
        return None
    error = np.abs(answer.astype(np.float64) - reference)
    mean = float(np.mean(error**2))
    return float(error.max()), -10 * float(np.log10(mean)) if mean else float("inf")


def summary(results: Sequence[Result], ours: str, reference: str, flops: float | None, peak: float | None) -> list:
    """A dictionary for each contestant, as JSON has them. `ratio` is its time over ours with features of the same
    type: above 1 we are faster; `cpu_ratio` is the same of the time that the process computed."""
    by_name = {result.name: result for result in results if not result.missing}
    expected = None
    if reference in by_name:
        measured = by_name[reference]
        expected = measured.answer if measured.exact is None else measured.exact
    rows = []
    for result in results:
        if result.missing:
            rows.append({"name": result.name, "missing": result.missing})
            continue
        row: dict[str, Any] = {
            "name": result.name,
            "min_s": result.minimum,
            "median_s": result.median,
            "cpu_min_s": min(result.cpu),
            "runs_s": result.wall,
            "compile_s": result.compile_seconds,
            "peak_bytes": result.peak_bytes,
        }
        base = by_name.get(f"{ours} {HALF}" if HALF in result.name else ours)
        if base:
            row |= {"ratio": result.minimum / base.minimum, "cpu_ratio": min(result.cpu) / min(base.cpu)}
        if flops:
            row["gflops_per_s"] = flops / result.minimum / 1e9
        if flops and peak:
            row["share_of_peak"] = flops / result.minimum / peak
        found = difference(result.answer, expected)
        if found:
            row |= {"max_difference": found[0], "psnr_db": found[1]}
        rows.append(row)
    return rows


COLUMNS = (
    ("min s", "min_s", "{:#.4g}"),
    ("median s", "median_s", "{:#.4g}"),
    ("CPU s", "cpu_min_s", "{:#.4g}"),
    ("ratio", "ratio", "{:.2f}"),
    ("CPU ratio", "cpu_ratio", "{:.2f}"),
    ("GFLOP/s", "gflops_per_s", "{:.0f}"),
    ("of peak", "share_of_peak", "{:.0%}"),
    ("compile s", "compile_s", "{:.1f}"),
    ("peak MB", "peak_bytes", None),
    ("max diff.", "max_difference", "{:.1e}"),
    ("PSNR dB", "psnr_db", "{:.1f}"),
)


def print_rows(rows: Sequence[dict[str, Any]], ours: str) -> None:
    """The table, then who could not run, then in words where we lose."""
    ran = [row for row in rows if "missing" not in row]

    def cell(row: dict[str, Any], key: str, form: str | None) -> str:
        value = row.get(key)
        if value is None:
            return "-"
        return f"{value / 1e6:.0f}" if form is None else form.format(value)

    print(table(["", *(title for title, _, _ in COLUMNS)], [
        [row["name"], *(cell(row, key, form) for _, key, form in COLUMNS)] for row in ran
    ]))  # fmt: skip
    for row in rows:
        if "missing" in row:
            print(f"{row['name']}: not measured, {row['missing']}")
    for row in ran:
        if row.get("ratio", 1) < 1 and not row["name"].startswith(ours):
            print(f"{ours} loses to {row['name']}: {1 / row['ratio']:.2f} times its time")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write JSON; numbers that JSON has not become null."""
    finite = lambda value: None if isinstance(value, float) and not np.isfinite(value) else value

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(entry) for key, entry in value.items()}
        return [clean(entry) for entry in value] if isinstance(value, list | tuple) else finite(value)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(clean(content), indent=2) + "\n", encoding="utf-8")


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure in inches. Raises UserError if matplotlib is not installed."""
    return import_extra("matplotlib.figure", "matplotlib", "bench").Figure((width, height), layout="constrained")


def plot_bars(path: Path, groups: dict[str, Sequence[dict[str, Any]]], ours: str, title: str) -> None:
    """Times of each group (a preset at a size) beside each other: minimum, with a line to the median."""
    figure = new_figure(8, 0.6 + sum(0.32 * len(rows) + 0.5 for rows in groups.values()))
    axes = figure.subplots(len(groups), squeeze=False)[:, 0]
    for ax, (name, rows) in zip(axes, groups.items(), strict=True):
        rows = [row for row in rows if "missing" not in row][::-1]
        colours = ["tab:orange" if row["name"].startswith(ours) else "tab:blue" for row in rows]
        ax.barh([row["name"] for row in rows], [row["min_s"] for row in rows], color=colours)
        for i, row in enumerate(rows):
            ax.plot([row["min_s"], row["median_s"]], [i, i], color="black", linewidth=1)
        ax.set_title(name, fontsize=9, loc="left")
        ax.tick_params(labelsize=8)
    axes[-1].set_xlabel("seconds: bar to the minimum, line to the median", fontsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
