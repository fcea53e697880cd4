"""The folder of a page: its own, gone at its end, or at the next start after a kill."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from mprnet_jax.support.errors import UserError
from mprnet_jax.web.temporary_folder import PREFIX, temporary_folder

HOLD = """
from mprnet_jax.web.temporary_folder import temporary_folder
with temporary_folder() as folder:
    (folder / "upload").mkdir()
    (folder / "upload" / "photo.png").touch()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def where(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_photos_left_by_a_kill_go_at_the_next_start_and_those_of_a_running_page_stay(where):
    environment = os.environ | {"TMPDIR": str(where)}
    pages = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, running = (page.stdout.readline().strip() for page in pages)
    pages[0].send_signal(signal.SIGKILL)
    pages[0].wait()
    assert os.path.exists(f"{killed}/upload/photo.png")
    with temporary_folder() as folder:
        assert {str(path) for path in where.glob(f"{PREFIX}*")} == {running, str(folder)}
        assert os.path.exists(f"{running}/upload/photo.png")
    pages[1].communicate("\n")
    assert list(where.iterdir()) == []
    pages[0].communicate()


def test_links_and_files_of_that_name_stay(where, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "a.png").touch()
    (where / f"{PREFIX}link").symlink_to(other)
    (where / f"{PREFIX}file").touch()
    with temporary_folder():
        pass
    assert {path.name for path in where.iterdir()} == {f"{PREFIX}link", f"{PREFIX}file"}
    assert (other / "a.png").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(where, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(where / "nowhere"))
    with pytest.raises(UserError, match="No such file or directory.*set TMPDIR"), temporary_folder():
        pass
