"""`benchmark.py train`: one training step against PyTorch."""

import argparse
import math
import os
import time
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from benchmarks import networks, side_by_side
from benchmarks.timing import Contestant, Missing
from mprnet_jax.backends import dispatch
from mprnet_jax.model import PRESETS, MPRNet, MPRNetConfig, Params, init_params
from mprnet_jax.runtime import memory
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.step import init_state, make_train_step

LEARNING_RATE = 2e-4
FORWARD_AND_BACKWARD = 3  # times the operations of restoring: the gradients of inputs and of kernels cost as much each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    side_by_side.add_arguments(parser, sizes=["128"], batch=2, presets=["deraining", "light"])
    parser.add_argument("--bfloat16", action="store_true", help="also in bfloat16, PyTorch with autocast")
    parser.add_argument("--remat", action="store_true", help="also ours with features computed again (for GPUs)")


def main(args: argparse.Namespace) -> None:
    """Time of a training step: forward, Charbonnier and edge loss of three stages, gradients, Adam.

    ratio: the other's time over ours in the same type, above 1 we are faster. Differences are those of the first step's
    loss from PyTorch's. Ours also keeps a moving average, a PSNR, and watches for values that are not finite, as in
    training.
    """
    side_by_side.run(args, "train", prepare)


def prepare(args: argparse.Namespace, preset: str, size: side_by_side.Size) -> side_by_side.Prepared:
    cfg = PRESETS[preset]
    params = init_params(cfg, seed=0)
    batch = {side: networks.random_images(args.batch, *size, seed) for seed, side in enumerate(("input", "target"))}
    builders: side_by_side.Builders = {
        side_by_side.OURS: lambda: ours(cfg, params, batch),
        side_by_side.REFERENCE: lambda: theirs(cfg, params, batch),
        "PyTorch channels_last": lambda: theirs(cfg, params, batch, channels_last=True),
    }
    if args.bfloat16:
        builders[f"{side_by_side.OURS} bfloat16"] = lambda: ours(cfg, params, batch, dtype="bfloat16")
        builders["PyTorch bfloat16, channels_last"] = lambda: theirs(cfg, params, batch, channels_last=True, half=True)
    if args.remat:
        builders[f"{side_by_side.OURS} remat"] = lambda: ours(cfg, params, batch, remat=True)
    try:
        return builders, FORWARD_AND_BACKWARD * networks.flops(cfg, batch["input"].shape)
    except Missing:
        return builders, None


def ours(
    cfg: MPRNetConfig, params: Params, batch: dict[str, np.ndarray], dtype: str = "float32", remat: bool = False
) -> Contestant:
    """The step of mprnet_jax.train; its state's buffers are donated from step to step."""
    optimizer = optax.adam(LEARNING_RATE)
    loss = stages_loss("charbonnier_edge", clip=False)
    count = math.gcd(len(batch["input"]), jax.device_count())
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    model = MPRNet(cfg, dtype=jax.numpy.dtype(dtype), remat=remat)
    step = make_train_step(model, optimizer, loss, ema_decay=0.999, mesh=mesh)
    state = jax.device_put(init_state(params, optimizer), NamedSharding(mesh, PartitionSpec()))
    batch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    start = time.perf_counter()
    compiled = dispatch.compile_with_options(step.lower(state, batch))
    memory.forget_traces()  # as mprnet_jax.train does
    seconds = time.perf_counter() - start

    def run() -> jax.Array:
        nonlocal state
        state, measured = compiled(state, batch)
        jax.block_until_ready(state)
        return measured.loss

    return Contestant(run, np.asarray, seconds, networks.device_bytes(compiled))


def theirs(
    cfg: MPRNetConfig,
    params: Params,
    batch: dict[str, np.ndarray],
    channels_last: bool = False,
    half: bool = False,
) -> Contestant:
    """The same step in PyTorch, eagerly."""
    side = networks.Torch(len(os.sched_getaffinity(0)))
    torch = side.torch
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = side.network(cfg, params).train().to(memory_format=layout)
    degraded, target = (side.tensor(batch[name]).contiguous(memory_format=layout) for name in ("input", "target"))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def loss_of_network() -> Any:
        with side.autocast(half):
            restored = network(degraded)
        return torch_loss(torch, [image.float() for image in restored], target)

    def run() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of_network()
        loss.backward()
        optimizer.step()
        side.wait()
        return loss.detach()

    answer = lambda loss: loss.cpu().numpy()

    def exact() -> np.ndarray:  # of the first step, to which it must come before
        with side.full_precision(), torch.no_grad():
            return answer(loss_of_network())

    shortened = side.device == "cuda" and not (channels_last or half)
    return Contestant(run, answer, device_bytes=side.device_bytes(run), exact=exact if shortened else None)


def torch_loss(torch: Any, restored: list[Any], target: Any) -> Any:
    """Sum over the stages of Charbonnier + 0.05 Charbonnier of the Laplacians, N C H W."""
    taps = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05], device=target.device)
    kernel = torch.outer(taps, taps).repeat(3, 1, 1, 1)
    kept = torch.zeros_like(target)
    kept[:, :, ::2, ::2] = 4

    def blur(x: Any) -> Any:
        return torch.nn.functional.conv2d(torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)

    laplacian = lambda x: x - blur(blur(x) * kept)
    charbonnier = lambda a, b: torch.sqrt((a - b) ** 2 + 1e-6).mean()
    edges = laplacian(target)
    return sum(charbonnier(x, target) + 0.05 * charbonnier(laplacian(x), edges) for x in restored)
