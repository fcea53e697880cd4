"""Maps for the report: where the guard fell back in a picture."""

import hashlib
import os
from pathlib import Path

import numpy as np
from PIL import Image

from mprnet_jax import images
from mprnet_jax.batch.jobs import REPORT_COPIES, Job
from mprnet_jax.support.atomic_files import whole_file

LONGEST_SIDE = 400  # pixels


def key(output: Path, job: Job) -> str:
    """How the names of a result's files in the report's folder begin."""
    return hashlib.sha256(os.fsencode(job.result.relative_to(output))).hexdigest()[:16]


def path_of(output: Path, job: Job) -> Path:
    """Where the map of a result is, if it has one. One that is older than the result is of an earlier one."""
    return output / REPORT_COPIES / f"{key(output, job)}_guard.png"


def write(output: Path, job: Job, fell_back: np.ndarray) -> None:
    """Write the map of a result (H W, 0 to 1), small: black where the network's result is, white where the input is.

    Raises OSError.
    """
    picture = Image.fromarray(images.to_uint8(fell_back))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    with whole_file(path_of(output, job)) as temporary:
        picture.save(temporary, "PNG")
