"""Files appear whole or not at all, and what killed processes leave is removed."""

import os
import signal
import subprocess
import sys

import pytest

from mprnet_jax.support.atomic_files import NotReplaced, remove_leftovers, whole_file


def test_a_file_appears_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "new" / "a") as temporary:
        temporary.write_text("all of it")
        assert not (tmp_path / "new" / "a").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    assert (tmp_path / "new" / "a").read_text() == "all of it"
    assert (tmp_path / "new" / "a").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    def stop_halfway():
        with whole_file(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_leftovers_of_killed_processes_are_removed_and_files_in_use_stay(tmp_path):
    program = f"""
import time
from pathlib import Path
from mprnet_jax.support.atomic_files import whole_file
with whole_file(Path({str(tmp_path)!r}) / "a") as temporary:
    print("begun", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 1
    with whole_file(tmp_path / "b") as temporary:
        assert len(list(tmp_path.iterdir())) == 2
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_without_replacing_what_came_meanwhile_stays(tmp_path, monkeypatch):
    for link in (os.link, lambda *_: (_ for _ in ()).throw(PermissionError(1, "no hard links here"))):
        monkeypatch.setattr(os, "link", link)
        path = tmp_path / "a"
        with whole_file(path, replace=False) as temporary:
            temporary.write_text("first")
        assert path.read_text() == "first"

        def late(path=path):
            with whole_file(path, replace=False) as temporary:
                temporary.write_text("second")

        with pytest.raises(NotReplaced):
            late()
        assert path.read_text() == "first"
        assert [found.name for found in tmp_path.iterdir()] == ["a"]
        path.unlink()
