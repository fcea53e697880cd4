"""A folder that several processes restore, and processes that are stopped in the middle."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.batch.jobs import Batch, Naming, Share
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.infer import main
from mprnet_jax.model import init_params
from mprnet_jax.support.atomic_files import ENDING

PICTURES = 10
# The command, which names each picture that it restores, and takes its time for it. Several threads print: lines are
# written whole.
COMMAND = """
import signal, sys, time
from mprnet_jax.batch import run as batch_run
from mprnet_jax import infer
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script's background starts
read = batch_run.open_checked
restore = batch_run.restore_picture
def named(source, result):
    print(f"opened {source.name}\\n", end="", flush=True)
    return read(source, result)
def slow(*arguments):
    print("restoring\\n", end="", flush=True)
    time.sleep(float(sys.argv[1]))
    return restore(*arguments)
batch_run.open_checked, batch_run.restore_picture = named, slow
infer.main(sys.argv[2:])
"""


@pytest.fixture
def folder(tmp_path, tiny, photo):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    for i in range(PICTURES):
        images.write(tmp_path / "in" / f"{i}.png", np.roll(photo, i, axis=1)[:32, :40])
    return tmp_path


def arguments(folder, *options):
    paths = ("--checkpoint", folder / "bundle", "--input", folder / "in", "--output", folder / "out")
    return [str(word) for word in (*paths, *options)]


def start(folder, *options, seconds=0.0, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(seconds), *arguments(folder, *options)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_after(process, count, number):
    """Send a signal when the process restores its picture number `count`; its exit code and stderr."""
    seen = 0
    while seen < count:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        seen += line.startswith("restoring")
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors


def check_whole(folder):
    """All that has a result's name is a whole picture; how many there are."""
    found = [path for path in (folder / "out").iterdir() if not path.name.startswith(".")]
    for path in found:
        assert images.read(path).shape == (32, 40, 3)
    return len(found)


@pytest.mark.parametrize("devices", [1, 2])
def test_stopped_in_the_middle_a_batch_leaves_whole_files_and_goes_on(folder, capsys, devices):
    # With two devices pictures 1 and 2 are restored side by side, then 3 and 4, then 5: 1 and 2 are written by then.
    on_devices = ("--devices", str(devices))
    code, _ = stop_after(start(folder, *on_devices, seconds=0.5), 5, signal.SIGKILL)
    assert code == -signal.SIGKILL
    killed_at = check_whole(folder)
    assert 1 <= killed_at < 5

    code, errors = stop_after(start(folder, *on_devices, seconds=1.5), 3, signal.SIGINT)
    assert code == 130
    assert errors.splitlines()[-1] == "mprnet_jax.infer: stopped by Ctrl-C"
    assert "Traceback" not in errors
    stopped_at = check_whole(folder)
    # What had been restored is written before the end, and with two devices what they were at.
    assert stopped_at - killed_at in ((2,) if devices == 1 else (3, 4))
    assert not list((folder / "out").glob(f"*{ENDING}"))

    (folder / "out" / f".left{ENDING}").write_bytes(b"half of a picture")
    for share in ("1/2", "2/2"):
        main(arguments(folder, "--share", share))
    assert check_whole(folder) == PICTURES
    restored = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert sum(restored) == PICTURES - stopped_at
    assert not list((folder / "out").glob(f"*{ENDING}"))


def slurm(number, port):
    """What SLURM tells the processes of a job of two, as jax.distributed reads it."""
    return {
        "SLURM_JOB_ID": str(port - 61440),  # JAX makes the coordinator's port of it
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_JOB_NUM_NODES": "1",
    }


def test_two_processes_restore_every_picture_exactly_once(folder):
    with socket.socket() as probe:  # JAX takes a port of 61440 to 65535
        port = next(port for port in range(61500, 65000) if probe.connect_ex(("localhost", port)))
    processes = [start(folder, "--share", "auto", **slurm(number, port)) for number in (0, 1)]
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    opened = [{line.split()[1] for line in out.splitlines() if line.startswith("opened")} for out, _ in outputs]
    assert [len(names) for names in opened] == [PICTURES // 2, PICTURES // 2]
    assert not opened[0] & opened[1]
    assert check_whole(folder) == PICTURES
    assert all(f"{PICTURES // 2} restored; results are in" in out for out, _ in outputs)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_do_not_overlap_and_are_the_whole_whatever_is_done_already(folder, count):
    naming = Naming(folder / "out")
    images.write(folder / "other" / "3.png", images.read(folder / "in" / "3.png"))  # its result's name is taken
    inputs = [folder / "in", folder / "other"]
    shared, refused = [], []
    for index in range(count):
        batch = Batch.find(inputs, naming, share=Share(index, count))
        shared += batch.jobs + batch.existing
        refused += batch.failures
        if batch.jobs:  # the next process starts later
            images.write(batch.jobs[0].result, images.read(batch.jobs[0].source))
    assert sorted(job.source.name for job in shared) == sorted(f"{i}.png" for i in range(PICTURES))
    assert len(refused) == 1
