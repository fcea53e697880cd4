"""The network compiled for one shape, and arrays run through it on one device or several."""

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from mprnet_jax.backends import dispatch
from mprnet_jax.model import MPRNet, MPRNetConfig, Params, abstract_params
from mprnet_jax.restoring.exact_parts import apply_to_part
from mprnet_jax.restoring.orientations import Orientation, Part
from mprnet_jax.runtime.jax_settings import standard_settings

if TYPE_CHECKING:
    from mprnet_jax.restoring.engines.engine import Engine

EXECUTABLES_KEPT = 64  # in memory, over all devices

Windows = tuple[int | None, int | None]  # of the local means along rows and columns; None where they cover the image


@dataclasses.dataclass(frozen=True)
class Network:
    """What the programs of all shapes have in common."""

    config: MPRNetConfig
    dtype: str  # of the features
    stages: int
    window: int | None  # side of the window of the local means, pixels; None: means over all that the network sees
    every_stage: bool = False  # give the images of all stages, not of the last alone
    onednn: bool = False  # convolutions of oneDNN and the released sizes, instead of backends' rewrites

    def windows(self, height: int, width: int) -> Windows:
        """The windows in an image of a size; None where they cover it, and without local means."""
        return tuple(
            self.window if self.window is not None and self.window < side else None for side in (height, width)
        )


@dataclasses.dataclass(frozen=True)
class ProgramKey:
    """What one program is compiled for."""

    network: Network
    height: int  # of what it takes, multiples of 8
    width: int
    batch: int = 1
    windows: Windows | None = None
    """For parts of images, each with its offset: the windows that apply_to_part is given. None: for whole images."""

    @property
    def pixels(self) -> int:
        """That go through the program at once, of all images of the batch."""
        return self.batch * self.height * self.width


@functools.lru_cache(maxsize=EXECUTABLES_KEPT)
@standard_settings()
def compile_restoring(key: ProgramKey, device: int = 0) -> Callable[[Params, np.ndarray, np.ndarray], jax.Array]:
    """Compile for one local device, by its number: (packed params, images N H W 3, offsets N 4 int32) -> N H W 3.

    With every_stage N H W 3S: the images of all S stages behind each other, that of the last stage first. Params are
    packed by dispatch.pack_params, offsets are those of apply_to_part; the restored images are float32 and not clipped.
    """
    network = key.network
    model = MPRNet(network.config, dtype=jnp.dtype(network.dtype), window=network.window)
    target = jax.local_devices()[device]
    layers = contextlib.nullcontext if network.onednn else dispatch.fast_layers

    def restore(packed: Params, images: jax.Array, offsets: jax.Array) -> jax.Array:
        params = dispatch.unpack_params(packed)
        if key.windows is None:
            with layers():
                outputs = model.apply({"params": params}, images, stages=network.stages)
            return jnp.concatenate(outputs, axis=-1) if network.every_stage else outputs[0]
        part = lambda image, offset: apply_to_part(
            model, params, image, offset, network.stages, key.windows, layers, network.every_stage
        )
        if key.batch == 1:  # not vmap: it would turn slices into gathers
            return part(images[0], offsets[0])[None]
        return jax.vmap(part)(images, offsets)

    sharding = jax.sharding.SingleDeviceSharding(target)
    on_device = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    pack = functools.partial(dispatch.pack_params, cfg=network.config, dtype=network.dtype)
    packed = jax.eval_shape(pack, abstract_params(network.config))
    params = jax.tree.map(lambda leaf: on_device(leaf.shape, leaf.dtype), packed)
    images = on_device((key.batch, key.height, key.width, 3), jnp.float32)
    offsets = on_device((key.batch, 4), jnp.int32)
    lowered = jax.jit(restore, keep_unused=True).lower(params, images, offsets)
    options = dispatch.ONEDNN_OPTIONS if network.onednn else dispatch.compiler_options(network.config)
    return dispatch.compile_with_options(lowered, options)


@dataclasses.dataclass(frozen=True)
class Job:
    """An array for a program, and where its result belongs."""

    key: ProgramKey  # with a batch of 1
    pixels: np.ndarray  # H W 3 float32
    crop: Part = (slice(None), slice(None))
    """Rows and columns of the result that are wanted."""
    orientation: Orientation = (0, False)
    """How the pixels were turned."""
    offset: Sequence[int] = (0, 0, 0, 0)
    """Where the pixels lie in their image, as apply_to_part takes it; ignored by programs for whole images."""


def run(jobs: Iterable[Job], engine: "Engine", batch: int = 1) -> Iterator[tuple[Job, np.ndarray]]:
    """Each job with its restored pixels (H W 3 or 3S float32, neither clipped nor cropped), in the order of the jobs.

    Batches go round the engine's lanes, as many at a time as there are lanes, so that each computes while the others
    do.
    """
    under_way: collections.deque[tuple[list[Job], Any]] = collections.deque()
    for number, group in enumerate(_batches(jobs, batch)):
        if len(under_way) == engine.lanes:
            yield from _collect(under_way)
        key = dataclasses.replace(group[0].key, batch=batch)
        filled = group + group[-1:] * (batch - len(group))  # the last batch is padded: no program of its own for it
        pixels = np.stack([job.pixels for job in filled])
        offsets = np.array([job.offset for job in filled], np.int32)
        under_way.append((group, engine.start(key, pixels, offsets, number % engine.lanes)))
    while under_way:
        yield from _collect(under_way)


def _batches(jobs: Iterable[Job], batch: int) -> Iterator[list[Job]]:
    """Neighbours that go through one program, up to `batch` of them."""
    for _, same in itertools.groupby(jobs, key=lambda job: job.key):
        while group := list(itertools.islice(same, batch)):
            yield group


def _collect(under_way: collections.deque[tuple[list[Job], Any]]) -> Iterator[tuple[Job, np.ndarray]]:
    group, restored = under_way.popleft()
    yield from zip(group, np.asarray(restored), strict=False)  # without what the batch was padded with
