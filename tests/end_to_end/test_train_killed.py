"""A run that is killed again and again ends as one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import load_bundle

KILLS = 5
RECIPE = """
from pathlib import Path
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.model import MPRNetConfig

def get_config():
    return TrainConfig(
        model=MPRNetConfig(4, 2, 2, num_cab=1, reduction=1), data=Path("photos"), degradation=Noise(),
        patch_size=16, batch_size=2, crops=10, epochs=5, schedule="steps", warmup_epochs=1, learning_rate=1e-3,
        log_every=1, save_every=10,
    )
"""  # 6 photos: 30 steps an epoch, 150 in all


def start(folder: Path, workdir: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "mprnet_jax.train", "--config", "recipe.py", "--workdir", workdir]
    with open(folder / f"{workdir}.out", "ab") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)


def log_of(folder: Path, workdir: str) -> list[dict]:
    path = folder / workdir / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written


@pytest.mark.slow
def test_a_run_killed_five_times_gives_the_bits_and_the_log_of_one_that_was_not(tmp_path, photo):
    (tmp_path / "recipe.py").write_text(RECIPE)
    for i in range(6):
        images.write(tmp_path / "photos" / f"{i}.png", np.roll(photo, 9 * i, axis=1))
    assert start(tmp_path, "whole").wait(timeout=600) == 0, (tmp_path / "whole.out").read_text()

    rng = np.random.default_rng(0)
    for kill in range(KILLS):
        process = start(tmp_path, "killed")
        begun = len(log_of(tmp_path, "killed"))
        deadline = time.monotonic() + 300
        # Once it went on for a few steps, strike at a random moment: with a save every tenth step, some fall into one.
        while len(log_of(tmp_path, "killed")) < begun + 8 and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "killed.out").read_text()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed" / "bundle").exists(), f"ended before kill {kill}: make the run longer"
    assert start(tmp_path, "killed").wait(timeout=600) == 0, (tmp_path / "killed.out").read_text()

    whole, killed = (load_bundle(tmp_path / name / "bundle").params for name in ("whole", "killed"))
    jax.tree.map(np.testing.assert_array_equal, killed, whole)
    losses = lambda name: [(line["step"], line["loss"]) for line in log_of(tmp_path, name)]
    assert losses("killed") == losses("whole")
    # The first one or two may strike before the first checkpoint is whole.
    assert (tmp_path / "killed.out").read_text().count("Resumed at step") >= KILLS - 2
