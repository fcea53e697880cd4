"""How far a batch is: bars on a terminal, a line now and then elsewhere."""

import io
import sys

import pytest

from mprnet_jax.support import progress
from mprnet_jax.support.progress import Meter, duration


def test_without_a_terminal_a_line_comes_now_and_then_with_the_time_that_is_left(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Meter(10, "file") as meter:
        for i in range(2):
            meter.begin(f"{i}.png")
            clock[0] += 14
            meter.end()
        meter.begin("two\nlines.png")
        clock[0] += 7
        meter.part(3, 6)
        clock[0] += 1
        meter.part(4, 6)  # too soon for another line
    assert capsys.readouterr().err == (
        r"2 of 10 files (two\nlines.png: tile 3 of 6), 35 s so far, about 105 s left" + "\n"
    ).replace("105 s", "2 min")


def test_a_terminal_gets_a_bar_for_the_files_and_one_for_the_tiles_of_a_large_one(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with Meter(2, "file") as meter:
        meter.begin("a" * 100 + ".png")
        for done in range(1, 9):
            meter.part(done, 8)
        meter.end()
        meter.begin("b.png")
        meter.part(1, 1)
        meter.end()
    shown = terminal.getvalue()
    assert "2/2" in shown
    assert "/8 [" in shown
    assert "1/1" not in shown  # a picture in one piece needs no bar
    assert "a" * 50 not in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10 s"), (99, "99 s"), (150, "2 min"), (7500, "2 h 5 min")]
)
def test_times_are_told_as_exactly_as_they_are_known(seconds, text):
    assert duration(seconds) == text
