"""curves.png: loss, PSNR and learning rate of a run over its steps, drawn from its log."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.training.log import LOG, read_log

CURVES = "curves.png"
SMOOTHED = 50  # points in the window of the running mean, at most
PANELS = (  # title, scale, values of training, values of validation, points that may be averaged
    ("loss", "log", "loss", None, SMOOTHED),
    ("PSNR in dB", "linear", "psnr", "validation_psnr", SMOOTHED),
    ("learning rate", "linear", "lr", None, 1),
)


# It warns of its font cache at the first use, and of fonts and folders that it does without.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    try:
        import_extra("matplotlib.figure", "matplotlib", "curves")
    except Exception:  # whatever keeps it from being used: curves are an extra
        return False
    return True


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and up to `window - 1` before it: N -> N."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def series(log: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and finite values of what the log calls `name`."""
    points = [(line["step"], line[name]) for line in log if name in line and np.isfinite(line[name])]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values


def draw_validation(axes: Any, log: list[dict], name: str) -> None:
    """A curve for each validation set, and a dashed line of the same colour for its untouched inputs."""
    sets = dict.fromkeys(line.get("set", "") for line in log if name in line)
    for number, of_set in enumerate(sets):
        lines = [line for line in log if line.get("set", "") == of_set]
        colour = f"C{number + 1}"
        label = f"validation, {of_set}" if of_set else "validation"
        axes.plot(*series(lines, name), color=colour, marker="o", markersize=3, label=label)
        inputs = series(lines, "validation_input_psnr")[1]
        if len(inputs):
            axes.axhline(inputs[-1], color=colour, linestyle="--", label=f"{label}, input")


def draw(workdir: str | Path) -> Path:
    """Draw curves.png from log.jsonl in a workdir; returns its path. Raises UserError without matplotlib, or if
    the file cannot be written."""
    figure_module = import_extra("matplotlib.figure", "matplotlib", "curves")
    workdir = Path(workdir)
    log = read_log(workdir / LOG)
    figure = figure_module.Figure(figsize=(9, 9), layout="constrained")  # pyplot would keep it
    for axes, panel in zip(figure.subplots(3, sharex=True), PANELS, strict=True):
        title, scale, training, validation, averaged = panel
        steps, values = series(log, training)
        window = min(averaged, max(1, len(values) // 10))
        axes.plot(steps, values, color="tab:blue", linewidth=0.8, alpha=0.35 if window > 1 else 1, label="training")
        if window > 1:
            axes.plot(steps, running_mean(values, window), color="tab:blue", label=f"mean of {window}")
        if validation:
            draw_validation(axes, log, validation)
            axes.legend(loc="lower right")
        axes.set(title=title, yscale=scale if len(values) and values.min() > 0 else "linear")
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    path = workdir / CURVES
    try:
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); make room there") from error
    return path
