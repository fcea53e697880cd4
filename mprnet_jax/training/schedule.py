"""Where a run is at each of its steps: epoch, learning rate, patch size; and the clock of runs that have a time budget.

A run is so many epochs, so many steps or so many minutes long. Of the first two everything is known before the first
step; of the last, the progress that the clock gives decides.
"""

import contextlib
import itertools
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mprnet_jax.support.errors import UserError
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.optimizer import Schedule, epoch_schedule, progress_schedule, step_schedule

SAFETY = 1.3  # on the measured times of what is left to do after the last step
LOOKS = 6  # at the clock, between which the time of a step is measured
FIRST_GUESS = 0.02  # of the budget: what the end takes, before anything of it was measured


class Phase(NamedTuple):
    """A part of a run with one patch size."""

    patch_size: int
    batch_size: int
    steps_per_epoch: int
    first_step: int  # 1 is the first of the run
    first_epoch: float  # epochs before it

    def epochs_before(self, step: int) -> float:
        """Epochs that are over when this step (1 is the first) begins."""
        return self.first_epoch + (step - self.first_step) / self.steps_per_epoch

    def batch_number(self, step: int) -> int:
        """Which of the endless batches of this patch size a step takes; 0 is the first."""
        return round(self.first_epoch * self.steps_per_epoch) + step - self.first_step


class Position(NamedTuple):
    """Where a run is when a step begins."""

    phase: Phase
    epoch: float  # epochs that are over
    learning_rate: float
    is_last: bool


def batch_sizes(config: TrainConfig, multiple: int) -> list[tuple[int, int]]:
    """(patch size, batch size) of each phase: about as many pixels a step as the first one has.

    `multiple`: what the batch must divide by, devices x micro-batches. Raises UserError if the first does not.
    """
    if config.batch_size % multiple:
        raise UserError(
            f"batch_size {config.batch_size} cannot be shared by {multiple // config.accumulate} devices "
            f"in {config.accumulate} parts each; make it a multiple of {multiple}"
        )
    sizes = config.patch_sizes or (config.patch_size,)
    shrunk = [config.batch_size * sizes[0] ** 2 // size**2 for size in sizes]
    return [
        (size, min(config.batch_size, max(multiple, batch // multiple * multiple)))
        for size, batch in zip(sizes, shrunk, strict=True)
    ]


class Timeline:
    """Positions of all steps. `crops`: of all pictures in an epoch; `multiple`: see batch_sizes.

    Raises UserError if there is not one batch of some size in an epoch.
    """

    def __init__(self, config: TrainConfig, crops: int, multiple: int = 1) -> None:
        self.config = config
        self._sizes = batch_sizes(config, multiple)
        largest = max(batch for _, batch in self._sizes)
        if crops < largest:
            raise UserError(
                f"{crops} crops an epoch are fewer than one batch of {largest}; lower --batch-size, or raise --crops "
                "(random crops of each picture)"
            )
        self._crops = crops
        shares = config.patch_shares or (1.0,) * len(self._sizes)
        self._ends = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]  # of the progress
        self.phases, self.total_steps = self._known_phases()
        self._rate = self._schedule()

    def _phase(self, index: int, first_step: int, first_epoch: float) -> Phase:
        patch_size, batch_size = self._sizes[index]
        return Phase(patch_size, batch_size, self._crops // batch_size, first_step, first_epoch)

    def _known_phases(self) -> tuple[list[Phase], int | None]:
        """All phases and the number of steps; of a run by the clock, the first phase and None."""
        config, phases, step, epoch = self.config, [], 1, 0.0
        if config.minutes is not None:
            return [self._phase(0, 1, 0.0)], None
        for index, end in enumerate(self._ends):
            phase = self._phase(index, step, epoch)
            if config.steps is not None:
                following = round(end * config.steps) + 1
            else:
                following = step + round((round(end * config.epochs) - epoch) * phase.steps_per_epoch)
            if following > step:  # shorter runs leave phases out
                phases.append(phase)
            step, epoch = following, phase.epochs_before(following)
        return phases, step - 1

    def _schedule(self) -> Schedule:
        config = self.config
        peak, final = config.learning_rate, config.final_learning_rate
        if config.epochs is None:
            return progress_schedule(peak, final)
        if config.schedule == "epochs":
            return epoch_schedule(
                peak, final, config.warmup_epochs, config.cosine_epochs or config.epochs - config.warmup_epochs, 1
            )
        return step_schedule(peak, final, self.first_step_of(config.warmup_epochs) - 1, self.total_steps)

    def first_step_of(self, epoch: int) -> int:
        """The first step (1 is the first of the run) of an epoch (0 is the first), as far as is known."""
        phase = next(phase for phase in reversed(self.phases) if phase.first_epoch <= epoch)
        return phase.first_step + round((epoch - phase.first_epoch) * phase.steps_per_epoch)

    def at(self, step: int, progress: float = 0.0, change_cost: float = 0.0) -> Position:
        """The position of a step, 1 is the first.

        `progress` (0 to 1) counts for runs by the clock alone, and so does `change_cost`, the progress that a change of
        the patch size takes (it compiles): a size that nothing of the run would be left for is not begun.
        """
        is_last = progress >= 1 if self.total_steps is None else step >= self.total_steps
        if self.total_steps is None:
            while (
                len(self.phases) < len(self._ends)
                and progress >= self._ends[len(self.phases) - 1]
                and progress + change_cost < 1
            ):
                self.phases.append(self._phase(len(self.phases), step, self.phases[-1].epochs_before(step)))
        phase = next(phase for phase in reversed(self.phases) if phase.first_step <= step)
        epoch = phase.epochs_before(step)
        if self.config.epochs is None:
            rate = self._rate(progress if self.total_steps is None else (step - 1) / self.total_steps)
        else:
            rate = self._rate(int(epoch) if self.config.schedule == "epochs" else step - 1)
        return Position(phase, epoch, rate, is_last)

    def last_rate(self) -> float:
        """Learning rate of the last step."""
        return self.at(self.total_steps or 1, progress=1.0).learning_rate if self.total_steps else self._rate(1.0)

    def to_json(self) -> list[Any]:
        """What a checkpoint keeps: where the phases began."""
        return [[phase.first_step, phase.first_epoch] for phase in self.phases]

    def resume(self, begun: Sequence[Sequence[float]]) -> None:
        """Go on with the phases that a run by the clock had reached; of others they are known."""
        if self.total_steps is None and begun:
            reached = begun[: len(self._sizes)]
            self.phases = [self._phase(i, int(step), epoch) for i, (step, epoch) in enumerate(reached)]


class Clock:
    """Wall time of a run, over all its stops, against the budget that it has; and how long the end will take.

    What follows the last step (validation, checkpoint, bundle, curves) has to fit in too: their times are measured
    whenever they happen, and that much of the budget is kept for them.
    """

    def __init__(self, minutes: float | None, at_the_end: Sequence[str] = ()) -> None:
        """It runs from now on. `at_the_end`: what happens after the last step, by the names given to measuring()."""
        self._budget = None if minutes is None else 60 * minutes
        self._begun = time.monotonic()
        self.at_the_end = at_the_end
        self._measured: dict[str, float] = {}
        self._progress = 0.0
        self._looks: deque[float] = deque(maxlen=LOOKS)  # when progress() was asked for

    def add(self, seconds: float) -> None:
        """Count what the run had used before this start."""
        self._begun -= seconds

    @property
    def seconds(self) -> float:
        """Used up to now."""
        return time.monotonic() - self._begun

    @contextlib.contextmanager
    def measuring(self, what: str) -> Iterator[None]:
        """Measure something that happens more than once; the latest time counts."""
        begun = time.monotonic()
        yield
        self._measured[what] = time.monotonic() - begun

    def progress(self) -> float:
        """Share of the time for steps that is used, 0 to 1, never less than before; 0 without a budget.

        To be asked for once in every step.
        """
        if self._budget is None:
            return 0.0
        seconds = self.seconds
        self._looks.append(seconds)
        between = [later - earlier for earlier, later in itertools.pairwise(self._looks)]
        step_seconds = statistics.median(between) if between else 0.0  # of some steps a validation is a part
        kept = FIRST_GUESS * self._budget
        known = [self._measured[what] for what in self.at_the_end if what in self._measured]
        if known:  # the longest stands for what has not happened yet
            kept = SAFETY * sum(self._measured.get(what, max(known)) for what in self.at_the_end)
        # The step that is told that it is the last one is still to run, and so may be the one before it.
        left_for_steps = self._budget - kept - 2 * step_seconds
        reached = seconds / left_for_steps if left_for_steps > 0 else 1.0
        self._progress = max(self._progress, min(1.0, reached))
        return self._progress

    def cost(self, what: str) -> float:
        """Share of the budget that something took when it was measured last; 0 if never, or without a budget."""
        return SAFETY * self._measured.get(what, 0.0) / self._budget if self._budget else 0.0
