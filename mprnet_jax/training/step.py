"""One step of training, as a pure function of (state, batch)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from mprnet_jax import metrics
from mprnet_jax.backends import dispatch
from mprnet_jax.data.pipeline import Batch
from mprnet_jax.model import MPRNet, Params

StagesLoss = Callable[[list[jax.Array], jax.Array], jax.Array]


class Measured(NamedTuple):
    """What a step measures: scalars, on the devices until somebody asks for them."""

    loss: jax.Array  # float32, sum over the three stages
    grad_norm: jax.Array  # float32, before clipping
    psnr: jax.Array  # float32, dB: mean over the batch of the last stage's images
    skipped: jax.Array  # int32, steps up to now that were not finite
    skipped_in_row: jax.Array  # int32, of them those since the last finite one


@flax.struct.dataclass
class TrainState:
    """All that changes in a run, and so all that a checkpoint holds; the data's position is the step."""

    step: jax.Array  # int32, batches processed
    skipped: jax.Array  # int32, of them those skipped because the loss or the gradient was not finite
    skipped_in_row: jax.Array  # int32, of them those since the last finite one
    params: Params
    opt_state: optax.OptState
    ema: Params  # moving average of params


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the moving average begins as the parameters are."""
    params = jax.tree.map(jnp.asarray, params)
    # Copies everywhere: a donated state must not hold the same buffer twice.
    zero = lambda: jnp.zeros((), jnp.int32)
    return TrainState(zero(), zero(), zero(), params, optimizer.init(params), jax.tree.map(jnp.copy, params))


def mix_up(batch: Batch, key: jax.Array) -> Batch:
    """MixUp as in the official denoising recipe: for each sample lambda ~ Beta(0.6, 0.6), one permutation of the batch,
    the same for input and target."""
    count = batch["input"].shape[0]
    key_weight, key_order = jax.random.split(key)
    weight = jax.random.beta(key_weight, 0.6, 0.6, (count, 1, 1, 1))
    order = jax.random.permutation(key_order, count)
    return {side: weight * images + (1 - weight) * images[order] for side, images in batch.items()}


def make_train_step(
    model: MPRNet,
    optimizer: optax.GradientTransformation,
    loss: StagesLoss,
    *,
    ema_decay: float = 0.0,
    accumulate: int = 1,
    mixup_from_step: int | None = None,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[TrainState, Measured]]:
    """A jitted step (state, batch, learning_rate=1) -> (state, Measured).

    batch: "input" and "target", N H W 3 float32 in [0, 1]. The learning rate, a float32 scalar, multiplies the
    optimiser's updates. The state is donated: its buffers are used again for the new one.

    `accumulate`: gradient accumulation over so many micro-batches; N must divide by it. `mixup_from_step`: MixUp from
    this step on (0 is the first), or never. Where the loss or the gradient is not finite, the step is skipped:
    parameters, moments and average stay as they were, and the state counts it.

    `mesh`: devices along one axis, over which the batch is sharded and the state replicated; None: one device.
    """

    def objective(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        restored = dispatch.apply(model, params, batch["input"])
        psnr = metrics.psnr_jax(jnp.clip(restored[0], 0, 1), batch["target"])
        return loss(restored, batch["target"]), jnp.mean(psnr)

    value_and_grad = jax.value_and_grad(objective, has_aux=True)

    def averaged(params: Params, batch: Batch) -> tuple[tuple[jax.Array, jax.Array], Params]:
        if accumulate == 1:
            return value_and_grad(params, batch)

        def part(total: tuple, images: Batch) -> tuple[tuple, None]:
            return jax.tree.map(jnp.add, total, value_and_grad(params, images)), None

        parts = jax.tree.map(lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch)
        first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(value_and_grad, params, batch))
        total, _ = jax.lax.scan(part, first, parts)
        return jax.tree.map(lambda x: x / accumulate, total)

    def averaged_over_devices(params: Params, batch: Batch) -> tuple[tuple[jax.Array, jax.Array], Params]:
        if mesh is None:
            return averaged(params, batch)
        # Data parallelism by hand: each device computes the gradient of its own images, then one all-reduce.
        # Under automatic partitioning each strip of backends.cpu's kernel gradient becomes its own all-reduce.
        (axis,) = mesh.axis_names
        whole, part = PartitionSpec(), PartitionSpec(axis)
        each = lambda p, images: jax.lax.pmean(averaged(p, images), axis)
        # check_vma=False: with it on, autodiff would already psum gradients of replicated parameters.
        return jax.shard_map(each, mesh=mesh, in_specs=(whole, part), out_specs=whole, check_vma=False)(params, batch)

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(
        state: TrainState, batch: Batch, learning_rate: jax.Array | float = 1.0
    ) -> tuple[TrainState, Measured]:
        if mixup_from_step is not None:
            mixed = mix_up(batch, jax.random.fold_in(jax.random.key(seed), state.step))
            batch = jax.tree.map(lambda a, b: jnp.where(state.step >= mixup_from_step, a, b), mixed, batch)
        (value, psnr), grads = averaged_over_devices(state.params, batch)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)

        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda update: learning_rate * update, updates))
        # Early on the average forgets faster, or it would remember the random start for thousands of steps.
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        ema = optax.incremental_update(params, state.ema, 1 - decay)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
        state = TrainState(
            step=state.step + 1,
            skipped=state.skipped + ~finite,
            skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
            params=keep(params, state.params),
            opt_state=keep(opt_state, state.opt_state),
            ema=keep(ema, state.ema),
        )
        return state, Measured(value, grad_norm, psnr, state.skipped, state.skipped_in_row)

    return train_step
