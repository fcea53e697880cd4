"""How far a batch is: bars on a terminal, a line now and then where stderr is a file or a pipe."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

from mprnet_jax.support.errors import one_line
from mprnet_jax.support.words import counted

LINE_SECONDS = 30  # between two lines where there is no terminal
NAME_LENGTH = 40  # characters of a file's name that are shown


class Meter:
    """Items that are done, and the parts of the one at hand, with the time that is left."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit = total, unit
        self.done = 0
        self._name = ""
        self._part = (0, 1, "")
        self._start = self._said = time.monotonic()
        self._outer = self._inner = None
        if sys.stderr.isatty():
            self._outer = tqdm(total=total, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close_inner()
        if self._outer is not None:
            self._outer.close()

    def begin(self, name: str) -> None:
        """The next item is at hand."""
        self._name, self._part = one_line(name), (0, 1, "")
        if len(self._name) > NAME_LENGTH:
            self._name = f"{self._name[: NAME_LENGTH // 2]}...{self._name[-NAME_LENGTH // 2 + 3 :]}"
        if self._outer is not None:
            self._outer.set_description(self._name)

    def part(self, done: int, total: int, unit: str = "tile") -> None:
        """So many parts of the item at hand are done."""
        self._part = (done, total, unit)
        if self._outer is None:
            self._say_now_and_then()
        elif total > 1:
            if self._inner is None:
                self._inner = tqdm(total=total, unit=unit, position=1, leave=False, dynamic_ncols=True)
            self._inner.update(done - self._inner.n)
        if done == total:
            self._close_inner()

    def end(self) -> None:
        """One more item is done with: restored, or failed."""
        self.done += 1
        if self._outer is None:
            self._say_now_and_then()
        else:
            self._outer.update()

    def _close_inner(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    def _say_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        done, total, unit = self._part
        passed = now - self._start
        fraction = (self.done + (done / total if done < total else 0)) / self.total
        left = f", about {duration(passed / fraction - passed)} left" if fraction else ""
        at = f" ({self._name}: {unit} {done} of {total})" if 0 < done < total else ""
        print(f"{self.done} of {counted(self.total, self.unit)}{at}, {duration(passed)} so far{left}", file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds for a reader: 3 s, 4 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def say(line: str) -> None:
    """Print a line on stderr, between the bars if there are any."""
    tqdm.write(line, file=sys.stderr)
