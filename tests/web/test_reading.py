"""Photos are read where it can be ended."""

import os
import signal
import threading

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from mprnet_jax.web.reading import Reader


@pytest.fixture
def reader():
    reader = Reader(max_pixels=10_000, seconds=20)
    yield reader
    reader.close()


@pytest.fixture
def picture(tmp_path, photo):
    images.write(tmp_path / "a.png", photo[:32, :40])
    return tmp_path / "a.png"


def test_a_picture_comes_as_it_comes_without_a_process(reader, picture):
    here, there = images.open_picture(picture), reader.read(picture)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert there.format == here.format


def test_what_is_refused_is_refused_in_the_same_words_and_the_process_goes_on(reader, tmp_path, picture, photo):
    (tmp_path / "b.png").write_bytes(b"no picture")
    images.write(tmp_path / "large.png", np.zeros((101, 100, 3), np.uint8))
    for name in ("b.png", "large.png", "nowhere.png"):
        with pytest.raises(UserError) as there:
            reader.read(tmp_path / name)
        with pytest.raises(UserError) as here:
            images.open_picture(tmp_path / name, max_pixels=10_000)
        assert str(there.value) == str(here.value)
    (process,) = reader._idle
    reader.read(picture)
    assert reader._idle == [process]


def test_a_reading_that_takes_too_long_is_given_up_on_and_does_not_stop_others(reader, picture):
    reader.read(picture)
    (stuck,) = reader._idle
    os.kill(stuck.process.pid, signal.SIGSTOP)  # as a decoder that goes round in a circle
    reader.seconds = 2
    told = []

    def read():
        with pytest.raises(UserError, match="a.png: given up after 2 seconds of reading"):
            reader.read(picture)
        told.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    while reader._idle:  # until it has the process that hangs
        pass
    assert reader.read(picture).pixels.shape == (32, 40, 3)
    thread.join()
    assert told
    assert stuck.process.returncode == -signal.SIGKILL
    assert reader.read(picture).pixels.shape == (32, 40, 3)


def test_a_process_that_breaks_off_costs_one_reading(reader, picture):
    reader.read(picture)
    reader._idle[0].process.kill()
    with pytest.raises(UserError, match="a.png: reading it broke off"):
        reader.read(picture)
    assert reader.read(picture).pixels.shape == (32, 40, 3)
