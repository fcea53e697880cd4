"""Where a run is at each step: by epochs, by steps, by the clock; with one patch size and with several."""

import dataclasses
from pathlib import Path

import pytest

from mprnet_jax.support.errors import UserError
from mprnet_jax.training import schedule as module
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.schedule import Clock, Timeline, batch_sizes
from tests.helpers.tiny import TINY

PROGRESSIVE = {"patch_sizes": (128, 192, 256), "patch_shares": (2, 1, 1)}


def config(**fields):
    default = {"epochs": 8, "batch_size": 8, "warmup_epochs": 1}
    if fields.keys() & {"steps", "minutes"}:
        default["epochs"] = None
    return TrainConfig(TINY, Path("data"), **{**default, **fields})


def test_larger_patches_come_fewer_at_a_time_and_all_devices_get_as_many():
    # 8 x 128^2 pixels are 3.6 x 192^2 and 2 x 256^2
    assert batch_sizes(config(**PROGRESSIVE), multiple=1) == [(128, 8), (192, 3), (256, 2)]
    assert batch_sizes(config(**PROGRESSIVE), multiple=2) == [(128, 8), (192, 2), (256, 2)]
    assert batch_sizes(config(**PROGRESSIVE), multiple=4) == [(128, 8), (192, 4), (256, 4)]
    with pytest.raises(UserError, match="batch_size 8 cannot be shared by 3 devices in 1 parts each"):
        batch_sizes(config(), multiple=3)


def test_a_run_of_epochs_with_progressive_patches_has_whole_epochs_of_each_size():
    run = Timeline(config(**PROGRESSIVE), crops=48)
    # 4 epochs of 48 / 8 steps, 2 of 48 / 3, 2 of 48 / 2
    assert run.total_steps == 4 * 6 + 2 * 16 + 2 * 24
    seen = [run.at(step) for step in range(1, run.total_steps + 1)]
    sizes = [at.phase.patch_size for at in seen]
    assert sizes == [128] * 24 + [192] * 32 + [256] * 48
    assert [int(at.epoch) for at in seen] == [e for e in range(8) for _ in range((6, 6, 6, 6, 16, 16, 24, 24)[e])]
    # Batches go on from epoch to epoch as if the size had always been the same: no epoch comes twice.
    assert [at.phase.batch_number(step) for step, at in enumerate(seen, 1)][24:26] == [4 * 16, 4 * 16 + 1]
    assert [at.is_last for at in seen] == [False] * (run.total_steps - 1) + [True]


def test_a_resumed_run_is_at_the_same_place_at_every_step():
    run, resumed = (Timeline(config(minutes=10, **PROGRESSIVE), crops=48) for _ in range(2))
    progress = lambda step: step / 100
    seen = [run.at(step, progress(step)) for step in range(1, 101)]
    assert [at.phase.patch_size for at in seen] == [128] * 49 + [192] * 25 + [256] * 26
    kept = Timeline(config(minutes=10, **PROGRESSIVE), crops=48)
    for step in range(1, 61):
        kept.at(step, progress(step))
    resumed.resume(kept.to_json())
    assert [resumed.at(step, progress(step)) for step in range(61, 101)] == seen[60:]
    assert seen[-1].is_last
    assert not seen[-2].is_last


@pytest.mark.parametrize("length", [{"steps": 1000}, {"minutes": 20}])
def test_warm_up_and_cosine_are_laid_over_steps_or_time(length):
    """3 % of linear rise, then half a cosine from 1e-3 to 1e-6."""
    run = Timeline(config(learning_rate=1e-3, final_learning_rate=1e-6, **length), crops=48)
    rates = [run.at(1 + round(1000 * progress), progress).learning_rate for progress in (0, 0.015, 0.03, 0.515, 0.999)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5.005e-4, 1e-6], rel=2e-3, abs=1e-8)


def test_a_run_without_a_whole_batch_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="6 crops an epoch are fewer than one batch of 8; lower --batch-size, or raise"):
        Timeline(config(), crops=6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 5, "epochs": 3}, "exactly one of epochs, steps, minutes, got epochs, steps"),
        ({"epochs": None}, "exactly one of epochs, steps, minutes, got none"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"minutes": float("nan")}, "minutes must be positive"),
        ({"minutes": -1}, "minutes must be positive"),
        ({"patch_sizes": (64, 100)}, "patch_sizes must be a positive multiple of 8, got 100"),
        ({"patch_sizes": (64, 128), "patch_shares": (1,)}, "one for each of patch_sizes, got 1 for 2"),
        ({"patch_sizes": (64, 128), "patch_shares": (1, 0)}, "patch_shares must be positive, got 1 0"),
    ],
)
def test_a_length_or_patches_that_make_no_run_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        config(**fields)


class Time:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "time", time)
    return time


def test_the_steps_leave_the_time_that_the_end_takes(time):
    """A step a second, a validation of 9 s, a checkpoint and a bundle of 3 s: all within ten minutes."""
    clock = Clock(10, at_the_end=("validation", "save", "bundle"))
    seconds = {"validation": 9.0, "save": 3.0, "bundle": 3.0}

    def do(what):
        with clock.measuring(what):
            time.now += seconds[what]

    reached = []
    while not reached or reached[-1] < 1:
        reached.append(clock.progress())
        time.now += 1
        if len(reached) % 100 == 50:
            do("validation")
            do("save")
    time.now += 1  # the step that was told that it is the last
    for what in seconds:
        do(what)
    assert reached == sorted(reached)
    assert 0.95 * 600 < clock.seconds <= 600


def test_setting_up_and_validations_are_not_taken_for_steps(time):
    """Progress is what the learning rate follows: a slow first look must not make it jump, for it never goes back."""
    clock = Clock(10)
    time.now += 120  # opening the data, compiling
    first = clock.progress()
    time.now += 2
    second = clock.progress()
    assert first == pytest.approx(120 / (600 * 0.98), rel=0.01)
    assert second - first < 0.01
    for _ in range(5):
        time.now += 2
        clock.progress()
    time.now += 60  # a validation
    assert clock.progress() == pytest.approx((120 + 12 + 60) / (600 * 0.98), rel=0.02)


def test_a_stopped_run_goes_on_under_the_same_budget(time):
    clock = Clock(10)
    time.now += 60
    clock.add(300)
    assert clock.seconds == 360
    assert clock.progress() == pytest.approx(0.6, abs=0.02)
    time.now += 300
    assert clock.progress() == 1


def test_without_a_budget_there_is_no_progress(time):
    clock = Clock(None)
    time.now += 60
    assert (clock.progress(), clock.cost("change")) == (0, 0)


def test_a_size_that_could_only_be_compiled_is_not_begun(time):
    clock = Clock(1)
    with clock.measuring("change"):
        time.now += 30
    assert clock.cost("change") > 0.5
    run = Timeline(config(minutes=1, patch_sizes=(64, 128)), crops=48)
    assert run.at(10, 0.6, clock.cost("change")).phase.patch_size == 64
    assert run.at(11, 0.6, change_cost=0.1).phase.patch_size == 128


def test_the_patch_size_of_the_bundle_is_the_last():
    assert config(patch_size=96).last_patch_size == 96
    assert dataclasses.replace(config(), **PROGRESSIVE).last_patch_size == 256
