"""Learning rates as functions of the step (0 is the first), out of Optax parts."""

import optax


def epoch_schedule(
    peak: float, final: float, warmup_epochs: int, cosine_epochs: int, steps_per_epoch: int
) -> optax.Schedule:
    """The official one, constant within an epoch: with epochs e from 1, peak * e / warmup_epochs while warming up,
    then final + (peak - final) * (1 + cos(pi * (e - warmup_epochs - 1) / cosine_epochs)) / 2.

    Source: the scheduler of the official release, with the cosine rule of its day.
    """
    parts = [optax.cosine_decay_schedule(peak, cosine_epochs, alpha=final / peak)]
    boundaries = []
    if warmup_epochs > 0:
        parts.insert(0, optax.linear_schedule(peak / warmup_epochs, peak, max(1, warmup_epochs - 1)))
        boundaries.append(warmup_epochs)
    by_epoch = optax.join_schedules(parts, boundaries)
    return lambda step: by_epoch(step // steps_per_epoch)


def step_schedule(peak: float, final: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Linear from 0 to the peak in `warmup_steps`, then a cosine that reaches `final` after `total_steps` in all."""
    start = 0.0 if warmup_steps else peak
    return optax.warmup_cosine_decay_schedule(start, peak, warmup_steps, total_steps, end_value=final)
