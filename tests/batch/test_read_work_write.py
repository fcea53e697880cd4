"""Reading, working and writing at once: order, errors that keep to their item, bounded memory, and stopping."""

import threading
import time

import pytest

from mprnet_jax.batch.read_work_write import pipelined


def put_through(
    items, read=lambda item: item, work=lambda item, value: value, write=lambda item, done: None, workers=1
):
    return list(pipelined(items, read, work, write, weight=lambda item: 1, room=9, workers=workers))


def failing(at):
    def fail(item, *_):
        if item == at:
            raise OSError(f"no {item}")
        return item

    return fail


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_goes_through(workers):
    written = []
    write = lambda i, done: written.append(done)
    outcome = put_through(range(20), lambda i: i * 2, lambda i, value: value + 1, write, workers)
    assert sorted(outcome) == [(i, None) for i in range(20)]  # in the order in which they end
    assert sorted(written) == [2 * i + 1 for i in range(20)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("stage", ["read", "work", "write"])
def test_an_error_keeps_to_its_item(stage, workers):
    outcome = put_through(range(9), workers=workers, **{stage: failing(at=4)})
    assert sorted(item for item, _ in outcome) == list(range(9))
    assert [(item, str(error)) for item, error in outcome if error] == [(4, "no 4")]


def test_reading_and_writing_go_on_while_the_work_does():
    """Each of three stages of n items takes t: together about n t, not 3 n t."""
    nap = lambda *_: time.sleep(0.05)
    begin = time.perf_counter()
    put_through(range(10), nap, nap, nap)
    assert time.perf_counter() - begin < 1.1  # 1.5 one after the other


def test_several_workers_work_at_once():
    at_once = threading.Barrier(3, timeout=20)
    assert [error for _, error in put_through(range(6), work=lambda *_: at_once.wait() and None, workers=3)] == [
        None
    ] * 6


def test_an_item_that_takes_long_keeps_no_worker_from_the_next_ones():
    others_done = threading.Event()
    count = iter(range(1, 9))

    def work(item, _):
        if item == 0:
            assert others_done.wait(20)
        elif next(count) == 8:
            others_done.set()

    outcome = put_through(range(9), work=work, workers=2)
    assert sorted(outcome) == [(i, None) for i in range(9)]
    assert outcome.index((0, None)) >= 7


def test_what_the_threads_work_on_when_the_caller_stops_is_written():
    begun, written = [], []

    def work(item, _):
        begun.append(item)
        time.sleep(0.2)

    write = lambda item, _: written.append(item)
    items = pipelined(range(9), lambda item: item, work, write, weight=lambda item: 1, room=9, workers=2)
    next(items)
    items.close()
    assert sorted(written) == sorted(begun)
    assert 1 <= len(written) < 9


def test_no_more_is_in_memory_than_there_is_room_for():
    held, most, lock = 0, 0, threading.Lock()

    def read(item):
        nonlocal held, most
        with lock:
            held += weight(item)
            most = max(most, held)
        return item

    def write(item, done):
        nonlocal held
        time.sleep(0.002)
        with lock:
            held -= weight(item)

    weight = lambda item: 5 if item == 7 else 1  # one that weighs more than there is room for is alone
    outcome = list(pipelined(range(20), read, lambda item, value: value, write, weight=weight, room=3))
    assert len(outcome) == 20
    assert held == 0
    assert 2 <= most <= 5


def test_after_an_interruption_nothing_is_begun_and_what_was_worked_on_is_written():
    begun, written = [], []

    def work(item, value):
        begun.append(item)
        if item == 3:
            raise KeyboardInterrupt
        return value

    def write(item, done):
        time.sleep(0.02)
        written.append(item)

    with pytest.raises(KeyboardInterrupt):
        put_through(range(10), work=work, write=write)
    assert begun == [0, 1, 2, 3]
    assert sorted(written) == [0, 1, 2]
