"""The test sets by name: where they lie below a folder of sets, how they are scored and what the paper got.

Published numbers: Zamir et al., CVPR 2021 (arXiv:2102.02808), tables 1 to 4 and the authors' release; with TLC,
Chu et al., ECCV 2022 (arXiv:2112.04491). Each is the mean of per-image scores over all pairs of its set.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from mprnet_jax import metrics
from mprnet_jax.evaluation import realblur
from mprnet_jax.support.errors import UserError

Scores = dict[str, float]  # by the names in LABELS; PSNR comes first, then SSIM
Score = Callable[[np.ndarray, np.ndarray], Scores]  # restored, target: H W 3

LABELS = {
    "psnr": "PSNR (RGB), dB",
    "psnr_y": "PSNR (Y), dB",
    "psnr_aligned": "PSNR (aligned), dB",
    "ssim_matlab_rgb": "SSIM (MATLAB, RGB volume)",
    "ssim_per_channel": "SSIM (per channel)",
    "ssim_index_y": "SSIM (SSIM_index, Y)",
    "ssim_aligned": "SSIM (aligned)",
    "input_psnr": "PSNR of the input, dB",
    "gain": "gain in PSNR, dB",
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How one set is scored. Only `custom` has no published numbers and no expected count."""

    title: str
    folders: tuple[str, ...]  # where the set lies below a root with several sets
    score: Score | None  # None: scored by the benchmark's server
    input_psnr: Callable[[np.ndarray, np.ndarray], float] | None  # the first of the scores, alone
    columns: tuple[str, ...]  # names of the scores
    published: tuple[float, float] | None  # PSNR, SSIM
    pairs: int | None  # in the whole set
    task: str | None  # whose weights the paper used
    published_tlc: tuple[float, float] | None = None
    unrounded: bool = False  # floats in [0, 1] all the way, never rounded to uint8


def _by_name(**functions: Callable[[np.ndarray, np.ndarray], float]) -> dict:
    """Fields of a Protocol whose scores do not depend on one another."""

    def score(restored: np.ndarray, target: np.ndarray) -> Scores:
        return {name: function(restored, target) for name, function in functions.items()}

    return {"score": score, "input_psnr": next(iter(functions.values())), "columns": tuple(functions)}


RGB = _by_name(psnr=metrics.psnr, ssim_matlab_rgb=metrics.ssim_matlab_rgb)
RGB_FLOAT = _by_name(
    psnr=functools.partial(metrics.psnr, peak=1.0), ssim_matlab_rgb=functools.partial(metrics.ssim_matlab_rgb, peak=1.0)
)
LUMA = _by_name(psnr_y=metrics.psnr_y, ssim_index_y=metrics.ssim_index_y)
EVERYTHING = _by_name(
    psnr=metrics.psnr,
    ssim_matlab_rgb=metrics.ssim_matlab_rgb,
    ssim_per_channel=metrics.ssim_per_channel,
    psnr_y=metrics.psnr_y,
    ssim_index_y=metrics.ssim_index_y,
)
ALIGNED = {"score": realblur.score, "input_psnr": realblur.psnr_aligned, "columns": realblur.COLUMNS}
BY_SERVER = {"score": None, "input_psnr": None, "columns": ()}


def _deblurring(title: str, folder: str, pairs: int, published: tuple[float, float], **fields) -> Protocol:
    folders = (f"{folder}/test", folder)
    return Protocol(title, folders, pairs=pairs, published=published, task="deblurring", **fields)


def _deraining(title: str, pairs: int, published: tuple[float, float]) -> Protocol:
    folders = (f"test/{title}", title, f"Rain13K/test/{title}", f"Deraining/test/{title}")
    return Protocol(title, folders, pairs=pairs, published=published, task="deraining", **LUMA)


def _denoising(title: str, pairs: int, published: tuple[float, float], **fields) -> Protocol:
    folders = (f"{title}/test", title)
    return Protocol(title, folders, pairs=pairs, published=published, task="denoising", unrounded=True, **fields)


PROTOCOLS = {
    "gopro": _deblurring("GoPro", "GoPro", 1111, (32.66, 0.959), published_tlc=(33.31, 0.964), **RGB),
    "hide": _deblurring("HIDE", "HIDE", 2025, (30.96, 0.939), published_tlc=(31.19, 0.942), **RGB),
    "realblur_j": _deblurring("RealBlur-J", "RealBlur_J", 980, (28.70, 0.873), **ALIGNED),
    "realblur_r": _deblurring("RealBlur-R", "RealBlur_R", 980, (35.99, 0.952), **ALIGNED),
    "sidd": _denoising("SIDD", 1280, (39.71, 0.958), **RGB_FLOAT),
    "dnd": _denoising("DND", 1000, (39.80, 0.954), **BY_SERVER),
    "test100": _deraining("Test100", 100, (30.27, 0.897)),
    "rain100h": _deraining("Rain100H", 100, (30.41, 0.890)),
    "rain100l": _deraining("Rain100L", 100, (36.40, 0.965)),
    "test2800": _deraining("Test2800", 2800, (33.64, 0.938)),
    "test1200": _deraining("Test1200", 1200, (32.91, 0.916)),
    "custom": Protocol("custom", (), published=None, pairs=None, task=None, **EVERYTHING),
}
DERAINING_MEAN = (32.73, 0.921)  # published mean of the five deraining sets


def named(name: str) -> Protocol:
    """The protocol of that name; raises UserError that lists the choices."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}, all")
    return PROTOCOLS[name]
