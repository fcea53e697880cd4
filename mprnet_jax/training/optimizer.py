"""The optimiser and its learning rate, as a recipe says."""

import optax

from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.schedules import epoch_schedule, step_schedule


def make_schedule(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    """Learning rate of every step, as the config says."""
    if config.schedule == "epochs":
        cosine_epochs = config.cosine_epochs or config.epochs - config.warmup_epochs
        return epoch_schedule(
            config.learning_rate, config.final_learning_rate, config.warmup_epochs, cosine_epochs, steps_per_epoch
        )
    return step_schedule(
        config.learning_rate,
        config.final_learning_rate,
        config.warmup_epochs * steps_per_epoch,
        config.epochs * steps_per_epoch,
    )


def make_optimizer(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Adam as torch.optim.Adam: clipping first, then coupled weight decay, then the moments."""
    parts = [optax.adam(schedule, b1=0.9, b2=0.999, eps=1e-8)]
    if config.weight_decay:
        parts.insert(0, optax.add_decayed_weights(config.weight_decay))
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)
