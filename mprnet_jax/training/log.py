"""What a run measures, and where it goes: log.jsonl, the progress bar, TensorBoard, curves.png."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TextIO

import jax
import numpy as np
from tqdm import tqdm

from mprnet_jax.data.pipeline import Batch
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.support.progress import duration
from mprnet_jax.support.words import counted

LOG = "log.jsonl"
IN_BAR = {  # what is measured, and how the progress bar shows it
    "loss": "{:.4g}",
    "psnr": "{:.2f} dB",
    "validation_psnr": "{:.2f} dB",
    "images_per_second": "{:.3g}",
    "data_wait": "{:.0%}",
}
SHORT = {"validation_psnr": "validation", "images_per_second": "images/s", "data_wait": "waiting for data"}
Line = dict[str, float | str]


def read_log(path: str | Path) -> list[Line]:
    """The lines of a log.jsonl; what is no line of a log (the last one, which a kill cut off) is left out.

    None of them if there is no such file. Raises OSError if it cannot be read.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            content = json.loads(line)
            if line.endswith("\n") and isinstance(content, dict) and isinstance(content.get("step"), int):
                found.append(content)
    return found


class Sink(Protocol):
    """A place that measured values go to."""

    def write(self, step: int, line: Line) -> None:
        """Keep what was measured at a step."""

    def show(self, step: int, strips: Sequence[np.ndarray], name: str = "") -> None:
        """Take pictures, each H W 3 uint8, of a validation set that has a name where there are several."""

    def close(self) -> None:
        """Nothing more will be written."""


class JsonLines:
    """log.jsonl in a run's workdir: a line of JSON for everything that was measured."""

    def __init__(self, workdir: Path, start: int) -> None:
        """`start`: the step that the run goes on from; what a killed run wrote after it is removed."""
        self.path = workdir / LOG
        try:
            kept = [line for line in read_log(self.path) if line["step"] <= start] if start else []
            with whole_file(self.path) as temporary:
                temporary.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")
            self._file = self._open()
        except OSError as error:
            raise self._unwritable(error) from error

    def _open(self) -> TextIO:
        return open(self.path, "a", encoding="utf-8")  # closed by close()

    def _is_elsewhere(self) -> bool:
        """Whether the file was deleted or replaced since it was opened: what is written would be lost."""
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return True

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: cannot be written ({error.strerror}); make room, then the same command goes on "
            "from the last checkpoint"
        )

    def write(self, step: int, line: Line) -> None:
        """Append a line."""
        try:
            if self._is_elsewhere():
                self._file.close()
                self._file = self._open()
            print(json.dumps({"step": step, **line, "time": round(time.time(), 1)}), file=self._file, flush=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def show(self, step: int, strips: Sequence[np.ndarray], name: str = "") -> None:
        """A line of JSON holds no pictures."""

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:  # what write() could not flush
            raise self._unwritable(error) from error


class TensorBoard:
    """Event files for `tensorboard --logdir WORKDIR`: every measured value, and the strips of each validation."""

    def __init__(self, workdir: Path, start: int) -> None:
        """Raises UserError if tensorboardX is not installed."""
        module = import_extra("tensorboardX", "tensorboardX", "tensorboard")
        # What a killed run wrote after its last checkpoint is to be forgotten.
        self._writer = module.SummaryWriter(str(workdir / "tensorboard"), purge_step=start + 1 if start else None)

    def write(self, step: int, line: Line) -> None:
        """Keep what was measured at a step as scalars."""
        of_set = f"/{line['set']}" if "set" in line else ""
        for name, value in line.items():
            if not isinstance(value, str):
                self._writer.add_scalar(f"{name}{of_set}", value, step)

    def show(self, step: int, strips: Sequence[np.ndarray], name: str = "") -> None:
        """Keep strips of the validation as pictures."""
        of_set = f"{name}/" if name else ""
        for number, strip in enumerate(strips):
            tag = f"input_stage1_stage2_stage3_target/{of_set}{number}"
            self._writer.add_image(tag, strip, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Log:
    """Hands what is measured to the sinks, and shows it in the bar."""

    def __init__(self, bar: tqdm, sinks: Sequence[Sink] = ()) -> None:
        self._bar = bar
        self._sinks = sinks
        self._shown: dict[str, str] = {}

    def write(self, step: int, **measured: float | str) -> None:
        """Write what was measured at a step to every sink."""
        line = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in measured.items()}
        for sink in self._sinks:
            sink.write(step, line)
        self._shown |= {SHORT.get(name, name): IN_BAR[name].format(line[name]) for name in IN_BAR if name in line}
        self._bar.set_postfix(self._shown, refresh=False)  # with the next step

    def show(self, step: int, strips: Sequence[np.ndarray], name: str = "") -> None:
        """Pictures to look at, each H W 3 uint8."""
        for sink in self._sinks:
            sink.show(step, strips, name)

    def say(self, text: str) -> None:
        """A line on the screen, above the bar."""
        if not self._bar.disable:
            self._bar.write(text)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        for sink in self._sinks:
            try:
                sink.close()
            except UserError:
                if error_type is None:  # else the error under way says as much
                    raise


class Pace:
    """How fast the steps go, and which share of their time the devices wait for data.

    Times are of this process, since the last call of `measured`.
    """

    def __init__(self) -> None:
        self._begun = self._since = time.perf_counter()
        self._steps = self._images_since = 0
        self._waited = 0.0  # seconds

    def fetch(self, batches: Iterator[Batch], running: jax.Array | None) -> Batch:
        """The next batch; `running` is a result of the step before. Waiting that overlaps it is not counted."""
        begun = time.perf_counter()
        batch = next(batches)
        if running is None or running.is_ready():
            self._waited += time.perf_counter() - begun
        return batch

    def count(self, images: int) -> None:
        """A step with so many images was started."""
        self._steps += 1
        self._images_since += images

    def measured(self) -> dict[str, float]:
        """Images a second and the share of time spent waiting for data (at most: a step may have ended meanwhile)."""
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        result = {
            "images_per_second": self._images_since / seconds,
            "data_wait": min(1.0, self._waited / seconds),
        }
        self._since, self._images_since, self._waited = now, 0, 0.0
        return result

    def forecast(self, steps: int) -> str:
        """How long so many more steps are going to take, as all up to now did."""
        seconds = (time.perf_counter() - self._begun) / max(1, self._steps)
        return f"about {seconds:.3g} s a step: {duration(seconds * steps)} for {counted(steps, 'step')} to come"
