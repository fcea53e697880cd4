"""What a command loads before it restores the first photo."""

import os
import subprocess
import sys

import pytest

HEAVY = ("orbax", "grain", "tensorflow_datasets", "torch", "optax", "matplotlib", "onnx", "scipy", "gradio", "ray")


def test_restoring_a_bundle_imports_nothing_that_only_training_and_exporting_need(tmp_path):
    script = (
        "import sys, mprnet_jax.infer; from mprnet_jax import Restorer; Restorer.from_pretrained('denoising');"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "flax" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("command", ["infer", "train", "adapt"])
def test_help_loads_no_jax(command, tmp_path):
    script = (
        f"import sys; sys.argv[1:] = ['--help']\nfrom mprnet_jax import {command}\n"
        f"try: {command}.main()\nexcept SystemExit: pass\nprint('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(("own", "expected"), [(None, "3"), ("0", "0")])
@pytest.mark.parametrize("command", ["infer", "train"])
def test_remarks_of_xla_on_slow_compiling_stay_off_the_screen_unless_asked_for(command, own, expected, tmp_path):
    """XLA reads the variable when JAX is loaded, which the options come before."""
    script = (
        f"import os, sys; sys.argv[1:] = ['--help']\nfrom mprnet_jax import {command}\n"
        f"try: {command}.main()\nexcept SystemExit: pass\nprint(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {} if own is None else {"TF_CPP_MIN_LOG_LEVEL": own}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == expected
