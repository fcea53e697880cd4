"""Training in two real processes on 127.0.0.1, and handed on between devices and processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import load_bundle

SECONDS = 400  # a process that takes longer hangs
RECIPE = """
from pathlib import Path
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.model import MPRNetConfig

def get_config():
    return TrainConfig(
        model=MPRNetConfig(4, 2, 2, num_cab=1, reduction=1), data=Path("photos"), degradation=Noise(),
        patch_size=16, batch_size=4, crops=12, epochs=3, schedule="steps", warmup_epochs=1, learning_rate=1e-3,
        log_every=1, save_every=1000, validation_share=0.3, validate_every=18,
    )
"""  # 4 of 6 photos: 12 steps an epoch, 36 in all


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    rng = np.random.default_rng(0)
    for i in range(6):
        images.write(folder / "photos" / f"{i}.png", rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    (folder / "recipe.py").write_text(RECIPE)
    return folder


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(folder: Path, workdir: str, processes: int, devices: int, *options: str) -> Iterator[list]:
    """The processes of one run; killed at the end if they still are."""
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "mprnet_jax.train", "--config", "recipe.py", "--workdir", workdir, *options]
    several = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", str(processes)] if processes > 1 else []
    started = []
    for process in range(processes):
        with open(folder / f"{workdir}.{process}.out", "ab") as output:
            which = ["--process", str(process)] if several else []
            arguments = [*command, *several, *which]
            started.append(subprocess.Popen(arguments, cwd=folder, env=environment, stdout=output, stderr=output))
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def log_of(folder: Path, workdir: str) -> list[dict]:
    path = folder / workdir / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written


def steps_of(folder: Path, workdir: str) -> int:
    return max((line["step"] for line in log_of(folder, workdir)), default=0)


def output(folder: Path, workdir: str) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob(f"{workdir}.*.out")))


def wait(folder: Path, workdir: str, processes: list) -> list[int]:
    try:
        return [process.wait(SECONDS) for process in processes]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"hangs: {output(folder, workdir)}") from None


def stop_after(folder: Path, workdir: str, steps: int, processes: list, which: int) -> None:
    """SIGTERM to one of the processes, once the run has gone on for so many steps."""
    begun, deadline = steps_of(folder, workdir), time.monotonic() + SECONDS
    while steps_of(folder, workdir) < begun + steps:
        assert all(process.poll() is None for process in processes), output(folder, workdir)
        assert time.monotonic() < deadline, output(folder, workdir)
        time.sleep(0.02)
    processes[which].send_signal(signal.SIGTERM)


@pytest.mark.slow
def test_a_run_handed_on_between_devices_and_processes_equals_one_that_was_not(folder):
    with running(folder, "whole", processes=1, devices=1) as processes:
        assert wait(folder, "whole", processes) == [0], output(folder, "whole")

    # (processes, devices of each, which of them gets the signal)
    for count, devices, which in ((1, 1, 0), (1, 2, 0), (2, 1, 1)):
        with running(folder, "handed", count, devices) as processes:
            stop_after(folder, "handed", 4, processes, which)
            assert wait(folder, "handed", processes) == [0] * count, output(folder, "handed")
        assert not (folder / "handed" / "bundle").exists(), "ended too early: make the run longer"
    with running(folder, "handed", processes=1, devices=1) as processes:
        assert wait(folder, "handed", processes) == [0], output(folder, "handed")

    text = output(folder, "handed")
    assert text.count("stopped at step") == 3
    assert text.count("Resumed at step") == 3
    assert "2 x cpu in 2 processes" in text
    losses = lambda name: [line["loss"] for line in log_of(folder, name) if "loss" in line]
    assert len(losses("handed")) == 36
    np.testing.assert_allclose(losses("handed"), losses("whole"), rtol=2e-4)
    scores = lambda name: [line["validation_psnr"] for line in log_of(folder, name) if "validation_psnr" in line]
    assert len(scores("handed")) == 2
    np.testing.assert_allclose(scores("handed"), scores("whole"), atol=0.02)  # of pictures rounded to uint8
    whole, handed = (load_bundle(folder / name / "bundle").params for name in ("whole", "handed"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), handed, whole)
    best = load_bundle(folder / "handed" / "best").provenance
    assert best["validation_psnr"] == pytest.approx(max(scores("handed")), abs=1e-3)


@pytest.mark.slow
def test_what_one_process_cannot_read_ends_both_with_the_reason(folder):
    """A picture that breaks when it is decoded, in the middle of an epoch: whichever process meets it first."""
    damaged = folder / "damaged"
    damaged.mkdir()
    for path in sorted((folder / "photos").iterdir()):
        content = path.read_bytes()
        (damaged / path.name).write_bytes(content[: len(content) // 2] if path.name == "3.png" else content)
    options = ["--data", str(damaged), "--validation-share", "0", "--crops", "4"]
    with running(folder, "broken", 2, 1, *options) as processes:
        assert wait(folder, "broken", processes) == [2, 2], output(folder, "broken")
    errors = [line for line in output(folder, "broken").splitlines() if line.startswith("mprnet_jax.train: error:")]
    assert len(errors) == 2, errors
    assert all("3.png" in line for line in errors)
    assert any("stopped: " in line for line in errors) or errors[0] == errors[1]
    assert "Traceback" not in output(folder, "broken")


@pytest.mark.slow
def test_processes_that_see_other_pictures_are_refused(folder):
    """Were they not, each would train on batches of its own idea."""
    other = folder / "other"
    for i in range(4):
        images.write(other / f"{i}.png", np.zeros((48, 64, 3), np.uint8))
    port = free_port()
    started = []
    with contextlib.ExitStack() as stack:
        for process, data in enumerate(("photos", "other")):
            options = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(process)]
            options += ["--data", str(folder / data)]
            started += stack.enter_context(running(folder, f"differing{process}", 1, 1, *options))
        assert wait(folder, "differing*", started) == [2, 2], output(folder, "differing*")
    assert output(folder, "differing*").count("error: the processes were given different recipes") == 2
