"""What a batch will take, before it runs: tiles, memory and time for each size of picture."""

import dataclasses
import time
from collections import Counter

import numpy as np

from mprnet_jax.batch.jobs import Batch
from mprnet_jax.batch.run import Summary
from mprnet_jax.images import video
from mprnet_jax.images.headers import header_of
from mprnet_jax.model import SIZE_MULTIPLE
from mprnet_jax.restoring import Restorer, shape_buckets
from mprnet_jax.restoring.padding import up_to_multiple
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.progress import duration

SAMPLE_SIDE = 256  # pixels of the square that is restored to learn how fast this machine is
SAMPLE_RUNS = 2  # the fastest counts: what else the machine does only slows it down


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the pictures (or frames) of one size take."""

    height: int  # pixels
    width: int
    count: int
    tile: tuple[int, int]  # height and width of what the network sees at once, pixels
    tiles: int  # of each picture
    memory: int  # bytes that the network needs at once
    seconds: float  # for each picture, on one device


def seconds_per_pixel(restorer: Restorer) -> float:
    """Seconds per pixel on this machine, measured on a small square, without compiling."""
    whole = restorer.with_options(tile="whole", overlap=None, halo=None, shapes=(), devices=restorer.devices[:1])
    image = np.zeros((SAMPLE_SIDE, SAMPLE_SIDE, 3), np.float32)
    whole(image)
    times = []
    for _ in range(SAMPLE_RUNS):
        begin = time.perf_counter()
        whole(image)
        times.append(time.perf_counter() - begin)
    return min(times) / SAMPLE_SIDE**2


def count_sizes(batch: Batch) -> tuple[Counter[tuple[int, int]], list[UserError]]:
    """How many pictures and frames of each (height, width), by the headers alone, and what cannot be read."""
    found: Counter[tuple[int, int]] = Counter()
    failures: list[UserError] = []
    for job in batch.jobs:
        try:
            if job.is_video:
                surveyed = video.survey(job.source)
                found[surveyed.height, surveyed.width] += surveyed.frames
            else:
                header = header_of(job.source)
                found[header.height, header.width] += 1
        except UserError as error:
            failures.append(error)
    return found, failures


def costs(restorer: Restorer, found: Counter[tuple[int, int]]) -> list[Cost]:
    """What each size takes, largest pictures first."""
    if not found:
        return []
    restorer = restorer.for_sizes(Counter(found).elements())
    per_pixel = seconds_per_pixel(restorer)
    rows = []
    for (height, width), count in sorted(found.items(), key=lambda entry: (-entry[0][0] * entry[0][1], entry[0])):
        tiles = restorer.plan(height, width)
        tile = tuple(up_to_multiple(min(size), SIZE_MULTIPLE) for size in zip((height, width), tiles.tile, strict=True))
        if len(tiles) == 1:
            tile = shape_buckets.smallest_fitting(restorer.options.shapes, *tile) or tile
        seconds = len(tiles) * tile[0] * tile[1] * per_pixel
        rows.append(Cost(height, width, count, tile, len(tiles), restorer.program_bytes(*tile), seconds))
    return rows


def show(restorer: Restorer, batch: Batch, summary: Summary) -> Summary:
    """Print the plan of a batch: a line for each size, and the sum."""
    for error in batch.failures:
        summary.fail(error)
    found, unreadable = count_sizes(batch)
    for error in unreadable:
        summary.fail(error)
    rows = costs(restorer, found)
    of_all = lambda row: row.seconds * row.count / len(restorer.devices)
    if rows:
        print(f"{'size':>13} {'count':>7}  {'tiles of each':<20} {'memory':>8}  {'time of each':>12}  {'of all':>10}")
    for row in rows:
        tiles = f"{row.tiles} of {row.tile[1]}x{row.tile[0]}" if row.tiles > 1 else "whole"
        each, every = duration(row.seconds), duration(of_all(row))
        size = f"{row.width}x{row.height}"
        print(f"{size:>13} {row.count:>7}  {tiles:<20} {row.memory / 2**30:>5.2f} GB  {each:>12}  {every:>10}")
    total = sum(map(of_all, rows))
    existing = f", {len(batch.existing)} existing (--overwrite restores again)" if batch.existing else ""
    failed = f", {len(summary.failed)} cannot be" if summary.failed else ""
    print(f"{len(batch.jobs) - len(unreadable)} to restore, about {duration(total)}{existing}{failed}")
    if rows:
        print(
            f"Time: by {SAMPLE_SIDE}x{SAMPLE_SIDE} pixels that were restored on this machine just now, without "
            "compiling, reading and writing. Memory: of the network, without the picture itself."
        )
    return summary
