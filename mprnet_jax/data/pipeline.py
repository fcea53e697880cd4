"""From a source of pictures to batches, through Grain.

The same seed gives the same batches, for any number of threads, workers and processes, and a run that is resumed at a
step goes on with the batch that it would have had.
"""

import os
from collections import Counter
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from mprnet_jax import images
from mprnet_jax.data.augment import ORIENTATIONS, draw_crop, draw_saturation, orient, window
from mprnet_jax.data.degradations.base import Degradation, Degraded, degrade_crop
from mprnet_jax.data.sources.cache import NOT_SKIPPED, Drawn, OnDamage, Reader
from mprnet_jax.data.sources.source import Example, Source, length
from mprnet_jax.support.errors import UserError

Batch = dict[str, np.ndarray]  # "input" and "target": N H W 3 float32 in [0, 1]
BATCHES_AHEAD = 4  # prepared while a step runs
CACHE_BYTES = 2 * 2**30
MAX_THREADS = 8


class CropAndAugment(grain.transforms.RandomMap):
    """A picture or pair (H W 3 uint8) -> a random square of it, in a random orientation, as input and target.

    The crops are `patch_size` pixels a side, uint8 and C-contiguous. `degradation` makes the input where there is none.
    """

    def __init__(self, patch_size: int, degradation: Degradation | None, saturation: float) -> None:
        self.patch_size = patch_size
        self.degradation = degradation
        self.saturation = saturation

    def random_map(self, drawn: Drawn, rng: np.random.Generator) -> Drawn:
        """What Grain calls for each example, with a generator of its own."""
        return drawn._replace(example=self.augment(drawn.example, rng))

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """A random crop in a random orientation; of clean pictures also degraded."""
        target = example["target"]
        top, left = draw_crop(target.shape, self.patch_size, rng)
        turn = int(rng.integers(ORIENTATIONS))
        saturated = draw_saturation(self.saturation, rng) if self.saturation else lambda image: image

        def cut(image: np.ndarray, margin: int = 0) -> np.ndarray:
            crop = window(image, top, left, self.patch_size, margin)
            return np.ascontiguousarray(orient(saturated(crop), turn))

        if "input" in example:
            return {"input": cut(example["input"]), "target": cut(target)}
        wide = cut(target, self.degradation.margin)
        return degrade_crop(self.degradation, wide, rng)._asdict()


def to_float(drawn: Drawn) -> Drawn:
    """uint8 -> float32 in [0, 1], C-contiguous."""
    # Otherwise Grain uses pipes instead of shared memory: slow, and 25 s to stop each worker.
    floats = {side: np.ascontiguousarray(images.to_float(image)) for side, image in drawn.example.items()}
    return drawn._replace(example=floats)


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """Whole batches in the source. Raises UserError if there is not one."""
    steps = length(source) // batch_size
    if steps == 0:
        raise UserError(
            f"{source!r} hold {length(source)} crops, fewer than one batch of {batch_size}; "
            "lower batch_size or raise the number of crops of a picture"
        )
    return steps


class Batches(Iterator[Batch]):
    """Endless batches. `skipped` counts, by name, how often a damaged picture was replaced since the start."""

    def __init__(self, batches: Iterator[Drawn], names: list[str]) -> None:
        self._batches = batches
        self._names = names
        self.skipped: Counter[str] = Counter()

    def __next__(self) -> Batch:
        batch, skipped = next(self._batches)
        self.skipped.update(self._names[i] for i in skipped[skipped != NOT_SKIPPED])
        return batch

    def close(self) -> None:
        """Stop threads and worker processes."""
        self._batches.close()


def batches(
    source: Source,
    degradation: Degradation | None,
    patch_size: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    *,
    saturation: float = 0.0,
    on_damage: OnDamage = "stop",
    cache_bytes: int = CACHE_BYTES,
    threads: int | None = None,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Endless batches, shuffled anew each epoch, from step `start_step` on (0 is the first).

    `degradation` makes the input of sources that have clean pictures only, and is None for pairs. `saturation` is the
    probability of a change of saturation. Each process gets its part of every batch, in order, and reads no more than
    that. `workers` 0 is threads in this process (None: as many as the machine warrants); otherwise processes, which
    pay on many cores and start by importing the main module anew: it needs `if __name__ == "__main__"`.
    `cache_bytes` of decoded pictures are kept, over all workers of this process.
    """
    if batch_size % process_count:
        raise UserError(f"batch_size {batch_size} cannot be shared by {process_count} processes; choose a multiple")
    if degradation is None and not source.paired:
        raise UserError(f"{source!r} are clean pictures only; choose a degradation that makes the input of them")
    steps = steps_per_epoch(source, batch_size)
    reader = Reader(source, cache_bytes // max(1, workers), on_damage)
    examples = grain.MapDataset.source(reader).seed(seed).shuffle()
    examples = examples.random_map(CropAndAugment(patch_size, degradation, saturation)).map(to_float)
    # Batch k is parts k * process_count ...; an epoch's last examples, less than a batch, are left out.
    parts = examples[: steps * batch_size].batch(batch_size // process_count)
    dataset = parts[process_index::process_count].repeat()
    # Slicing resumes exactly for any number of threads and workers; Grain's own iterator state would pin it.
    dataset = dataset[start_step:]
    if workers:
        _let_grain_start_processes()
        dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        return Batches(iter(dataset.mp_prefetch(options)), list(source.names))
    threads = threads or min(MAX_THREADS, max(1, (os.cpu_count() or 1) // 2))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(BATCHES_AHEAD, threads))
    return Batches(iter(dataset.to_iter_dataset(options)), list(source.names))


def _let_grain_start_processes() -> None:
    if not flags.FLAGS.is_parsed():  # Grain reads a flag of its own, which only absl's own main() parses
        flags.FLAGS.mark_as_parsed()


def validation_pairs(source: Source, degradation: Degradation | None, size: int) -> list[Example]:
    """Centre crops of all pictures of a source as {"input", "target"} uint8; the same draws at every call.

    The sides are `size`, or what a smaller picture has, in multiples of 8.
    """
    pairs = []
    for index in range(len(source.names)):
        example = source.read(index)
        h, w = (min(size, side) // 8 * 8 for side in example["target"].shape[:2])
        top, left = ((side - part) // 2 for side, part in zip(example["target"].shape[:2], (h, w), strict=True))
        if "input" not in example:
            rng = np.random.default_rng(index)
            clean = example["target"]
            example = degradation.apply(Degraded(clean, clean), rng)._asdict()
        # Copies, or the crops would keep the whole pictures in memory.
        pairs.append({side: image[top : top + h, left : left + w].copy() for side, image in example.items()})
    return pairs
