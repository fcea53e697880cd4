"""The optimiser, and learning rates as functions of how far a run is.

The schedules are plain functions of the host: their value is an argument of the compiled step, so that a run can be
laid over wall time, and asking for it never waits for a device.
"""

import math
from collections.abc import Callable

import optax

from mprnet_jax.training.config import TrainConfig

WARM_UP = 0.03  # of a run whose schedule is laid over its progress
Schedule = Callable[[float], float]


def cosine(peak: float, final: float, fraction: float) -> float:
    """final + (peak - final) (1 + cos(pi fraction)) / 2, with the fraction cut to [0, 1].

    >>> cosine(1.0, 0.0, 0.5), cosine(1.0, 0.1, 2.0)
    (0.5, 0.1)
    """
    return final + (peak - final) * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0))) / 2


def epoch_schedule(peak: float, final: float, warmup_epochs: int, cosine_epochs: int, steps_per_epoch: int) -> Schedule:
    """The official one, constant within an epoch: with epochs e from 1, peak * e / warmup_epochs while warming up,
    then final + (peak - final) * (1 + cos(pi * (e - warmup_epochs - 1) / cosine_epochs)) / 2.

    A function of the step, 0 is the first. Source: the scheduler of the official release, with the cosine rule of its
    day.

    >>> schedule = epoch_schedule(2e-4, 1e-6, warmup_epochs=2, cosine_epochs=8, steps_per_epoch=10)
    >>> [f"{schedule(step):.3g}" for step in (0, 9, 10, 20, 29, 60)]
    ['0.0001', '0.0001', '0.0002', '0.0002', '0.0002', '0.000101']
    """

    def rate(step: float) -> float:
        epoch = step // steps_per_epoch
        if epoch < warmup_epochs:
            return peak * (epoch + 1) / warmup_epochs
        return cosine(peak, final, (epoch - warmup_epochs) / cosine_epochs)

    return rate


def step_schedule(peak: float, final: float, warmup_steps: int, total_steps: int) -> Schedule:
    """Linear from 0 to the peak in `warmup_steps`, then a cosine that reaches `final` after `total_steps` in all.

    A function of the step, 0 is the first.
    """

    def rate(step: float) -> float:
        if step < warmup_steps:
            return peak * step / warmup_steps
        return cosine(peak, final, (step - warmup_steps) / max(1, total_steps - warmup_steps))

    return rate


def progress_schedule(peak: float, final: float) -> Schedule:
    """Linear from 0 to the peak in the first 3 % of a run, then a cosine that reaches `final` at its end.

    A function of the progress, from 0 to 1.

    >>> schedule = progress_schedule(1e-3, 1e-6)
    >>> [f"{schedule(progress):.3g}" for progress in (0, 0.015, 0.03, 0.515, 1)]
    ['0', '0.0005', '0.001', '0.000501', '1e-06']
    """

    def rate(progress: float) -> float:
        if progress < WARM_UP:
            return peak * progress / WARM_UP
        return cosine(peak, final, (progress - WARM_UP) / (1 - WARM_UP))

    return rate


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam as torch.optim.Adam: clipping first, then coupled weight decay, then the moments.

    Its updates are those for a learning rate of 1; the step multiplies them by the rate of the moment.
    """
    parts = [optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8), optax.scale(-1.0)]
    if config.weight_decay:
        parts.insert(0, optax.add_decayed_weights(config.weight_decay))
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)
