"""Contestants run in turns and timed, so that what else the machine does meets all of them alike.

JAX and PyTorch answer before a GPU has finished: `run` of a contestant returns only when its answer is there.
"""

import dataclasses
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mprnet_jax.support.errors import UserError

# Seconds between two runs: OpenMP's threads go on spinning for a while, on the cores of the next contestant.
PAUSE = 0.3
# Seconds that a turn lasts at least, and as many before it that are not timed: a GPU raises its clock meanwhile.
TURN = 0.1
# The product of matrices that gives the machine's peak: side and type.
PEAK_ON_CPU = 2048, "float32"
PEAK_ON_GPU = 8192, "bfloat16"


class Missing(Exception):
    """A contestant that cannot run here; the text says why."""


@dataclasses.dataclass
class Contestant:
    """Something ready to be timed."""

    run: Callable[[], Any]  # waits for the end
    answer: Callable[[Any], np.ndarray]  # what run returned, for comparison; not timed
    compile_seconds: float | None = None  # None: it does not compile
    device_bytes: Callable[[], int] | None = None  # accelerator's memory that a run takes; None: it takes the host's
    exact: Callable[[], np.ndarray] | None = None  # the answer with all digits of float32, if run's has fewer


@dataclasses.dataclass
class Result:
    """What was measured of one contestant; times in seconds."""

    name: str
    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)  # of all threads of the process
    compile_seconds: float | None = None
    answer: np.ndarray | None = None
    exact: np.ndarray | None = None  # what others' answers are compared with; None: `answer`
    peak_bytes: int | None = None  # of the accelerator
    missing: str | None = None  # why it did not run

    @property
    def minimum(self) -> float:
        return min(self.wall)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)


def use_threads(count: int | None) -> int:
    """Keep this process to `count` cores (None: all it has) and return how many it has; before JAX is imported."""
    cores = sorted(os.sched_getaffinity(0))
    if count is not None and not 1 <= count <= len(cores):
        raise UserError(f"--threads must be in 1..{len(cores)}, the cores of this machine; got {count}")
    os.sched_setaffinity(0, cores[:count])
    return count or len(cores)


def interleave(
    builders: dict[str, Callable[[], Contestant]], rounds: int, report: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Build all contestants, run each once to warm up, then each in turn once a round (what takes milliseconds, for a
    tenth of a second), after a run that is not timed: meanwhile the system may have taken back memory, and a virtual
    machine's host takes seconds to return a gigabyte.

    One that raises Missing is kept with its reason.
    """
    contestants: dict[str, Contestant] = {}
    results = {name: Result(name) for name in builders}
    for name, build in builders.items():
        report(f"{name}: prepare")
        try:
            contestant = build()
            results[name].exact = contestant.exact() if contestant.exact else None
            results[name].answer = contestant.answer(contestant.run())
            if contestant.device_bytes:
                results[name].peak_bytes = contestant.device_bytes()
        except Missing as reason:
            results[name].missing = str(reason)
            continue
        contestants[name] = contestant
        results[name].compile_seconds = contestant.compile_seconds
    for number in range(rounds):
        for name, contestant in contestants.items():
            report(f"{name}: round {number + 1} of {rounds}")
            time.sleep(PAUSE)
            _turn(contestant.run)
            times = _turn(contestant.run)
            results[name].wall += [wall for wall, _ in times]
            results[name].cpu += [cpu for _, cpu in times]
    return list(results.values())


def _turn(run: Callable[[], Any]) -> list[tuple[float, float]]:
    """Run for TURN seconds, but once at least; the time of each run by the clock and of the process's threads."""
    times: list[tuple[float, float]] = []
    while not times or sum(wall for wall, _ in times) < TURN:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def host_peak_bytes() -> int:
    """The most memory that this process has held; getrusage would count what its parent held when it started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise UserError("the system does not tell peak memory (no VmHWM in /proc/self/status); give --no-memory")


def host_bytes() -> int:
    """The memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_product() -> tuple[int, str]:
    """Side and type of the matrices of `peak_flops`."""
    import jax

    return PEAK_ON_CPU if jax.default_backend() == "cpu" else PEAK_ON_GPU


def peak_flops(rounds: int = 12) -> float:
    """Floating-point operations a second in a large product of matrices, the best of JAX and PyTorch."""
    import jax
    import jax.numpy as jnp

    side, dtype = peak_product()
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    multiply = jax.jit(jnp.dot)
    products = [lambda: multiply(matrix, matrix).block_until_ready()]
    try:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        other = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
        products.append(lambda: (other @ other)[0, 0].item())
    except ImportError:
        pass
    fastest = float("inf")
    for _ in range(rounds):
        for product in products:
            start = time.perf_counter()
            product()
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
