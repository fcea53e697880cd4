"""The network compiled for one shape, and arrays run through it on one device or several."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.restoring.exact_parts import apply_to_part

PROGRAMS_KEPT = 64  # compiled programs held in memory, over all devices


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled."""

    config: MPRNetConfig
    dtype: str  # of the features
    stages: int
    window: int | None  # of the local means, pixels
    height: int  # of what it takes, multiples of 8
    width: int
    batch: int = 1
    windows: tuple[int | None, int | None] | None = None
    """For parts of images, at a place that each comes with: the windows that exact_parts.apply_to_part is given. None:
    for whole images."""

    @property
    def pixels(self) -> int:
        return self.batch * self.height * self.width


@functools.lru_cache(maxsize=PROGRAMS_KEPT)
def compiled(program: Program, device: int = 0) -> Callable[[Params, np.ndarray, np.ndarray], jax.Array]:
    """Parameters (dispatch.pack_params), images N H W 3 and their places N 4 (exact_parts.apply_to_part) -> the
    restored images N H W 3, on a local device, by its number."""
    model = MPRNet(program.config, dtype=jnp.dtype(program.dtype), window=program.window)
    target = jax.local_devices()[device]

    def restore(packed: Params, images: jax.Array, places: jax.Array) -> jax.Array:
        params = dispatch.unpack_params(packed)
        if program.windows is None:
            with dispatch.fast_layers():
                return model.apply({"params": params}, images, stages=program.stages)[0]
        part = lambda image, place: apply_to_part(
            model, params, image, place, program.stages, program.windows, dispatch.fast_layers
        )
        if program.batch == 1:  # not vmap: it would turn slices into gathers
            return part(images[0], places[0])[None]
        return jax.vmap(part)(images, places)

    sharding = jax.sharding.SingleDeviceSharding(target)
    on_device = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    pack = functools.partial(dispatch.pack_params, cfg=program.config, dtype=program.dtype)
    packed = jax.eval_shape(pack, abstract_params(program.config))
    params = jax.tree.map(lambda leaf: on_device(leaf.shape, leaf.dtype), packed)
    images = on_device((program.batch, program.height, program.width, 3), jnp.float32)
    places = on_device((program.batch, 4), jnp.int32)
    lowered = jax.jit(restore, keep_unused=True).lower(params, images, places)
    return dispatch.compile_with_options(lowered, dispatch.compiler_options(program.config))


@dataclasses.dataclass(frozen=True)
class Job:
    """An array for a program."""

    program: Program  # with a batch of 1
    pixels: np.ndarray  # H W 3 float32
    place: Sequence[int] = (0, 0, 0, 0)


def run(jobs: Iterable[Job], params: Sequence[Params], devices: Sequence[int], batch: int = 1) -> Iterator[np.ndarray]:
    """Restored pixels (H W 3, float32, not clipped) in the order of the jobs.

    `params[i]` is on local device `devices[i]`. Batches go round the devices, as many at a time as there are
    devices, so that each computes while the others do.
    """
    under_way: collections.deque[tuple[jax.Array, int]] = collections.deque()
    for number, group in enumerate(_batches(jobs, batch)):
        if len(under_way) == len(devices):
            yield from _collect(under_way)
        turn = number % len(devices)
        program = dataclasses.replace(group[0].program, batch=batch)
        missing = batch - len(group)  # the last batch is filled up, so that no program is compiled for it
        pixels = np.stack([job.pixels for job in group + group[-1:] * missing])
        places = np.array([job.place for job in group + group[-1:] * missing], np.int32)
        target = jax.local_devices()[devices[turn]]
        arguments: Any = jax.device_put((pixels, places), target)
        under_way.append((compiled(program, devices[turn])(params[turn], *arguments), len(group)))
    while under_way:
        yield from _collect(under_way)


def _batches(jobs: Iterable[Job], batch: int) -> Iterator[list[Job]]:
    """Neighbours that go through one program, up to `batch` of them."""
    for _, same in itertools.groupby(jobs, key=lambda job: job.program):
        while group := list(itertools.islice(same, batch)):
            yield group


def _collect(under_way: collections.deque[tuple[jax.Array, int]]) -> Iterator[np.ndarray]:
    restored, count = under_way.popleft()
    yield from np.asarray(restored)[:count]
