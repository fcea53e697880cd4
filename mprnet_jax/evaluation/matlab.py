"""MATLAB files of two benchmarks: SIDD's validation blocks, and DND, in and out. The extra `evaluate`.

SIDD: ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat, one variable each, 40 x 32 x 256 x 256 x 3 uint8.
DND: info.mat and images_srgb/0001.mat .. 0050.mat, MATLAB v7.3, which is HDF5 with the axes reversed. What its server
takes is one file per image with a 1 x 20 cell `Idenoised` (single H x W x 3), `israw` and `eval_version`: after
bundle_submissions_srgb of the benchmark's own submission kit (https://noise.visinf.tu-darmstadt.de).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

SIDD_FILES = ("ValidationNoisyBlocksSrgb.mat", "ValidationGtBlocksSrgb.mat")
SIDD_VARIABLES = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
SIDD_SHAPE = "40 x 32 x 256 x 256 x 3"
SIDD_BLOCK = (256, 256, 3)
DND_BOXES = 20  # crops of each DND image
DND_EVAL_VERSION = "1.0"


def _load(path: Path, variable: str) -> np.ndarray:
    """One variable of a MATLAB file up to v7; raises UserError if it cannot be read or is not in it."""
    io = import_extra("scipy.io", "scipy", "evaluate")
    if not path.is_file():
        raise UserError(f"{path}: no such file; download it from the benchmark's page")
    try:
        found = io.loadmat(path, variable_names=[variable])
    except NotImplementedError:
        raise UserError(f"{path}: a MATLAB v7.3 file; save it again in MATLAB with -v7") from None
    except Exception as error:  # SciPy raises a dozen types for a damaged file
        raise UserError(f"{path}: not a whole MATLAB file ({_line(error)}); download it again") from error
    if variable not in found:
        raise UserError(f"{path}: has no variable {variable}; download it again, or rename the variable")
    return found[variable]


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _check_blocks(path: Path, blocks: np.ndarray, dtypes: tuple[type, ...]) -> None:
    if blocks.ndim != 5 or blocks.shape[2:] != SIDD_BLOCK or blocks.dtype not in dtypes:
        raise UserError(
            f"{path}: needs blocks of {SIDD_SHAPE} {' or '.join(np.dtype(kind).name for kind in dtypes)}, "
            f"got {_times(blocks.shape)} {blocks.dtype}; use the sRGB blocks of SIDD's validation set"
        )


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A 5-D array of blocks, by names like 0040_32: row and column, counted from 1."""

    array: np.ndarray

    @property
    def keys(self) -> list[str]:
        rows, columns = self.array.shape[:2]
        return [f"{row + 1:04d}_{column + 1:02d}" for row in range(rows) for column in range(columns)]

    def block(self, key: str) -> np.ndarray:
        row, column = (int(part) - 1 for part in key.split("_"))
        if row >= self.array.shape[0] or column >= self.array.shape[1]:
            raise UserError(f"restored blocks: no block {key} among {_times(self.array.shape)}; restore all of them")
        return self.array[row, column]


@dataclasses.dataclass(frozen=True)
class SiddBlocks:
    keys: list[str]
    noisy: Callable[[str], np.ndarray]  # key -> 256 256 3 uint8
    truth: Callable[[str], np.ndarray]
    files: list[Path]


def open_sidd(folder: Path) -> SiddBlocks:
    """Both files of SIDD's validation blocks; raises UserError for another shape or type than SIDD_SHAPE uint8."""
    files = [folder / name for name in SIDD_FILES]
    noisy, truth = (_load(path, variable) for path, variable in zip(files, SIDD_VARIABLES, strict=True))
    for path, blocks in zip(files, (noisy, truth), strict=True):
        _check_blocks(path, blocks, (np.uint8,))
    if noisy.shape != truth.shape:
        raise UserError(
            f"{files[0]}: {_times(noisy.shape)}, but {files[1].name} has {_times(truth.shape)}; download both again"
        )
    return SiddBlocks(Blocks(noisy).keys, Blocks(noisy).block, Blocks(truth).block, files)


def open_restored_sidd(path: Path) -> Blocks:
    """`Idenoised` as the official test writes it: floats in [0, 1], of the shape of the noisy blocks."""
    blocks = _load(path, "Idenoised")
    _check_blocks(path, blocks, (np.float32, np.float64))
    return Blocks(blocks)


def open_dnd(folder: Path) -> tuple[dict[str, Callable[[], np.ndarray]], list[str], list[Path]]:
    """DND's noisy crops by names like 0050_20 (float32 H W 3, read when called), refusals, and the files.

    Raises UserError if info.mat cannot be read or no image is there.
    """
    info = folder / "info.mat"
    files, refused, crops = [info], [], {}
    for number, boxes in enumerate(_dnd_boxes(info), start=1):
        path = folder / "images_srgb" / f"{number:04d}.mat"
        if not path.is_file():
            refused.append(f"{path}: no such file; download it from the benchmark's page")
            continue
        files.append(path)
        for k, box in enumerate(boxes, start=1):
            crops[f"{number:04d}_{k:02d}"] = functools.partial(_dnd_crop, path, tuple(int(edge) for edge in box))
    if not crops:
        raise UserError(f"{folder / 'images_srgb'}: none of DND's images is here; unpack the sRGB images there")
    return crops, refused, files


def _open_hdf5(path: Path):
    h5py = import_extra("h5py", "h5py", "evaluate")
    if not path.is_file():
        raise UserError(f"{path}: no such file; download it from the benchmark's page")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: not a MATLAB v7.3 file ({_line(error)}); download it again") from None


def _dnd_boxes(path: Path) -> list[np.ndarray]:
    """info.boundingboxes: for each image an array 20 4 of first row, first column, last row, last column, from 1."""
    with _open_hdf5(path) as file:
        try:
            boxes = [file[reference][()].T for reference in np.ravel(file["info"]["boundingboxes"][()])]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: has no info.boundingboxes ({_line(error)}); download it again") from None
    for number, box in enumerate(boxes, start=1):
        if box.shape != (DND_BOXES, 4):
            raise UserError(
                f"{path}: needs {DND_BOXES} x 4 boxes for each image, got {_times(box.shape)} for image {number}; "
                "download it again"
            )
    return boxes


@functools.lru_cache(maxsize=2)
def _dnd_image(path: Path) -> np.ndarray:
    with _open_hdf5(path) as file:
        if "InoisySRGB" not in file:
            raise UserError(f"{path}: has no variable InoisySRGB; use the sRGB images, not the raw ones")
        image = file["InoisySRGB"][()].T  # 3 W H in HDF5
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "f":
        raise UserError(f"{path}: needs H x W x 3 floats, got {_times(image.shape)} {image.dtype}; download it again")
    return image.astype(np.float32)


def _dnd_crop(path: Path, box: tuple[int, int, int, int]) -> np.ndarray:
    image = _dnd_image(path)
    top, left, bottom, right = box[0] - 1, box[1] - 1, box[2], box[3]
    if not (0 <= top < bottom <= image.shape[0] and 0 <= left < right <= image.shape[1]):
        raise UserError(f"{path}: a box {box} lies outside of {_times(image.shape)}; download info.mat again")
    return image[top:bottom, left:right]


def write_dnd(folder: Path, number: int, crops: Sequence[np.ndarray]) -> Path:
    """Write one image's 20 restored crops (floats in [0, 1]) as the server wants them: folder/0001.mat.

    Raises UserError unless there are 20.
    """
    io = import_extra("scipy.io", "scipy", "evaluate")
    if len(crops) != DND_BOXES:
        raise UserError(f"DND image {number:04d}: {len(crops)} of {DND_BOXES} crops were restored; no file written")
    cell = np.empty((1, DND_BOXES), dtype=object)
    for k, crop in enumerate(crops):
        cell[0, k] = np.clip(crop, 0, 1).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}.mat"
    io.savemat(path, {"Idenoised": cell, "israw": False, "eval_version": DND_EVAL_VERSION}, do_compression=True)
    return path


def dnd_images(crops: Mapping[str, np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Crops by name -> the list of each image, in order of the boxes."""
    grouped: dict[int, list[np.ndarray]] = {}
    for key in sorted(crops):
        grouped.setdefault(int(key.split("_")[0]), []).append(crops[key])
    return grouped
