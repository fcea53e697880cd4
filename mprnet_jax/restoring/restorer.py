"""Restorer: the one object that infer, evaluate, demo and export use."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.backends import dispatch
from mprnet_jax.checkpoints.bundle import load_bundle
from mprnet_jax.checkpoints.pretrained import bundle_path
from mprnet_jax.model import SIZE_MULTIPLE, MPRNetConfig, Params
from mprnet_jax.restoring import executables, shape_buckets
from mprnet_jax.restoring.executables import Job, Program
from mprnet_jax.restoring.receptive_field import full_halo
from mprnet_jax.restoring.tiles import Tiles, pad_to, turn, turned_part, up_to_multiple
from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError

ComputeDtype = Literal["float32", "bfloat16"]
Progress = Callable[[int, int], None]  # parts of an image that are done, of how many
SMALLEST_TILE = 128  # pixels; below, the overlaps would cost more than the tiles
LARGEST_TILE = 1024  # pixels, of tile auto: overlaps grow with the tile, so a larger one would only take more memory
SMALLEST_CORE = 64  # pixels of a tile that its halo must leave
REFERENCE_SIDE = 256  # pixels of the program that tells how much memory larger ones need
COMPILED_AT_ONCE = 2**20  # pixels; the program for a smaller image is compiled without asking, most likely it fits
LARGEST_FLOAT = 4.0  # noise may reach out of [0, 1], but not this far: such an array is in another range
ROWS_AT_ONCE = 256  # of an image, where whole copies would fill the memory
SHAPES = 8  # that pictures of many sizes are padded to


@dataclasses.dataclass(frozen=True)
class Restorer:
    """A network with its weights and how they are used; calling it restores an image.

    Examples:
        >>> restorer = Restorer.from_pretrained("denoising")
        >>> clean = restorer("noisy.jpg")
    """

    config: MPRNetConfig
    params: Params
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Where the weights come from, and their licence."""
    dtype: ComputeDtype = "float32"
    """What the features are computed in."""
    stages: int = 3
    """After 1 or 2 stages the image is a little worse, and much sooner there: later stages are not computed."""
    tlc: bool = False
    """Channel attention by means over 1.5 x the training patch (arXiv:2112.04491) instead of over the whole image."""
    patch_size: int | None = None
    """Side of the training patch in pixels, for tlc; None: what the bundle says."""
    self_ensemble: bool = False
    """Mean over the eight flips and rotations of the image, for eight times the time."""
    tile: int | Literal["auto", "whole"] = "auto"
    """Side of the tiles in pixels; whole: the image at once; auto: the whole image if it fits in memory, else the
    largest tiles that do."""
    overlap: int | None = None
    """Pixels that tiles share at least; None: an eighth of the tile."""
    halo: int | Literal["full"] | None = None
    """With tlc: tiles are cut where the image is cut, see this many pixels around what they restore, and stand side by
    side. full: as many as the network sees (thousands), so that tiles equal the whole image to float rounding; tiles
    then need as much memory. None: tiles that overlap and blend, each with its own cuts and means.
    On one photo of 512 x 768 with the light denoiser, a halo of 96 came within 3e-4 of the whole image, 128 within
    4e-5; other weights and photos may differ."""
    shapes: tuple[tuple[int, int], ...] = ()
    """Heights and widths, multiples of 8, that whole images are put into, so that one program serves many sizes: the
    same result to float rounding. Empty: a program for each size. See for_sizes."""
    devices: tuple[int, ...] = (0,)
    """Numbers of the local devices that the tiles of an image are spread over."""
    batch: int = 1
    """Tiles that a device restores at once; meant for GPUs and TPUs, where it has not been tuned."""
    memory_share: float = memory.SHARE
    """Of the memory that is free, the share that tile auto may plan with: less where several processes do so."""

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"dtype must be float32 or bfloat16, got {self.dtype!r}")
        if self.patch_size is not None and self.patch_size < 1:
            raise UserError(f"patch_size must be a positive number of pixels, got {self.patch_size}")
        if self.stages not in (1, 2, 3):
            raise UserError(f"stages must be 1, 2 or 3, got {self.stages}")
        if isinstance(self.tile, int):
            if self.tile < 16 or self.tile % SIZE_MULTIPLE:
                raise UserError(f"tile must be a multiple of {SIZE_MULTIPLE} of at least 16 pixels, got {self.tile}")
            if self.overlap is not None and not 0 <= self.overlap <= self.tile // 2:
                raise UserError(f"overlap must be in 0..{self.tile // 2}, half of the tile; got {self.overlap}")
        elif self.tile not in ("auto", "whole"):
            raise UserError(f"tile must be auto, whole or a number of pixels, got {self.tile!r}")
        elif self.overlap is not None:
            raise UserError("overlap goes with a tile of your own; give the tile, too")
        if self.halo is not None and (self.overlap is not None or not self.tlc):
            raise UserError("halo goes with tlc, which makes the network local, and without overlap")
        if self.halo not in (None, "full") and not (isinstance(self.halo, int) and self.halo >= 0):
            raise UserError(f"halo must be full or a number of pixels, got {self.halo!r}")
        if any(side % SIZE_MULTIPLE or side < 2 * SIZE_MULTIPLE for shape in self.shapes for side in shape):
            raise UserError(f"shapes must be multiples of {SIZE_MULTIPLE} of at least 16 pixels, got {self.shapes}")
        if not self.devices or not set(self.devices) <= set(range(jax.local_device_count())):
            raise UserError(f"devices must be in 0..{jax.local_device_count() - 1}, got {self.devices}")
        if self.batch < 1:
            raise UserError(f"batch must be at least 1, got {self.batch}")
        if self.tlc and self.window is None:
            raise UserError("the checkpoint does not say which patches it was trained on; tlc needs patch_size")

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> "Restorer":
        """A task whose weights ship with the package ("denoising"), or the folder of a bundle; options are fields.

        Raises UserError if there is no such task or bundle, or for an option that cannot be.
        """
        bundle = load_bundle(bundle_path(name_or_path))
        return cls(bundle.config, bundle.params, bundle.provenance, **options)

    @property
    def window(self) -> int | None:
        """Side of the window of the local means in pixels; None without tlc, or if the patch size is not known."""
        patch_size = self.patch_size or self.provenance.get("patch_size")
        return patch_size * 3 // 2 if self.tlc and patch_size else None

    def __call__(
        self, image: np.ndarray | Image.Image | str | Path, progress: Progress | None = None
    ) -> np.ndarray | Image.Image:
        """Restore one image of any size from 1 x 1; the answer has its size.

        - H W 3 array of uint8, or of uint16 -> an array of the same type
        - H W 3 float array in [0, 1] -> H W 3 float32 array in [0, 1]
        - path of a picture -> H W 3 uint8 array, uint16 if the picture has 16 bits a channel
        - PIL image -> PIL image, RGB

        `progress(done, total)` is called after every tile; the whole image counts as one, and the self-ensemble counts
        each eight times.

        Raises UserError for an array of another shape, another type, or with values that are not finite, and for a
        file that cannot be read.
        """
        if isinstance(image, str | Path):
            return self(images.open_picture(image).pixels, progress)
        if isinstance(image, Image.Image):
            return Image.fromarray(self(np.asarray(image.convert("RGB")), progress))
        if not isinstance(image, np.ndarray):
            raise UserError(f"an image must be a NumPy array, a PIL image or a path; got {type(image).__name__}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UserError(f"an image array must be height x width x 3 (RGB); got shape {image.shape}")
        _check_values(image)
        rounded = {np.dtype(np.uint8): images.to_uint8, np.dtype(np.uint16): images.to_uint16}.get(image.dtype)
        result = np.empty(image.shape, image.dtype if rounded else np.float32)

        def finish(first_row: int, rows: np.ndarray) -> None:
            for begin in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[begin : begin + ROWS_AT_ONCE]
                to = slice(first_row + begin, first_row + begin + len(some))
                result[to] = rounded(some) if rounded else np.clip(some, 0, 1)

        tiles = self.plan(*image.shape[:2])
        tiles.blend(self._restored(image, tiles, progress or (lambda done, total: None)), finish)
        return result

    def plan(self, height: int, width: int) -> Tiles:
        """The tiles that an image of a size is restored in. If tile is auto, a program is compiled to learn how much
        memory it needs.

        Raises UserError if the memory or the tile is too small for the halo.
        """
        whole = up_to_multiple(max(height, width), SIZE_MULTIPLE)
        halo = 0
        if self.halo is not None:
            full = full_halo(self.config, self.window, self.stages)
            halo = up_to_multiple(full if self.halo == "full" else min(self.halo, full), SIZE_MULTIPLE)
        if self.tile == "auto":
            tile = self._largest_tile(height, width, halo)
        else:
            tile = whole if self.tile == "whole" else self.tile
        if tile >= whole:
            return Tiles(height, width, whole, 0)
        if self.halo is None:
            return Tiles(height, width, tile, tile // 8 if self.overlap is None else self.overlap)
        least = max(self._least_tile(halo), self.window)
        if tile < least:
            raise UserError(
                f"a halo of {halo} pixels needs tiles of at least {least} pixels, not {tile}; give a larger tile, or a "
                f"smaller halo (one window, {self.window} pixels, comes near)"
            )
        return Tiles(height, width, tile, 0, halo)

    def for_sizes(self, sizes: Iterable[tuple[int, int]], count: int = SHAPES) -> "Restorer":
        """A restorer that serves images of these heights and widths with about `count` programs.

        Where images share a program, they are padded, and the network is told where they end: slower by the padding,
        the same result to float rounding. Where there are no more than `count` sizes, each has its own program.
        """
        padded = {tuple(max(16, up_to_multiple(side, SIZE_MULTIPLE)) for side in size) for size in sizes}
        return dataclasses.replace(self, shapes=shape_buckets.choose(padded, count) if len(padded) > count else ())

    def on_each_device(self) -> list["Restorer"]:
        """One restorer for each of `devices`, for threads that restore an image each."""
        return [dataclasses.replace(self, devices=(device,)) for device in self.devices]

    def program_bytes(self, height: int, width: int) -> int:
        """Memory that restoring H x W pixels (multiples of 8) at once takes, beyond the image itself, in bytes."""
        return memory.needed_bytes(executables.compiled(self._program(height, width), self.devices[0]))

    @functools.cached_property
    def _sizes(self) -> MPRNetConfig:
        """The sizes that the network is computed in."""
        return dispatch.faster_config(self.config, self.dtype)

    @functools.cached_property
    def _params(self) -> list[Params]:
        """The parameters on each device, as programs take them."""
        packed = dispatch.pack_params(self.params, self._sizes, self.dtype)
        return [jax.device_put(packed, jax.local_devices()[device]) for device in self.devices]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _program(self, height: int, width: int, windows: tuple[int | None, int | None] | None = None) -> Program:
        return Program(self._sizes, self.dtype, self.stages, self.window, height, width, windows=windows)

    def _windows(self, height: int, width: int) -> tuple[int | None, int | None]:
        """The windows in an image of a size; None where they cover it, and without tlc."""
        return tuple(
            self.window if self.window is not None and self.window < side else None for side in (height, width)
        )

    def _least_tile(self, halo: int) -> int:
        return 2 * halo + SMALLEST_CORE + SIZE_MULTIPLE

    def _largest_tile(self, height: int, width: int, halo: int) -> int:
        padded = tuple(up_to_multiple(side, SIZE_MULTIPLE) for side in (height, width))
        shape = shape_buckets.smallest(self.shapes, *padded)
        free = memory.available_bytes() * self.memory_share
        if jax.default_backend() == "cpu":  # its devices share the machine's memory
            free /= len(self.devices)
        if shape is None and padded[0] * padded[1] <= COMPILED_AT_ONCE:
            per_pixel = self.program_bytes(*padded) / (padded[0] * padded[1])
        else:
            shape = shape or padded
            per_pixel = self._bytes_per_pixel(exact=False)
        if per_pixel * math.prod(shape or padded) <= free:
            return max(padded)
        if halo:
            per_pixel = self._bytes_per_pixel(exact=True)
        side = min(math.sqrt(free / self.batch / per_pixel), max(LARGEST_TILE, 4 * halo))
        if side <= SMALLEST_TILE:
            return SMALLEST_TILE
        step = 2 ** (int(math.log2(side)) - 3)  # a few sizes, so that free memory may change without a new program
        return int(side) // step * step

    def _bytes_per_pixel(self, exact: bool) -> float:
        """Memory that restoring takes, for tiles with or without exact borders: in proportion to the pixels."""
        if exact:
            side = up_to_multiple(max(REFERENCE_SIDE, self.window), SIZE_MULTIPLE)
            reference = self._program(side, side, (self.window, self.window))
        else:
            reference = self._program(REFERENCE_SIDE, REFERENCE_SIDE)
        return memory.needed_bytes(executables.compiled(reference, self.devices[0])) / reference.pixels

    def _restored(self, image: np.ndarray, tiles: Tiles, progress: Progress) -> Iterator[np.ndarray]:
        """The restored pixels of each tile, float32, not clipped."""
        turns = [(quarters, flipped) for quarters in range(4) for flipped in (False, True)]
        turns = turns if self.self_ensemble else turns[:1]
        crops: list[tuple[slice, slice]] = []  # of the jobs that are under way

        def jobs() -> Iterator[Job]:
            for part in tiles.parts():
                for way in turns:
                    job, crop = self._job(turn(image, *way), turned_part(part, image.shape[:2], *way), tiles)
                    crops.append(crop)
                    yield job

        done, total = 0, len(tiles) * len(turns)
        results = executables.run(jobs(), self._params, self.devices, min(self.batch, total))
        for _ in range(len(tiles)):
            parts = []
            for quarters, flipped in turns:
                restored = next(results)[crops.pop(0)]
                parts.append(turn(restored, quarters, flipped, back=True))
                done += 1
                progress(done, total)
            yield parts[0] if len(parts) == 1 else sum(parts) / len(parts)

    def _job(self, image: np.ndarray, part: tuple[slice, slice], tiles: Tiles) -> tuple[Job, tuple[slice, slice]]:
        """What to compute for a part of an image, and where in its result the part is."""
        sides = tuple(up_to_multiple(side, SIZE_MULTIPLE) for side in image.shape[:2])
        if tiles.halo == 0 and (len(tiles) > 1 or not self.shapes):
            # Tiles are equal but at the borders of small images; padding there keeps it to one compiled program.
            size = tuple(min(side, tiles.tile) for side in sides)
            height, width = (where.stop - where.start for where in part)
            pixels = pad_to(images.to_float(image[part]), *size)
            return Job(self._program(*size), pixels), (slice(height), slice(width))
        windows = self._windows(*sides)
        if len(tiles) == 1:
            shape = shape_buckets.smallest(self.shapes, *sides) or sides
            pixels = np.zeros((*shape, 3), np.float32)
            pixels[: sides[0], : sides[1]] = pad_to(images.to_float(image), *sides)
            return Job(self._program(*shape, windows), pixels, (0, sides[0], 0, sides[1])), part
        size = tuple(min(side, tiles.tile) for side in sides)
        begins = tuple(
            max(0, min((where.start - tiles.halo) // SIZE_MULTIPLE * SIZE_MULTIPLE, side - seen))
            for where, side, seen in zip(part, sides, size, strict=True)
        )
        seen = tuple(slice(begin, begin + length) for begin, length in zip(begins, size, strict=True))
        pixels = pad_to(images.to_float(image[seen]), *size)
        crop = tuple(slice(where.start - begin, where.stop - begin) for where, begin in zip(part, begins, strict=True))
        return Job(self._program(*size, windows), pixels, (begins[0], sides[0], begins[1], sides[1])), crop


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
