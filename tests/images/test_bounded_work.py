"""Small files that ask for much work or memory are refused at once; those that cannot be judged, after a time."""

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from attacks.pictures import PIXELS_AT, TAGS, chain_of_pages, claiming, jpeg, many_scans, png_claiming, slow_text, tiff
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images import reading_process
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

SECONDS = 5  # on a busy machine; each takes milliseconds


def png(*chunks):
    return make.png_file(make.noise(0, 4, 4, 3), *chunks)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lambda: tiff(TAGS, PIXELS_AT), "a circle"),
        (lambda: chain_of_pages(100_000), "more than 1000 pages"),
        (lambda: tiff(TAGS + [(305, 1)] * 3000, 0), "3009 tags"),
        (lambda: claiming(jpeg(), b"\xff\xc0", 20_000, 20_000), "bytes for 20000x20000 pixels"),
        (lambda: claiming(jpeg(progressive=True), b"\xff\xc2", 20_000, 20_000), "bytes for 20000x20000 pixels"),
        (many_scans, "101 scans"),
        (lambda: png(*[(b"tEXt", b"a\0")] * 20_000), "chunks"),
        (lambda: png_claiming(20_000), "bytes for 20000x20000 pixels"),
    ],
    ids=["circle", "pages", "tags", "jpeg", "progressive", "scans", "chunks", "png"],
)
def test_small_files_that_ask_for_much_are_refused_at_once(tmp_path, data, text):
    path = tmp_path / "a"
    path.write_bytes(data())
    start = time.monotonic()
    with pytest.raises(UserError, match=text):
        images.open_picture(path)
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_was_cut_off_is_not_whole_whatever_its_end(tmp_path, mode, progressive):
    photo = np.kron(make.noise(1, 8, 10, 3), np.ones((16, 16, 1), np.uint8))
    file = io.BytesIO()
    Image.fromarray(photo).convert(mode).save(file, "JPEG", quality=90, progressive=progressive)
    data, path = file.getvalue(), tmp_path / "a.jpg"
    for part in (0.5, 0.8, 0.95):
        for end in (b"", b"\xff\xd9"):
            path.write_bytes(data[: int(len(data) * part)] + end)
            with pytest.raises(UserError, match="not a whole picture"):
                images.open_picture(path)
    path.write_bytes(data)
    whole = images.read(path)
    path.write_bytes(data[:-2])  # only the end mark is missing
    np.testing.assert_array_equal(images.read(path), whole)


def test_a_flat_grey_jpeg_is_whole(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(np.full((64, 64, 3), 128, np.uint8)))
    assert images.read(tmp_path / "a.jpg").shape == (64, 64, 3)


def test_what_libpng_says_of_an_interlaced_picture_stays_off_the_screen(tmp_path, capfd):
    stored = make.noise(0, 20, 30, 3, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(make.png_file(stored, interlace=True))
    np.testing.assert_array_equal(images.open_picture(tmp_path / "a.png").pixels, stored)
    assert capfd.readouterr().err == ""


def test_a_picture_that_takes_too_long_is_given_up_on_and_the_next_one_is_read(tmp_path, monkeypatch):
    Image.fromarray(make.noise(2, 4, 4)).save(tmp_path / "a.gif")
    (tmp_path / "slow.ppm").write_bytes(slow_text())
    monkeypatch.setattr(reading_process, "SECONDS", 0.1)
    monkeypatch.setattr(reading_process, "BYTES_A_SECOND", 1e12)
    with pytest.raises(UserError, match=r"slow.ppm: given up on after"):
        images.open_picture(tmp_path / "slow.ppm")
    monkeypatch.undo()
    np.testing.assert_array_equal(images.read(tmp_path / "a.gif")[..., 0], make.noise(2, 4, 4))


def test_a_picture_read_apart_comes_as_it_comes_here(tmp_path):
    Image.fromarray(make.noise(3, 24, 20)).save(tmp_path / "a.png")
    here, there = images.open_picture(tmp_path / "a.png"), images.open_picture(tmp_path / "a.png", apart=True)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert there.format == here.format


@pytest.mark.parametrize("name", ["text.png", "large.png", "nowhere.png"])
def test_what_is_refused_is_refused_apart_in_the_same_words(tmp_path, name):
    (tmp_path / "text.png").write_bytes(b"no picture")
    Image.fromarray(make.noise(3, 101, 100)).save(tmp_path / "large.png")
    told = []
    for apart in (False, True):
        with pytest.raises(UserError) as refused:
            images.open_picture(tmp_path / name, 10_000, apart=apart)
        told.append(str(refused.value))
    assert told[0] == told[1]


def stop_when_idle():
    """A reading process that hangs, as in a decoder that goes round in a circle."""
    reader = reading_process._idle.get()
    os.kill(reader.process.pid, signal.SIGSTOP)
    reading_process._idle.put(reader)
    return reader


def test_a_reading_that_hangs_does_not_stop_others(tmp_path, monkeypatch):
    Image.fromarray(make.noise(3, 24, 20)).save(tmp_path / "a.png")
    read = lambda: images.open_picture(tmp_path / "a.png", apart=True).pixels.shape
    read()
    monkeypatch.setattr(reading_process, "SECONDS", 1)
    stuck = stop_when_idle()
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(read)
        while not reading_process._idle.empty():  # until it has the process that hangs
            time.sleep(0.01)
        monkeypatch.setattr(reading_process, "SECONDS", 20)
        assert read() == (24, 20, 3)
        with pytest.raises(UserError, match="a.png: given up on after 1 s"):
            hangs.result()
    assert stuck.process.returncode == -signal.SIGKILL
    assert read() == (24, 20, 3)


def test_a_reading_process_that_crashes_costs_one_reading(tmp_path):
    Image.fromarray(make.noise(3, 24, 20)).save(tmp_path / "a.png")
    read = lambda: images.open_picture(tmp_path / "a.png", apart=True).pixels.shape
    read()
    reader = stop_when_idle()
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(read)
        while not reading_process._idle.empty():
            time.sleep(0.01)
        reader.process.kill()
        with pytest.raises(UserError, match="a.png: its decoder crashed"):
            hangs.result()
    assert read() == (24, 20, 3)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_reading_process_that_nobody_watches_any_more_ends(tmp_path):
    (tmp_path / "slow.ppm").write_bytes(slow_text())
    code = (
        "from mprnet_jax.images import reading_process as r; reader = r._Reader(); "
        f"r._send(reader.process.stdin, ('decode', {str(tmp_path / 'slow.ppm')!r}, 10**9, 0.1)); "
        "print(reader.process.pid, flush=True); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 20
    while runs(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(int(done.stdout))


def test_the_reading_process_does_not_import_jax():
    code = "import sys, mprnet_jax.images.reading_process; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
