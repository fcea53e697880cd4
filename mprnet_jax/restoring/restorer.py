"""Restorer: weights and options; calling it restores an image."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.checkpoints.pretrained import bundle_path
from mprnet_jax.checkpoints.provenance import Provenance
from mprnet_jax.model import SIZE_MULTIPLE, MPRNetConfig, Params
from mprnet_jax.restoring import guard, shape_buckets, strength
from mprnet_jax.restoring.engines import executables
from mprnet_jax.restoring.engines.engine import TITLES, Engine, EngineName, choose_engine, fastest_dtype
from mprnet_jax.restoring.engines.executables import Network
from mprnet_jax.restoring.engines.openvino import OpenVinoEngine
from mprnet_jax.restoring.engines.xla import XlaEngine
from mprnet_jax.restoring.image_jobs import image_jobs, to_unit_range
from mprnet_jax.restoring.options import COMPUTED_IN, SMALLEST_SIDE, RestoreOptions
from mprnet_jax.restoring.orientations import ORIENTATIONS, Orientation, turn
from mprnet_jax.restoring.padding import up_to_multiple
from mprnet_jax.restoring.tile_planner import TilePlanner
from mprnet_jax.restoring.tiles import Tiles
from mprnet_jax.runtime.devices import cores
from mprnet_jax.runtime.forks import check_not_forked
from mprnet_jax.runtime.jax_settings import check_devices
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path

Progress = Callable[[int, int], None]  # parts of an image that are done, of how many
LARGEST_FLOAT = 4.0  # noise may reach out of [0, 1], but not this far: such an array is in another range
Fallback = Callable[[np.ndarray], None]
"""Called with a map of an image, H W float32, where the guard fell back: 0 the network's result to 1 the input."""
ROWS_AT_ONCE = 256  # of an image, where whole copies would fill the memory
FLOAT = np.dtype(np.float32)
SHAPES = 8  # that pictures of many sizes are padded to


@dataclasses.dataclass(frozen=True, eq=False)  # equal is what is the same object: arrays are not compared
class Restorer:
    """A network with its weights, and the options with which they are used; calling it restores an image.

    Examples:
        >>> restorer = Restorer.from_pretrained("denoising")
        >>> clean = restorer("noisy.jpg")
    """

    config: MPRNetConfig
    params: Params = dataclasses.field(repr=False)
    provenance: Provenance = dataclasses.field(default_factory=Provenance)
    """Where the weights come from, and their licence; a mapping becomes a Provenance. What restoring reads of it:
    `patch_size` (pixels, of training) and the orientations under which the task is unchanged."""
    options: RestoreOptions = dataclasses.field(default_factory=RestoreOptions)

    def __post_init__(self) -> None:
        check_not_forked()
        if not isinstance(self.provenance, Provenance):
            try:
                object.__setattr__(self, "provenance", Provenance.from_json(self.provenance))
            except ValueError as error:
                raise UserError(str(error)) from error
        check_devices()
        count = jax.local_device_count()
        if not self.devices or not set(self.devices) <= set(range(count)):
            raise UserError(f"devices must be in 0..{count - 1}, got {self.options.devices}")
        if self.options.tlc and self.window is None:
            raise UserError(
                "the checkpoint does not say which patches it was trained on; tlc needs patch_size: give the side of "
                "the training patch (--patch-size 256 for the official checkpoints)"
            )

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, options: RestoreOptions | None = None, **changed: Any
    ) -> "Restorer":
        """A task whose weights ship with the package ("denoising"), or the folder of a bundle.

        `options`, or single fields of RestoreOptions by name: from_pretrained("denoising", stages=1, tile=512).
        Raises UserError if there is no such task or bundle, or for an option that cannot be.
        """
        check_not_forked()
        options = (options or RestoreOptions()).replace(**changed)
        bundle = load_bundle(bundle_path(name_or_path))
        return cls(bundle.config, bundle.params, bundle.provenance, options)

    def with_options(self, **changed: Any) -> "Restorer":
        """The same weights with other options, by the names of RestoreOptions' fields. Raises UserError."""
        return dataclasses.replace(self, options=self.options.replace(**changed))

    @property
    def window(self) -> int | None:
        """Side of the window of the local means in pixels; None without tlc, or if the patch size is not known."""
        patch_size = self.options.patch_size or self.provenance.patch_size
        return patch_size * 3 // 2 if self.options.tlc and patch_size else None

    @property
    def devices(self) -> tuple[int, ...]:
        """Numbers of the local devices that the tiles of an image are spread over."""
        asked = self.options.devices
        return (0,) if asked is None else tuple(range(asked)) if isinstance(asked, int) else asked

    @property
    def orientations(self) -> tuple[Orientation, ...]:
        """Those that self_ensemble averages over: under which the task of the weights is the same."""
        return tuple(ORIENTATIONS[name] for name in self.provenance.unchanged_under)

    @property
    def is_guarded(self) -> bool:
        """Whether parts that went astray fall back: the limits are those of the three tasks, not of any network."""
        return self.options.guard and self._task in guard.LIMITS

    @property
    def gives_texture_back(self) -> bool:
        """Whether a strength below 1 weighs by texture: what these weights take out is noise."""
        return self._task == strength.TEXTURE_TASK

    @property
    def _task(self) -> str | None:
        return self.provenance.task or self.provenance.official

    def __call__(self, image: Any, progress: Progress | None = None, on_fallback: Fallback | None = None) -> Any:
        """Restore one image of any size from 1 x 1; the answer has its size.

        - H W 3 array of uint8, or of uint16 -> an array of the same type
        - H W 3 float array in [0, 1] (beyond it clipped) -> H W 3 float32 array in [0, 1]
        - the same as a jax.Array, or a torch.Tensor on the CPU -> NumPy array, as above
        - path of a picture -> H W 3 uint8 array, uint16 if the picture has 16 bits a channel
        - PIL image -> PIL image, upright, with its alpha, profile, EXIF and, where it is grey, its depth
        - list of any of these -> list

        `progress(done, total)` is called after every tile; the whole image counts as one, and the self-ensemble counts
        each as many times as there are orientations. `on_fallback(map)` is called for an image in which the guard fell
        back somewhere; without it that is a warning.

        Raises UserError for an array of another shape, another type, or with values that are not finite, for a file
        that cannot be read, inside jax.jit, and in a process that was forked after JAX had started.
        """
        check_not_forked()
        if isinstance(image, list | tuple):
            return [self._restore_one(one, progress, on_fallback) for one in image]
        return self._restore_one(image, progress, on_fallback)

    def _restore_one(self, image: Any, *calls: Any) -> np.ndarray | Image.Image:
        if isinstance(image, str | Path):
            return self._restore_array(images.open_picture(as_path(image)).pixels, *calls)
        if isinstance(image, Image.Image):
            picture = images.from_pil(image)
            # Grey is the mean of three restored channels: rounded once, at the end.
            pixels = picture.pixels if picture.mode == "rgb" else images.to_float(picture.pixels)
            return images.to_pil(self._restore_array(pixels, *calls), picture)
        return self._restore_array(_as_array(image), *calls)

    def _restore_array(self, image: np.ndarray, progress: Progress | None, on_fallback: Fallback | None) -> np.ndarray:
        """H W 3 -> H W 3."""
        if self.options.dtype == "auto":
            return self.for_pixels(image.dtype)._restore_array(image, progress, on_fallback)
        _check_values(image)
        rounded = {np.dtype(np.uint8): images.to_uint8, np.dtype(np.uint16): images.to_uint16}.get(image.dtype)
        luminance, colour = self.options.strengths
        if luminance == colour == 0:
            return image.copy() if rounded else np.clip(image, 0, 1).astype(np.float32)
        partly = (luminance, colour) != (1, 1)
        result = np.empty(image.shape, image.dtype if rounded and not partly else np.float32)

        def finish(first_row: int, rows: np.ndarray) -> None:
            for begin in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[begin : begin + ROWS_AT_ONCE]
                to = slice(first_row + begin, first_row + begin + len(some))
                result[to] = rounded(some) if rounded and not partly else np.clip(some, 0, 1)

        tiles = self.plan(*image.shape[:2])
        fallbacks = guard.Fallbacks(image.shape[:2])
        tiles.blend(self._restored_tiles(image, tiles, progress, fallbacks), finish)
        fallbacks.tell(on_fallback)
        if not partly:
            return result
        # Of the whole picture, not of tiles: its sigmas are the same everywhere, so there is no seam.
        result = strength.partly(to_unit_range(image), result, luminance, colour, self.gives_texture_back)
        return rounded(result) if rounded else result

    def _restored_tiles(
        self, image: np.ndarray, tiles: Tiles, progress: Progress | None, fallbacks: guard.Fallbacks
    ) -> Iterator[np.ndarray]:
        """The restored pixels of each tile, float32, not clipped: the mean over the orientations."""
        orientations = self.orientations if self.options.self_ensemble else (ORIENTATIONS["rot0"],)
        every_part = list(tiles.parts())
        total = len(tiles) * len(orientations)
        height, width = map(min, image.shape[:2], tiles.tile)
        network = self._network_for(len(tiles) * height * width)
        jobs = image_jobs(image, tiles, orientations, network, self.options.shapes)
        batch = min(self.options.batch, total)
        parts: list[np.ndarray] = []
        for done, (job, pixels) in enumerate(executables.run(jobs, self._engine, batch), 1):
            restored = pixels[job.crop]
            if self.is_guarded:
                stages = [restored[..., first : first + 3] for first in range(0, restored.shape[2], 3)][::-1]
                restored, fell_back = guard.guarded(job.pixels[job.crop], stages, guard.LIMITS[self._task])
                if fell_back is not None:
                    upright = turn(fell_back[..., None], *job.orientation, back=True)[..., 0]
                    fallbacks.add(every_part[(done - 1) // len(orientations)], upright)
            parts.append(turn(restored, *job.orientation, back=True))
            if progress is not None:
                progress(done, total)
            if len(parts) == len(orientations):
                yield parts[0] if len(parts) == 1 else sum(parts) / len(parts)
                parts = []

    def plan(self, height: int, width: int) -> Tiles:
        """The tiles that an image of a size is restored in; see TilePlanner.plan. For dtype auto, those of float32."""
        return self.for_pixels(FLOAT)._planner.plan(height, width)

    def program_bytes(self, height: int, width: int) -> int:
        """Memory that restoring H x W pixels (multiples of 8) at once takes, beyond the image itself, in bytes."""
        return self.for_pixels(FLOAT)._planner.program_bytes(height, width)

    def for_sizes(self, sizes: Iterable[tuple[int, int]], count: int = SHAPES) -> "Restorer":
        """A restorer that serves images of these heights and widths, one each, with about `count` programs.

        Where images share a program, they are padded, and the network is told where they end: slower by the padding,
        the same result to float rounding. Where there are no more than `count` sizes, each has its own program, and so
        it is with OpenVINO, whose graph takes all.
        """
        if self.engine_name == "openvino":
            return self
        sizes = list(sizes)
        upright = set(sizes)
        turned = any(quarters % 2 for quarters, _ in self.orientations) and self.options.self_ensemble
        every = upright | ({size[::-1] for size in upright} if turned else set())
        padded = {tuple(max(SMALLEST_SIDE, up_to_multiple(side, SIZE_MULTIPLE)) for side in size) for size in every}
        shapes = shape_buckets.choose_shapes(padded, count) if len(padded) > count else ()
        programs = max(1, len(shapes or padded)) * len(self.devices)
        return self.with_options(shapes=shapes, uses=max(1, len(sizes) // programs))

    def on_each_device(self) -> list["Restorer"]:
        """One restorer for each of `devices`, for threads that restore an image each; on a CPU they share memory."""
        share = self.options.memory_share / (len(self.devices) if dispatch.is_cpu() else 1)
        return [self.with_options(devices=(device,), memory_share=share) for device in self.devices]

    @functools.cached_property
    def engine_name(self) -> EngineName:
        """The engine that computes; local means (tlc), and shapes that images are padded to, are XLA's alone."""
        options = self.options
        return choose_engine(options.engine, local=options.tlc or bool(options.shapes))

    def for_pixels(self, dtype: np.dtype[Any]) -> "Restorer":
        """This restorer, or where its dtype is auto, the one that restores pixels of a type: see fastest_dtype."""
        if self.options.dtype != "auto":
            return self
        return self._of_dtype[fastest_dtype(self.engine_name, dtype)]

    @property
    def computed_by(self) -> str:
        """Engine and dtype, for people: "OpenVINO, bfloat16"."""
        of_8_bits, of_16_bits = (self.for_pixels(np.dtype(dtype)).options.dtype for dtype in (np.uint8, np.uint16))
        apart = "" if of_8_bits == of_16_bits else f" ({of_16_bits} for pictures of 16 bits)"
        return f"{TITLES[self.engine_name]}, {of_8_bits}{apart}"

    @functools.cached_property
    def _of_dtype(self) -> dict[str, "Restorer"]:
        return {dtype: self.with_options(dtype=dtype) for dtype in COMPUTED_IN}

    @functools.cached_property
    def _network(self) -> Network:
        options = self.options
        sizes = dispatch.faster_config(self.config, options.dtype) if self.engine_name == "xla" else self.config
        return Network(sizes, options.dtype, options.stages, self.window, every_stage=self.is_guarded)

    def _network_for(self, pixels: int) -> Network:
        """The network, in the form that is fastest for images of so many pixels, all tiles counted."""
        pixels *= self.options.uses * (len(self.orientations) if self.options.self_ensemble else 1)
        if self.engine_name == "xla" and dispatch.prefers_onednn(self.options.dtype, pixels):
            return dataclasses.replace(self._network, config=self.config, onednn=True)
        return self._network

    @functools.cached_property
    def _planner(self) -> TilePlanner:
        return TilePlanner(self._network, self.options, self._engine, self._network_for)

    @functools.cached_property
    def _engine(self) -> Engine:
        if self.engine_name == "xla":
            return XlaEngine(self._network, self.params, self.devices)
        # Commands cut a CPU into parts as devices of JAX, to restore a picture on each.
        threads = max(1, cores() * len(self.devices) // jax.local_device_count())
        return OpenVinoEngine(self._network, self.params, self.options.engine_device, threads)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _as_array(image: Any) -> np.ndarray:
    """H W 3 NumPy array of what is one, or holds one. Raises UserError that says what to do."""
    if isinstance(image, jax.core.Tracer):
        raise UserError(
            "a Restorer compiles by itself and cannot be used inside jax.jit, vmap or grad; call it with an array, or "
            "use the network: MPRNet(restorer.config).apply"
        )
    if not isinstance(image, np.ndarray) and not hasattr(image, "__array__"):
        raise UserError(f"an image must be an array, a PIL image or a path; got {type(image).__name__}")
    try:
        array = np.asarray(image)
    except (TypeError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the image, a {type(image).__name__}, cannot be seen as a NumPy array ({reason}); of a PyTorch tensor "
            "give tensor.detach().float().cpu().numpy()"
        ) from error
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        hint = ""
        if array.ndim == 3 and array.shape[0] == 3:
            hint = "; move the channels to the end: transpose(1, 2, 0), of a tensor permute(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; for several images give a list of them"
        raise UserError(f"an image array must be height x width x 3 (RGB); got shape {array.shape}{hint}")
    if array.dtype.name == "bfloat16":  # of JAX; no floating type in NumPy's eyes
        array = array.astype(np.float32)
    return array


def _check_values(image: np.ndarray) -> None:
    """Refuse an array of another type or range, a few rows at a time: a photo may fill half of the memory."""
    images.to_float(image[:1, :1])  # refuses other types
    if not np.issubdtype(image.dtype, np.floating):
        return
    largest = 0.0
    for first in range(0, len(image), ROWS_AT_ONCE):
        rows = image[first : first + ROWS_AT_ONCE]
        if not np.isfinite(rows).all():
            raise UserError("the image array has values that are not finite (NaN or infinity); replace them first")
        largest = max(largest, float(np.abs(rows).max()))
    if largest > LARGEST_FLOAT:
        raise UserError(
            f"a float image array must be in about [0, 1]; this one has values up to {largest:g}, "
            "divide it by its white (255, for example)"
        )
