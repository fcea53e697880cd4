"""DND (https://noise.visinf.tu-darmstadt.de): its noisy crops in, and the files that its server takes out.

In: info.mat and images_srgb/0001.mat .. 0050.mat, MATLAB v7.3, which is HDF5 with the axes reversed. Out: one file for
each image with a 1 x 20 cell `Idenoised` (single H x W x 3), `israw` and `eval_version`, after bundle_submissions_srgb
of the benchmark's own submission kit.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mprnet_jax.evaluation import matlab
from mprnet_jax.evaluation.matlab import shape_text
from mprnet_jax.images.formats.codec import MAX_PIXELS
from mprnet_jax.support.errors import UserError

BOXES = 20  # crops of each image
IMAGES = 50
EVAL_VERSION = "1.0"


def open_crops(folder: Path) -> tuple[dict[str, Callable[[], np.ndarray]], list[str], list[Path]]:
    """The noisy crops by names like 0050_20 (float32 H W 3, read when called), refusals, and the files.

    An image that cannot be read, whose boxes cannot be used, or that is not there is one refusal. Raises UserError if
    info.mat cannot be read or no image is there.
    """
    info = folder / "info.mat"
    files, refused, crops = [info], [], {}
    for number, boxes in enumerate(_boxes(info), start=1):
        path = folder / "images_srgb" / f"{number:04d}.mat"
        try:
            height, width, _ = _image_shape(path)
            for box in boxes:
                if not (0 < box[0] < box[2] <= height and 0 < box[1] < box[3] <= width):
                    raise UserError(
                        f"{path}: a box {tuple(map(int, box))} of info.mat lies outside of {height} x {width}; "
                        "download both again"
                    )
        except UserError as error:
            refused.append(str(error))
            continue
        files.append(path)
        for k, box in enumerate(boxes, start=1):
            crops[f"{number:04d}_{k:02d}"] = functools.partial(_crop, path, tuple(map(int, box)))
    if not crops:
        first = f"; the first: {refused[0]}" if refused else ""
        raise UserError(f"{folder / 'images_srgb'}: not one of DND's sRGB images can be used{first}")
    return crops, refused, files


def _boxes(path: Path) -> list[np.ndarray]:
    """info.boundingboxes: for each image an array 20 4 of first row, first column, last row, last column, from 1."""
    with matlab.open_hdf5(path) as file:
        references = matlab.stored(file, "info/boundingboxes")
        if not 0 < references.size <= IMAGES:
            raise UserError(
                f"{path}: needs boxes of at most {IMAGES} images, got {references.size:,}; download it again"
            )
        found = [file[reference] for reference in np.ravel(references[()])]
        for number, boxes in enumerate(found, start=1):
            if boxes.shape != (4, BOXES):
                raise UserError(
                    f"{path}: needs {BOXES} x 4 boxes for each image, got {shape_text(boxes.shape[::-1])} for image "
                    f"{number}; download it again"
                )
        arrays = [boxes[()].T.astype(np.float64) for boxes in found]
    for number, boxes in enumerate(arrays, start=1):
        if not np.isfinite(boxes).all():
            raise UserError(f"{path}: a box of image {number} is not of numbers; download it again")
    return arrays


def _image_shape(path: Path) -> tuple[int, int, int]:
    """Height, width and 3 of InoisySRGB, before its pixels are read. Raises UserError for anything else."""
    with matlab.open_hdf5(path) as file:
        if "InoisySRGB" not in file:
            raise UserError(f"{path}: has no variable InoisySRGB; use the sRGB images, not the raw ones")
        array = matlab.stored(file, "InoisySRGB")
        shape = tuple(array.shape[::-1])  # 3 W H in HDF5
        if len(shape) != 3 or shape[2] != 3 or array.dtype.kind != "f" or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
            raise UserError(f"{path}: needs H x W x 3 floats, got {shape_text(shape)} {array.dtype}; download it again")
    return shape


@functools.lru_cache(maxsize=2)
def _image(path: Path) -> np.ndarray:
    _image_shape(path)
    with matlab.open_hdf5(path) as file:
        image = file["InoisySRGB"][()].T.astype(np.float32)
    if not np.isfinite(image).all():
        raise UserError(f"{path}: has pixels that are not finite numbers; download it again")
    return image


def _crop(path: Path, box: tuple[int, int, int, int]) -> np.ndarray:
    top, left, bottom, right = box
    return _image(path)[top - 1 : bottom, left - 1 : right]


def write_submission(folder: Path, number: int, crops: Sequence[np.ndarray]) -> Path:
    """Write one image's 20 restored crops (floats in [0, 1]) as the server wants them: folder/0001.mat.

    Raises UserError unless there are 20, or if the file cannot be written.
    """
    if len(crops) != BOXES:
        raise UserError(f"DND image {number:04d}: {len(crops)} of {BOXES} crops were restored; no file written")
    cell = np.empty((1, BOXES), dtype=object)
    for k, crop in enumerate(crops):
        cell[0, k] = np.clip(crop, 0, 1).astype(np.float32)
    path = folder / f"{number:04d}.mat"
    matlab.write(path, {"Idenoised": cell, "israw": False, "eval_version": EVAL_VERSION})
    return path
