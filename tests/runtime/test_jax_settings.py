"""The user's own settings of JAX: a network is restored as without them, and a missing device is one line."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mprnet_jax import images

STRICT = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_DISABLE_JIT": "1"}


def infer(folder, output, **settings):
    command = [sys.executable, "-m", "mprnet_jax.infer", "--task", "denoising", "--stage", "1", "--tile", "whole"]
    command += ["--input", folder / "a.png", "--output", folder / output]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})


@pytest.fixture
def picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    images.write(tmp_path / "a.png", noise)
    return tmp_path


def test_strict_settings_change_nothing(picture):
    for output, settings in (("plain", {}), ("strict", STRICT)):
        done = infer(picture, output, **settings)
        assert done.returncode == 0, done.stderr
    plain, strict = (images.read(picture / output / "a.png") for output in ("plain", "strict"))
    np.testing.assert_array_equal(strict, plain)


def test_a_platform_that_is_not_there_is_one_line(picture):
    done = infer(picture, "out", JAX_PLATFORMS="cuda")
    if done.returncode == 0:
        pytest.skip("this machine has it")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("mprnet_jax.infer: error: JAX has no device to compute on (")
    assert "JAX_PLATFORMS asks for cuda: unset it" in line
