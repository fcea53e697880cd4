"""The folder of a run: one writer, its recipe, its pictures, and what killed processes left in it."""

import json
import os

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.data.sources import open_folder
from mprnet_jax.support.errors import UserError
from mprnet_jax.training.log import JsonLines, read_log
from mprnet_jax.training.workdir import keep_config, keep_record, owning
from tests.training.test_schedule import config


def test_one_process_writes_a_workdir_and_the_next_is_told_which(tmp_path):
    told = rf"run: another process writes this workdir \(process {os.getpid()} on"
    with owning(tmp_path / "run"), pytest.raises(UserError, match=told), owning(tmp_path / "run"):
        pass
    with owning(tmp_path / "run"):  # free again
        pass


def test_what_killed_saves_left_is_removed_and_nothing_else(tmp_path):
    for name in (".bundle.0a1b2c3d", ".best.new.0a1b2c3d.orbax-checkpoint-tmp-5", "best.old", "checkpoints", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    for name in ("log.jsonl.new", ".0123.mprnet.tmp", "log.jsonl", ".bundle.notes"):
        (tmp_path / name).write_text("content")
    with owning(tmp_path):
        pass
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"best", "checkpoints", "mine", "log.jsonl", ".bundle.notes", ".lock"}  # best.old took its place


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', "17", "null", "{", "\0\0", ""])
def test_a_config_of_a_wrong_kind_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config.json: damaged \(.*\); choose another --workdir") as told:
        keep_config(tmp_path, config())
    assert "\n" not in str(told.value)


def test_a_folder_in_place_of_the_config_is_one_line(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config.json: damaged \(not a file\)"):
        keep_config(tmp_path, config())


def test_a_config_whose_fields_have_other_kinds_is_a_difference(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": 5, "validation_data": "x", "epochs": [1]}))
    with pytest.raises(UserError, match=r"another config \(.*epochs was 1, is 8.*model was 5, is None"):
        keep_config(tmp_path, config())


@pytest.fixture
def sources(tmp_path):
    """Call it with names of photos; each is another picture. The first is held out."""

    def make(*names):
        for path in (tmp_path / "photos").glob("*"):
            path.unlink()
        for name in names:
            images.write(tmp_path / "photos" / f"{name}.png", np.full((16, 16, 3), ord(name[0]), np.uint8))
        return opened(names[:1])

    def opened(held_out):
        train, validation = open_folder.open_split(tmp_path / "photos", held_out=frozenset(held_out))
        return {"training": train, "held out": validation}

    return make


def test_a_run_goes_on_with_its_own_pictures_only(tmp_path, sources):
    keep_record(tmp_path, sources("a", "b", "c"), accept=False)
    assert keep_record(tmp_path, sources("a", "b", "c"), accept=False) is False
    for names, words in (
        (("a", "b"), "training: 1 gone, first c"),
        (("a", "b", "c", "d"), "training: 1 new, first d"),
        (
            ("b", "a", "c"),
            "held out: 1 gone, first a; held out: 1 new, first b; training: 1 gone, first b; training: 1",
        ),
    ):
        with pytest.raises(UserError, match=rf"a run on other pictures \({words}.*--accept-other-data"):
            keep_record(tmp_path, sources(*names), accept=False)
    replaced = sources("a", "b", "c")
    images.write(tmp_path / "photos" / "b.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UserError, match="training: 1 changed, first b"):
        keep_record(tmp_path, replaced, accept=False)


def test_other_pictures_can_be_accepted_and_what_was_held_out_is_told(tmp_path, sources, capsys):
    keep_record(tmp_path, sources("a", "b", "c"), accept=False)
    assert keep_record(tmp_path, sources("b", "a", "c"), accept=True) is True  # validation is another
    assert "1 were held out before, first a" in capsys.readouterr().out
    assert keep_record(tmp_path, sources("b", "a", "c"), accept=False) is False  # they are the run's now
    assert keep_record(tmp_path, sources("b", "a", "c", "d"), accept=True) is False  # validation is the same


def test_a_record_that_cannot_be_read_is_written_anew(tmp_path, sources):
    for content in ("{", "[1]", '{"training": 3}'):
        (tmp_path / "data.json").write_text(content)
        keep_record(tmp_path, sources("a", "b"), accept=False)
        with pytest.raises(UserError, match="training: 1 new"):
            keep_record(tmp_path, sources("a", "b", "c"), accept=False)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_log_that_is_deleted_or_replaced_while_it_is_written_goes_on(tmp_path, how):
    lines = JsonLines(tmp_path, start=0)
    lines.write(1, {"loss": 1.0})
    if how == "deleted":
        (tmp_path / "log.jsonl").unlink()
    else:
        (tmp_path / "other").write_text('{"step": 1, "loss": 1.0}\n')
        (tmp_path / "other").rename(tmp_path / "log.jsonl")
    lines.write(2, {"loss": 0.5})
    lines.close()
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == ([2] if how == "deleted" else [1, 2])


def test_lines_that_are_no_log_are_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n{"step"\nnull\n[1]\n{"step": "x"}\n\xff\xfe\n{"step": 2}\n{"st')
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 2]
    assert read_log(tmp_path / "none") == []
