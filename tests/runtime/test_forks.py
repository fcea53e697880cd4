"""In a process that was forked after JAX had started, restoring raises an error instead of hanging."""

import subprocess
import sys

FORK = """
import multiprocessing, sys, warnings
import numpy as np
from mprnet_jax.model import init_params
from mprnet_jax.restoring import Restorer
from tests.helpers.tiny import TINY

warnings.simplefilter("ignore")  # JAX's own, on the fork
restorer = Restorer(TINY, init_params(TINY, seed=0))  # and never called here

def use(_):
    return restorer(np.zeros((16, 16, 3), np.uint8)).shape

def make(_):
    return Restorer.from_pretrained("denoising")

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for function in (use, make):
            try:
                pool.apply(function, (0,))
            except Exception as error:
                print(type(error).__name__, error)
    print(use(0))
"""


def test_a_forked_process_is_told_to_be_spawned():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    for line in lines[:2]:
        assert line.startswith("UserError this process was forked")
        assert "multiprocessing.get_context('spawn')" in line
    assert lines[2] == "(16, 16, 3)"  # the parent goes on
