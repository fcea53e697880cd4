"""Ctrl-C while a command starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWALLOWING = """
import time
from mprnet_jax.support.interrupts import ending_at_once
with ending_at_once("a.command"):
    print("started", flush=True)
    try:
        {busy}
    except BaseException:
        pass  # as a library does that tries an import
    print("went on", flush=True)
"""


LONG_CALL = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"


@pytest.mark.parametrize("busy", ["time.sleep(20)", LONG_CALL], ids=["Python", "one long call in C"])
def test_it_ends_in_one_line_whatever_runs(busy):
    command = [sys.executable, "-c", SWALLOWING.format(busy=busy)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert time.monotonic() - begun < 4
    assert process.returncode == 130
    assert (out, err.strip()) == ("", "a.command: stopped by Ctrl-C")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5, 2.0])
def test_training_ends_in_one_line_while_it_starts(tmp_path, seconds):
    """From the moment on that it starts itself a second time, for huge pages; nothing of ours runs before the first."""
    (tmp_path / "recipe.py").write_text("import time\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "mprnet_jax.train", "--config", str(tmp_path / "recipe.py")]
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while b"GLIBC_TUNABLES" not in Path(f"/proc/{process.pid}/environ").read_bytes():
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", "mprnet_jax.train: stopped by Ctrl-C")
