"""Score the pairs of a set, several at a time.

Threads, not processes: NumPy and Pillow let go of Python's lock while they work, and nothing has to be copied or
imported again (100 pairs of 480 x 320 by the GoPro protocol on 2 busy cores: 8 to 12 s against 14 s).
"""

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.evaluation.candidates import Candidate, Images
from mprnet_jax.evaluation.protocols import Protocol
from mprnet_jax.evaluation.results import RESTORED, Row
from mprnet_jax.evaluation.test_sets import Pair
from mprnet_jax.support.errors import UserError, one_line
from mprnet_jax.support.progress import say


def score_pair(protocol: Protocol, pair: Pair, restored: Images, with_input: bool) -> dict[str, Row]:
    """The scores of each variant of a pair. Raises UserError if something cannot be read or compared."""
    target = pair.read_target()
    degraded = pair.read_input() if with_input and pair.read_input else None
    if protocol.unrounded:
        restored = {variant: images.to_float(image) for variant, image in restored.items()}
        target, degraded = (None if image is None else images.to_float(image) for image in (target, degraded))
    for what, image in [("input", degraded), *(("restored", image) for image in restored.values())]:
        if image is not None and image.shape != target.shape:
            sizes = " and ".join(f"{x.shape[1]} x {x.shape[0]}" for x in (image, target))
            where = f"{protocol.title} {pair.name}"
            raise UserError(f"{where}: {what} and target differ in size ({sizes}); crop or restore it again")
    try:
        before = None if degraded is None else protocol.input_psnr(degraded, target)
        scores = {variant: protocol.score(image, target) for variant, image in restored.items()}
    except (ValueError, UserError) as error:  # what the metrics say of shapes and types, and alignment that fails
        raise UserError(f"{protocol.title} {pair.name}: {error}") from error
    rows = {}
    for variant, by_name in scores.items():
        row = {"name": pair.name, **by_name}
        if before is not None:
            gain = row[protocol.columns[0]] - before
            row |= {"input_psnr": before, "gain": 0.0 if math.isnan(gain) else gain}  # inf - inf: nothing changed
        rows[variant] = row
    return rows


def refuse(refused: list[str], line: str) -> None:
    """Note what is not scored and why, in one line, and say it at once, above a progress bar."""
    line = one_line(line)
    refused.append(line)
    say(f"refused: {line}")


def score_set(
    protocol: Protocol,
    pairs: Sequence[Pair],
    candidate: Candidate,
    workers: int,
    with_input: bool = True,
    keep: Path | None = None,
) -> tuple[dict[str, list[Row]], list[str]]:
    """Scores of every variant in the order of the pairs, and a line for each pair that has none.

    With `keep`, restored images are written as PNG to keep/VARIANT/restored. Refusals go to stderr as they happen.
    """
    rows: dict[str, list[Row]] = {variant: [] for variant in candidate.variants}
    refused: list[str] = []

    def finish(pair: Pair, restored: Images | None) -> dict[str, Row]:
        restored = candidate.restore(pair) if restored is None else restored
        if keep is not None:
            for variant, image in restored.items():
                images.write(keep / variant / RESTORED / f"{pair.name}.png", image)
        return score_pair(protocol, pair, restored, with_input)

    title = one_line(f"{protocol.title} {candidate.label}")
    with tqdm(total=len(pairs), unit="image", desc=title, dynamic_ncols=True) as bar:
        for future in _in_order(pairs, candidate, finish, workers):
            try:
                for variant, row in future.result().items():
                    rows[variant].append(row)
            except UserError as error:
                refuse(refused, str(error))
            bar.update()
    return rows, refused


def _in_order(
    pairs: Sequence[Pair], candidate: Candidate, finish: Callable[[Pair, Images | None], dict[str, Row]], workers: int
) -> Iterator[Future]:
    """Work on a few pairs at a time, so that memory does not grow with the set; they come back in order."""
    waiting: collections.deque[Future] = collections.deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for pair in pairs:
            if candidate.parallel:
                waiting.append(pool.submit(finish, pair, None))
            else:
                waiting.append(_restore_then(pool, pair, candidate, finish))
            if len(waiting) > 2 * workers:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _restore_then(pool: ThreadPoolExecutor, pair: Pair, candidate: Candidate, finish: Callable) -> Future:
    try:
        return pool.submit(finish, pair, candidate.restore(pair))
    except UserError as error:
        failed: Future = Future()
        failed.set_exception(error)
        return failed
