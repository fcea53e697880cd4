"""Reading, working and writing at the same time: the device waits neither for a decoder nor for an encoder."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

READERS = 2  # threads
WRITERS = min(4, os.cpu_count() or 1)  # encoding a PNG may take longer than a device needs for its pixels
Item, Read, Done = TypeVar("Item"), TypeVar("Read"), TypeVar("Done")


def pipelined(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Item, Read], Done],
    write: Callable[[Item, Done], None],
    *,
    weight: Callable[[Item], int],
    room: int,
    workers: int = 1,
) -> Iterator[tuple[Item, Exception | None]]:
    """Put each item through the three functions; yields each with the exception that ended it, or None, as they end.

    `work` runs in the caller's thread, or with `workers` in as many threads; `read` and `write` in threads of their
    own, ahead of it and behind it. What is in memory at once weighs at most `room`; an item that weighs more is alone.
    When the caller stops, by Ctrl-C for example, nothing more is begun; what the threads work on is finished, and
    what has been worked on is written.
    """
    waiting = iter(items)
    upcoming: Item | None = next(waiting, None)
    reading: deque[tuple[Item, int, Future[Read]]] = deque()
    working: deque[tuple[Item, int, Future[Done]]] = deque()
    writing: deque[tuple[Item, int, Future[None]]] = deque()
    held = 0
    with (
        ThreadPoolExecutor(READERS, "read") as readers,
        ThreadPoolExecutor(workers, "work") if workers > 1 else _Here() as here,
        ThreadPoolExecutor(WRITERS, "write") as writers,
    ):
        try:
            while True:
                while upcoming is not None and len(reading) < READERS:
                    heavy = weight(upcoming)
                    if held and held + heavy > room:
                        break
                    held += heavy
                    reading.append((upcoming, heavy, readers.submit(read, upcoming)))
                    upcoming = next(waiting, None)

                if writing and (writing[0][2].done() or len(writing) > WRITERS or not (reading or working)):
                    item, heavy, future = writing.popleft()
                    error = future.exception()
                elif working and (len(working) == workers or not reading):
                    wait([future for *_, future in working], return_when=FIRST_COMPLETED)
                    ended = next(job for job in working if job[2].done())  # not the oldest: a small one is done sooner
                    working.remove(ended)
                    item, heavy, future = ended
                    error = future.exception()
                    if error is None:
                        writing.append((item, heavy, writers.submit(write, item, future.result())))
                        continue
                elif reading:
                    item, heavy, future = reading.popleft()
                    error = future.exception()
                    if error is None:
                        working.append((item, heavy, here.submit(work, item, future.result())))
                        continue
                else:
                    return
                held -= heavy
                yield item, error
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            here.shutdown(wait=True, cancel_futures=True)
            for item, _, future in working:  # empty, unless the caller stopped
                if not future.cancelled() and future.exception() is None:
                    writers.submit(write, item, future.result())


class _Here(Executor):
    """Runs what is submitted at once, in the caller's thread, where Ctrl-C ends it."""

    def submit(self, function: Callable[..., Done], /, *arguments: Any) -> Future[Done]:
        future: Future[Done] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future
