"""From a source of pictures to batches, through Grain.

The same seed gives the same batches, for any number of threads, and a run that is resumed at a step goes on with the
batch that it would have had.
"""

from collections.abc import Callable, Iterator

import grain
import numpy as np

from mprnet_jax import images
from mprnet_jax.data.augment import ORIENTATIONS, orient, random_crop
from mprnet_jax.data.sources import CleanPhotos
from mprnet_jax.errors import UserError

Batch = dict[str, np.ndarray]  # "input" and "target": N H W 3 float32 in [0, 1]
Degradation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
BATCHES_AHEAD = 4  # prepared while a step runs


class CropAndDegrade(grain.transforms.RandomMap):
    """A picture -> a random square of it in a random orientation, clean and degraded."""

    def __init__(self, patch_size: int, degradation: Degradation) -> None:
        self.patch_size = patch_size
        self.degradation = degradation

    def random_map(self, example: Batch, rng: np.random.Generator) -> Batch:
        target = random_crop(example["target"], self.patch_size, rng)
        target = np.ascontiguousarray(orient(target, int(rng.integers(ORIENTATIONS))))
        return {"input": self.degradation(target, rng), "target": target}


def to_float(example: Batch) -> Batch:
    return {name: images.to_float(image) for name, image in example.items()}


def steps_per_epoch(source: CleanPhotos, batch_size: int) -> int:
    """Whole batches in the source. Raises UserError if there is not one."""
    steps = len(source) // batch_size
    if steps == 0:
        raise UserError(
            f"{source!r} hold {len(source)} crops, fewer than one batch of {batch_size}; "
            "lower batch_size or raise crops_per_photo"
        )
    return steps


def batches(
    source: CleanPhotos, degradation: Degradation, patch_size: int, batch_size: int, seed: int, start_step: int = 0
) -> Iterator[Batch]:
    """Endless batches, shuffled anew each epoch, from step `start_step` on (0 is the first)."""
    dataset = grain.MapDataset.source(source).seed(seed).shuffle()
    dataset = dataset.random_map(CropAndDegrade(patch_size, degradation)).map(to_float)
    dataset = dataset.batch(batch_size, drop_remainder=True).repeat()  # epochs stay aligned with steps
    # Slicing resumes exactly for any number of threads; Grain's own iterator state would pin it.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=BATCHES_AHEAD)
    return iter(dataset[start_step:].to_iter_dataset(options))
