"""SIDD and DND in miniature, as MATLAB writes them."""

import numpy as np
import scipy.io

from mprnet_jax.evaluation.sidd import FILES, VARIABLES


def sidd(folder, noisy=(1, 2, 256, 256, 3), truth=(1, 2, 256, 256, 3), dtype=np.uint8):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape).astype(dtype) for shape in (noisy, truth)]
    for file, variable, array in zip(FILES, VARIABLES, arrays, strict=True):
        scipy.io.savemat(folder / file, {variable: array})
    return arrays


def dnd(folder, numbers=(1, 2), missing=(), boxes=20):
    """DND in miniature, written as MATLAB v7.3 does: axes reversed, boxes behind references."""
    import h5py  # of the extra `evaluate`

    rng = np.random.default_rng(0)
    corners = np.array([[1 + k, 2, 16 + k, 25] for k in range(boxes)], np.float64)  # rows, columns; from 1, inclusive
    noisy = {number: rng.random((40, 30, 3), np.float32) for number in numbers}
    (folder / "images_srgb").mkdir(parents=True)
    with h5py.File(folder / "info.mat", "w") as file:
        references = [file.create_dataset(f"#refs#/{number}", data=corners.T).ref for number in numbers]
        file.create_dataset("info/boundingboxes", data=np.array([references], dtype=h5py.ref_dtype))
    for number in numbers:
        if number not in missing:
            with h5py.File(folder / "images_srgb" / f"{number:04d}.mat", "w") as file:
                file["InoisySRGB"] = noisy[number].T
    return noisy
