"""Paths as users write them, and files of notes that are no files."""

import argparse
import json
import os

import numpy as np
import pytest

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.model import init_params
from mprnet_jax.support.command_line import path_option
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.paths import as_path, real
from mprnet_jax.support.small_files import append_line, read_regular


def test_a_home_folder_is_expanded_and_dots_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_option("~/x") == tmp_path / "x"
    assert str(path_option("a/../b")) == "a/../b"  # where a is a link, this is not b
    assert str(path_option("b\\c~")) == "b\\c~"
    assert str(path_option("~nobody-of-this-name/x")) == "~nobody-of-this-name/x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty name was given"),
        ("https://x.org/a.png", "https://x.org/a.png: an address, not a file"),
        ("a\0b", "zero byte"),
    ],
)
def test_what_is_no_path_is_refused_as_it_was_written(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        path_option(text)
    with pytest.raises(UserError, match=message):
        as_path(text)


def test_a_bundle_at_a_path_with_dots_or_links_is_whole_and_one_with_a_backslash_is_refused(tmp_path, tiny):
    """The array store would write elsewhere, and the bundle would lack its arrays."""
    bundle = Bundle(tiny, init_params(tiny, seed=0), {})
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    save_bundle(tmp_path / "link" / ".." / "b", bundle)
    save_bundle(tmp_path / "link" / "c", bundle)
    for path in ("a/../b", "a/c", "link/c"):
        loaded = load_bundle(tmp_path / path)
        np.testing.assert_array_equal(loaded.params["tail"]["kernel"], bundle.params["tail"]["kernel"])
    with pytest.raises(UserError, match=r"x\\y: checkpoints cannot be written to a path with a backslash in it"):
        save_bundle(tmp_path / "x\\y", bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "link"]


def test_a_loop_of_links_leads_somewhere(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert real(tmp_path / "a").parent == tmp_path


def test_a_pipe_in_the_place_of_notes_is_neither_waited_for_nor_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError):  # noqa: PT011  which one is the system's business
            read_regular(path)
        with pytest.raises(OSError):  # noqa: PT011
            append_line(path, "x")
    append_line(tmp_path / "notes", json.dumps("a"))
    append_line(tmp_path / "notes", json.dumps("b"))
    assert read_regular(tmp_path / "notes").decode().split() == ['"a"', '"b"']
    with pytest.raises(OSError, match="10 bytes, more than 7"):
        read_regular(tmp_path / "notes", limit=7)
