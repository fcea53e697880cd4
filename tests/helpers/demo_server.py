"""The page of mprnet_jax.demo as a user starts it: in a process of its own, with a tiny network beside the shipped."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.model import init_params
from tests.helpers.tiny import TINY

START_SECONDS = 120  # on a machine that has much else to do


class Server:
    """A started page: its address, its process, and the folder that all its temporary files are in."""

    def __init__(self, process, url, temporary, checkpoint):
        self.process, self.url, self.temporary, self.checkpoint = process, url, temporary, checkpoint

    @property
    def home(self):
        (home,) = self.temporary.glob("mprnet_jax_demo_*")
        return home

    def files(self):
        """Visitors' files, without the samples."""
        walk = os.walk(self.home)  # unlike rglob, it bears that folders go meanwhile
        files = [Path(folder) / name for folder, _, names in walk for name in names]
        return [path for path in files if self.home / "samples" not in path.parents]

    def peak_memory(self):
        """Bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tiny_bundle(folder):
    save_bundle(folder / "tiny", Bundle(TINY, init_params(TINY, seed=0), {"patch_size": 16}))
    return folder / "tiny"


@contextlib.contextmanager
def serving(folder, *arguments):
    """Start the page and stop it again with SIGTERM; by then nothing of it may be left in its temporary folder."""
    checkpoint, temporary, log = tiny_bundle(folder), folder / "tmp", folder / "log"
    temporary.mkdir()
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mprnet_jax.demo", "--port", str(port), "--checkpoint", str(checkpoint)]
    # A short interval, so that a closed page is noticed soon. The others would be used if the page did not rule.
    settings = {"GRADIO_HEARTBEAT_INTERVAL": "0.2", "GRADIO_ALLOWED_PATHS": "/", "GRADIO_SHARE": "true"}
    settings |= dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), "http://127.0.0.1:9")
    settings |= {"ALL_PROXY": "socks5://127.0.0.1:9", "no_proxy": ""}
    settings["TMPDIR"] = str(temporary)
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, *arguments], stdout=file, stderr=subprocess.STDOUT, env=os.environ | settings
        )
    try:
        until = time.monotonic() + START_SECONDS
        while "open http" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield Server(process, url, temporary, checkpoint)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0, log.read_text()
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in log.read_text(), log.read_text()


def wait_until(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def upload(server, name, data):
    """The path that the server gives to a file."""
    answer = httpx.post(f"{server.url}/gradio_api/upload", files={"files": (name, data)}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()[0]
