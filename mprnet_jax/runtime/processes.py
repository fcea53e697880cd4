"""Several processes that train one model together, through `jax.distributed`: how they start, and how they end.

A collective operation that one process enters alone waits for ever. So what can end a run in one process (a file that
cannot be read there, a signal that reached it alone) is made known to all, and all of them end at the same step.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mprnet_jax.support.errors import UserError

TEXT_BYTES = 1024  # of an error that is passed on; the process that it happened in prints the whole of it
CONNECT_SECONDS = 60  # a coordinator that does not answer after this long is not going to
STOP, FAILED = 1, 2


def start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the processes of a run; must come before anything that uses a device.

    With no address JAX finds the others by itself where it can: SLURM, Open MPI, Kubernetes, TPU pods. Raises
    UserError for an address that is none, is taken, or does not answer, and where there is nothing to be found.
    """
    # Its own handler of SIGTERM would keep the signal from us.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator is not None:
        if processes is None or process is None:
            raise UserError("--coordinator needs --processes (how many) and --process (which of them, from 0 on)")
        if not 0 <= process < processes:
            raise UserError(f"--process must be in 0..{processes - 1}, got {process}; each process has another number")
        _check_coordinator(coordinator, is_here=process == 0)
    elif processes is not None or process is not None:
        raise UserError("--processes and --process go with --coordinator HOST:PORT, the address of process 0")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the processes cannot be joined ({reason}); give --coordinator HOST:PORT, --processes and --process"
        ) from error


def _check_coordinator(address: str, is_here: bool) -> None:
    """What JAX would answer with an abort and a C++ trace."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator must be HOST:PORT, got {address!r}; for example 10.0.0.1:1234")
    if is_here:
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", int(port)))
            except OSError as error:
                raise UserError(f"--coordinator {address}: {error.strerror}; choose another port") from error
        return
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"--coordinator {address} does not answer ({error.strerror or error}); "
                    "start process 0 there, and see that the port is open"
                ) from error
            time.sleep(0.5)


def is_lead() -> bool:
    """Whether this process is the one that prints and writes what there must be one of."""
    return jax.process_index() == 0


def gather(text: str) -> list[str]:
    """What every process says, by its number; cut at TEXT_BYTES. All must call this."""
    row = np.zeros(TEXT_BYTES, np.uint8)
    encoded = text.encode()[:TEXT_BYTES]
    row[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    rows = np.atleast_2d(multihost_utils.process_allgather(row))
    return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in rows]


def raise_together(error: UserError | None) -> None:
    """Raise the error, and in the other processes a UserError that passes it on; nothing if no process has one."""
    texts = [] if jax.process_count() == 1 else gather(str(error) if error else "")
    if error:
        raise error
    for process, text in enumerate(texts):
        if text:
            raise UserError(f"process {process} stopped: {text}")


@contextlib.contextmanager
def raise_on_all_processes() -> Iterator[None]:
    """A UserError inside, in any process, leaves this block in all of them. All must pass through it."""
    error = None
    try:
        yield
    except UserError as caught:
        error = caught
    raise_together(error)


def check_alike(what: str, fingerprint: str) -> None:
    """Raise UserError in all processes unless `fingerprint` is the same in all."""
    if jax.process_count() > 1 and len(set(gather(fingerprint))) > 1:
        raise UserError(f"the processes were given different {what}; give all of them the same")


class Agreed(NamedTuple):
    """What all processes know alike."""

    stopping: bool  # any of them was asked to stop
    progress: float  # of the lead, 0 to 1
    change_cost: float  # of the lead: progress that a change of the patch size takes


class StopFlags:
    """Stop and failure flags of all processes, and the lead's clock, exchanged between the steps.

    Each step enqueues a maximum over all devices; it is read one step late, so that the host never blocks on the
    devices. In a run of one process nothing is sent, and nothing is late.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        replicated = NamedSharding(mesh, PartitionSpec())
        self._maximum: Callable = jax.jit(lambda flags: jnp.max(flags, axis=0), out_shardings=replicated)
        self._published: list[jax.Array | np.ndarray] = []
        self._known = np.zeros(3, np.float32)  # worst flag, progress, cost of a change
        self.error: UserError | None = None  # of this process

    @contextlib.contextmanager
    def keeping_error(self) -> Iterator[None]:
        """Keep a UserError until all processes know of it; with one process it is simply raised."""
        try:
            yield
        except UserError as error:
            if jax.process_count() == 1:
                raise
            self.error = self.error or error

    def publish(self, stop: bool, progress: float = 0.0, change_cost: float = 0.0) -> None:
        """Send what this process wants with the step that was just started. All must call this; of the clock, what the
        lead says counts."""
        wanted = FAILED if self.error else STOP if stop else 0
        clock = (progress, change_cost) if is_lead() else (0.0, 0.0)
        mine = np.array([wanted, *clock], np.float32)
        if jax.process_count() == 1:
            self._published.append(mine)
            return
        local = np.tile(mine, (jax.local_device_count(), 1))
        self._published.append(self._maximum(jax.make_array_from_process_local_data(self._sharding, local)))

    def poll(self, latest: bool) -> Agreed:
        """What was agreed on up to the step before, or with `latest` up to this one; the same in all processes.

        Raises UserError in all of them if one has failed.
        """
        latest = latest or jax.process_count() == 1
        while len(self._published) > (0 if latest else 1):
            self._known = np.maximum(self._known, np.asarray(self._published.pop(0)))
            latest = latest or self._known[0] > 0
        if self._known[0] == FAILED:
            raise_together(self.error)
        return Agreed(bool(self._known[0] == STOP), *map(float, self._known[1:]))


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM (preemption) append to, so that a run can stop between two steps.

    A second Ctrl-C raises KeyboardInterrupt, for a run that does not get to the end of its step.
    """
    requests: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and number in requests:
            raise KeyboardInterrupt
        requests.append(number)
        # Not print(): a signal may come in the middle of another one.
        os.write(2, b"\nstopping after this step, then saving; Ctrl-C again stops at once, without saving\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield requests
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
