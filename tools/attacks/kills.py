"""A training run that is killed again and again, beside one that is not."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from mprnet_jax.checkpoints.bundle import load_bundle

PHOTOS = 6
LONGEST_RUN = 1800  # seconds
STEPS_BETWEEN = 8  # that a run does before it is killed again
RECIPE = """
from pathlib import Path
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.model import MPRNetConfig

def get_config():
    return TrainConfig(
        model=MPRNetConfig(4, 2, 2, num_cab=1, reduction=1), data=Path("photos"), degradation=Noise(),
        patch_size=16, batch_size=2, crops=10, epochs=EPOCHS, schedule="steps", warmup_epochs=1, learning_rate=1e-3,
        log_every=1, save_every=10,
    )
"""  # 6 photos: 30 steps an epoch


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a run that was killed."""

    resumed: int  # times that it went on from a checkpoint
    same_bits: bool  # as those of the run that was not killed
    same_log: bool


def start(folder: Path, workdir: str) -> subprocess.Popen:
    """Training of recipe.py; what it prints goes behind `WORKDIR.out`."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "mprnet_jax.train", "--config", "recipe.py", "--workdir", workdir]
    with open(folder / f"{workdir}.out", "ab") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)


def log_of(folder: Path, workdir: str) -> list[dict]:
    """The lines that are whole: the last one may be half written."""
    path = folder / workdir / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _finish(folder: Path, workdir: str) -> None:
    process = start(folder, workdir)
    try:
        code = process.wait(timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise RuntimeError(f"the run {workdir} did not end within {LONGEST_RUN} s; is the machine busy?") from error
    if code:
        raise RuntimeError((folder / f"{workdir}.out").read_text())


def kill_again_and_again(folder: Path, kills: int, after_kill: Callable[[], None], seed: int = 0) -> Outcome:
    """Train in a folder with PHOTOS pictures in `photos`: once whole, once killed by SIGKILL so many times.

    Raises RuntimeError, with what it printed, if a run ends in any other way.
    """
    epochs = max(5, -(-kills * (STEPS_BETWEEN + 12) // 30))
    (folder / "recipe.py").write_text(RECIPE.replace("EPOCHS", str(epochs)))
    _finish(folder, "whole")
    rng = np.random.default_rng(seed)
    for kill in range(kills):
        process = start(folder, "killed")
        begun = len(log_of(folder, "killed"))
        deadline = time.monotonic() + 300
        # Once it went on for a few steps, strike at a random moment: with a save every tenth step, some fall into one.
        while len(log_of(folder, "killed")) < begun + STEPS_BETWEEN and time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError((folder / "killed.out").read_text())
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "killed" / "bundle").exists():
            raise RuntimeError(f"ended before kill {kill}: make the run longer")
        after_kill()
    _finish(folder, "killed")

    whole, killed = (load_bundle(folder / name / "bundle").params for name in ("whole", "killed"))
    equal = jax.tree.map(np.array_equal, killed, whole)
    losses = lambda name: [(line["step"], line["loss"]) for line in log_of(folder, name)]
    return Outcome(
        resumed=(folder / "killed.out").read_text().count("Resumed at step"),
        same_bits=all(jax.tree.leaves(equal)),
        same_log=losses("killed") == losses("whole"),
    )
