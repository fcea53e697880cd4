"""Validation within a training run: the PSNR of restored crops of held-out pictures, and strips to look at."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from mprnet_jax import images, metrics
from mprnet_jax.data.pipeline import Example
from mprnet_jax.model import MPRNet, Params

CROP = 256  # pixels, side of the centre crop of each held-out picture
STRIPS = 4  # pictures of which a strip is made

Predict = Callable[[Params, np.ndarray], list[jax.Array]]


def make_predict(model: MPRNet) -> Predict:
    """A jitted (params, N H W 3) -> the restored images of stages 3, 2 and 1."""
    return jax.jit(lambda params, image: model.apply({"params": params}, image))


def _mean(scores: Sequence[float]) -> float:
    """Mean over all pairs, of which process i has every one whose number leaves i (see validate)."""
    total = np.array([np.sum(scores), len(scores)], np.float64)
    if jax.process_count() > 1:
        # As bits: JAX would round float64.
        rows = multihost_utils.process_allgather(total.view(np.uint32))
        total = np.ascontiguousarray(rows).view(np.float64).reshape(-1, 2).sum(axis=0)
    return float(total[0] / total[1])


def _share(pairs: Sequence[Example]) -> Sequence[Example]:
    return pairs[jax.process_index() :: jax.process_count()]


def input_psnr(pairs: Sequence[Example]) -> float:
    """Mean PSNR in dB of the inputs themselves: what a restored picture must be better than."""
    return float(np.mean([metrics.psnr(pair["input"], pair["target"]) for pair in pairs]))


def validate(predict: Predict, params: Params, pairs: Sequence[Example]) -> tuple[float, list[np.ndarray]]:
    """Mean PSNR in dB of the restored pairs, rounded to uint8 as a saved picture is; and strips of the first ones.

    A strip is input | stage 1 | stage 2 | stage 3 | target, H 5W 3 uint8. Every process restores its share of the
    pairs, on its first device, and gets the mean over all; `params` are replicated. All processes must call this.
    """
    here = jax.tree.map(lambda leaf: leaf.addressable_data(0), params)
    scores, strips = [], []
    for pair in _share(pairs):
        stages = predict(here, images.to_float(pair["input"])[None])
        restored = [images.to_uint8(np.asarray(stage)[0]) for stage in reversed(stages)]
        scores.append(metrics.psnr(restored[-1], pair["target"]))
        if len(strips) < STRIPS:
            strips.append(np.concatenate([pair["input"], *restored, pair["target"]], axis=1))
    return _mean(scores), strips
