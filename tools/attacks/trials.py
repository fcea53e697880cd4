"""One case after another is read by a process of its own, which is watched, ended and judged."""

import dataclasses
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from attacks.cases import Case
from mprnet_jax.support.errors import one_line

SECONDS, BYTES = 10, 1_000_000_000  # of processor time and of memory that any input may take
WALL_SECONDS = 100  # other programs may have the processor
START_SECONDS = 300
LOOK_SECONDS = 0.05
ROOT = Path(__file__).parents[2]
SERVE = "import sys; from attacks.victims import serve; serve(sys.argv[1])"


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of a case."""

    case: Case
    outcome: str  # whole, refused or failed
    reason: str  # of a failure, or what was said
    seconds: float  # of processor time, the processes that it started included
    memory: int  # bytes that it took beyond what it had


class _Victim:
    """The process that reads, kept until it fails."""

    def __init__(self, kind: str, errors: Path) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
        self.errors = open(errors, "ab+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"},
        )
        if self.answer(START_SECONDS)[0] != "ready":
            raise RuntimeError(f"the process that reads does not start: {self.noise()}")
        self.noise()

    def answer(self, wall: float, limit: float = float("inf"), most: float = float("inf")) -> tuple[object, float, int]:
        """The next line, or what is wrong; seconds and bytes."""
        ids = [self.process.pid, *_children(self.process.pid)]
        for pid in ids:  # from here on, its peak counts from what it has
            _write(f"/proc/{pid}/clear_refs", "5")
        before, had = self.seconds(), sum(_bytes(pid, "VmRSS") for pid in ids)
        deadline, peaks, line = time.monotonic() + wall, {}, b""
        while True:
            ready = select.select([self.process.stdout], [], [], LOOK_SECONDS)[0]
            for pid in (self.process.pid, *_children(self.process.pid)):
                peaks[pid] = max(peaks.get(pid, 0), _bytes(pid, "VmHWM"))
            seconds, memory = self.seconds() - before, max(0, sum(peaks.values()) - had)
            if ready:
                part = os.read(self.process.stdout.fileno(), 1 << 16)
                line += part
                if not part:
                    return "crash", seconds, memory
                if line.endswith(b"\n"):
                    return json.loads(line), seconds, memory
            elif seconds > limit or time.monotonic() > deadline:
                return "hang", seconds, memory
            elif memory > most:
                return "memory", seconds, memory

    def ask(self, path: Path) -> tuple[object, float, int]:
        self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        return self.answer(WALL_SECONDS, SECONDS, BYTES)

    def seconds(self) -> float:
        ids = [self.process.pid, *_children(self.process.pid)]
        return sum(_seconds(pid, waited_for=pid == self.process.pid) for pid in ids)

    def noise(self) -> str:
        """What it printed since the last call."""
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")
        os.truncate(self.errors.fileno(), 0)
        return text

    def end(self) -> None:
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pid in children:  # started by it, and of no use without it
            _kill(pid)
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text)
    except OSError:
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _bytes(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return 0


def _seconds(pid: int, waited_for: bool) -> float:
    """Processor time of a process, and of those that it started and that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if waited_for else 13])) / os.sysconf("SC_CLK_TCK")


def _reason_of_failure(case: Case, answer: object, noise: str, path: Path, seconds: float, memory: int) -> str:
    """Why what came of it is not what should, or nothing."""
    if answer == "crash":
        return f"the process crashed {one_line(noise)[-300:]}"
    if answer == "hang" or seconds > SECONDS:
        return f"took over {SECONDS} s of processor time"
    if answer == "memory" or memory > BYTES:
        return f"took {memory / 1e9:.1f} GB"
    if answer["fault"]:
        return one_line(answer["fault"])
    if noise:
        return f"printed {one_line(noise)[:300]}"
    for line in answer["said"]:
        # A network of other names lists them below its line; no command prints what is not printable.
        first, *others = line.splitlines() or [""]
        if str(path) not in first or any(one_line(text) != text for text in (first, *others)):
            return f"not one clear line: {line!r}"
    if case.detected and not answer["said"]:
        return "damage that was not detected"
    return ""


def run(kind: str, cases: Iterable[Case], folder: Path) -> Iterator[Trial]:
    """Read every case in turn; the process is started anew where one hangs or crashes."""
    victim = None
    try:
        for case in cases:
            with tempfile.TemporaryDirectory(dir=folder) as made:
                path = case.make(Path(made))
                victim = victim or _Victim(kind, folder / "printed")
                answer, seconds, memory = victim.ask(path)
                reason = _reason_of_failure(case, answer, victim.noise(), path, seconds, memory)
                if isinstance(answer, str):
                    victim.end()
                    victim = None
                said = answer["said"] if isinstance(answer, dict) else []
                outcome = "failed" if reason else "refused" if said else "whole"
                yield Trial(case, outcome, reason or "; ".join(said[:1]), seconds, memory)
    finally:
        if victim is not None:
            victim.end()
