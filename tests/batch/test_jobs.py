"""What a batch takes: inputs, not results; each file once; existing results by what they were made from."""

import importlib.util
import json
import os
import time

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.batch import source_record
from mprnet_jax.batch.jobs import Batch, Naming
from mprnet_jax.batch.run import restore_batch
from mprnet_jax.batch.source_record import Origin, SourceRecord
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def restorer():
    return Restorer(TINY, init_params(TINY, seed=0), options=RestoreOptions(stages=1))


def draw(path, shade=90):
    images.write(path, np.full((16, 16, 3), shade, np.uint8))
    return path


def names(jobs):
    return [job.source.name for job in jobs]


def restored(restorer, inputs, output, **naming):
    batch = Batch.find(inputs, Naming(output, **naming))
    return restore_batch(restorer, batch), batch


@pytest.mark.parametrize("recursive", [True, False])
def test_results_inside_the_input_folder_are_no_inputs(restorer, tmp_path, recursive):
    draw(tmp_path / "a.png")
    draw(tmp_path / "below" / "b.png")
    for expected in (1 + recursive, 0):
        summary, _ = restored(restorer, [tmp_path], tmp_path / "out", recursive=recursive)
        assert (summary.restored, summary.failed) == (expected, [])
    assert summary.skipped == 1 + recursive


def test_results_beside_the_inputs_are_no_inputs_until_somebody_replaces_them(restorer, tmp_path):
    draw(tmp_path / "a.png")
    for suffix in ("_clean", "_clean", "_other"):
        summary, batch = restored(restorer, [tmp_path], tmp_path, suffix=suffix)
        assert summary.failed == []
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a.png", "a_clean.png", "a_other.png"]
    assert batch.own_results == 1
    images.write(tmp_path / "a_clean.png", np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    assert names(Batch.find([tmp_path], Naming(tmp_path, suffix="_x")).jobs) == ["a.png", "a_clean.png"]


def test_a_picture_below_the_output_that_is_named_is_restored(restorer, tmp_path):
    named = draw(tmp_path / "out" / "a.png")
    assert names(Batch.find([named], Naming(tmp_path / "out", suffix="_2")).jobs) == ["a.png"]
    assert names(Batch.find([tmp_path / "out"], Naming(tmp_path / "out", suffix="_2")).jobs) == ["a.png"]


def test_a_result_of_another_file_is_not_taken_for_ones_own(restorer, tmp_path):
    first, second = draw(tmp_path / "a" / "x.png", 10), draw(tmp_path / "b" / "x.png", 200)
    out = tmp_path / "out"
    assert restored(restorer, [first], out)[0].restored == 1
    summary, _ = restored(restorer, [second], out)
    (line,) = summary.failed
    assert f"{second}: not restored, {out / 'x.png'} was made from another file, {first}; --overwrite replaces" in line
    batch = Batch.find([second], Naming(out), overwrite=True)
    assert restore_batch(restorer, batch).restored == 1
    assert names(Batch.find([second], Naming(out)).existing) == ["x.png"]


def test_a_source_that_changed_is_told_and_one_that_was_only_touched_or_copied_is_not(restorer, tmp_path):
    source, out = draw(tmp_path / "x.png", 10), tmp_path / "out"
    restored(restorer, [source], out)
    os.utime(source, (1, 1))
    copy = tmp_path / "copy" / "x.png"
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    for same in (source, copy):
        assert names(Batch.find([same], Naming(out)).existing) == ["x.png"]
    before = source.stat()
    data = bytearray(source.read_bytes())
    data[-5] ^= 1
    source.write_bytes(data)  # of the same size
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    (error,) = Batch.find([source], Naming(out)).failures
    assert "was made from this file before it changed; --overwrite replaces it" in str(error)


def test_an_empty_file_is_no_result_and_a_folder_or_pipe_is_told(tmp_path):
    source, out = draw(tmp_path / "x.png"), tmp_path / "out"
    out.mkdir()
    (out / "x.png").touch()
    (job,) = Batch.find([source], Naming(out)).jobs
    assert job.replace
    for make, kind in ((os.mkdir, "a folder"), (os.mkfifo, "a pipe or device")):
        (out / "x.png").unlink() if (out / "x.png").is_file() else (out / "x.png").rmdir()
        make(out / "x.png")
        (error,) = Batch.find([source], Naming(out), overwrite=True).failures
        assert str(error) == f"{source}: {out / 'x.png'} is {kind}; remove it, or choose another --output"


def test_what_another_program_writes_meanwhile_stays(restorer, tmp_path):
    source, out = draw(tmp_path / "x.png"), tmp_path / "out"
    batch = Batch.find([source], Naming(out))
    out.mkdir()
    (out / "x.png").write_bytes(b"of another program")
    (line,) = restore_batch(restorer, batch).failed
    assert f"{out / 'x.png'}: another program wrote it meanwhile, and it stays" in line
    assert (out / "x.png").read_bytes() == b"of another program"
    assert [path.name for path in out.iterdir()] == ["x.png"]


def test_results_have_the_date_and_the_permissions_of_their_source(restorer, tmp_path):
    source = draw(tmp_path / "x.png")
    os.chmod(source, 0o600)
    os.utime(source, ns=(10**18, 1_557_014_400_123_456_789))
    restored(restorer, [source], tmp_path / "out")
    status = (tmp_path / "out" / "x.png").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_mtime_ns == 1_557_014_400_123_456_789


# --- links ---


def test_a_link_does_not_take_the_result_of_its_photo(tmp_path):
    photo = draw(tmp_path / "in" / "z.png")
    (tmp_path / "in" / "a.png").symlink_to("z.png")
    batch = Batch.find([tmp_path / "in"], Naming(tmp_path / "out"))
    assert [(job.source, job.result) for job in batch.jobs] == [(photo, tmp_path / "out" / "z.png")]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "b.png").symlink_to(photo)  # of a photo elsewhere: under the name of the link
    batch = Batch.find([tmp_path / "alone"], Naming(tmp_path / "out"))
    assert [job.result.name for job in batch.jobs] == ["b.png"]


def test_loops_of_links_fail_alone_whatever_they_end_in(restorer, tmp_path):
    draw(tmp_path / "in" / "x.png")
    for name, target in (("loop.png", "loop.png"), ("p.png", "q.png"), ("q.png", "p.png"), ("back", "../in")):
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "nowhere").symlink_to("nowhere")
    summary, _ = restored(
        restorer,
        [tmp_path / "in", tmp_path / "nowhere", tmp_path / "nowhere" / "y.png"],
        tmp_path / "out",
        recursive=True,
    )
    assert summary.restored == 1
    assert len(summary.failed) == 5
    assert not any("whole" in line or "damage" in line for line in summary.failed)
    assert sum("Too many levels of symbolic links" in line for line in summary.failed) == 4


# --- what is left out ---


def test_what_a_folder_run_leaves_out_is_told_by_ending(tmp_path):
    draw(tmp_path / "in" / "x.png")
    for name in ("a.psd", "b.PSD", "c.mts", "README", ".hidden"):
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "in" / "below").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path)
    batch = Batch.find([tmp_path / "in"], Naming(tmp_path / "out"))
    assert names(batch.jobs) == ["x.png"]
    assert batch.left_out_note().startswith(
        "left out: 1 .mts, 2 .psd, 1 folder (give --recursive), "
        "1 linked folder (name it to have it restored), 1 without an ending; a picture among them"
    )
    assert Batch.find([tmp_path / "in" / "x.png"], Naming(tmp_path / "out")).left_out_note() is None
    for name in ("a.psd", "b.PSD", "c.mts", "README"):
        (tmp_path / "in" / name).unlink()
    folders_only = "left out: 1 folder (give --recursive), 1 linked folder (name it to have it restored)"
    assert Batch.find([tmp_path / "in"], Naming(tmp_path / "out")).left_out_note() == folders_only


def test_raw_files_of_a_folder_are_found_where_rawpy_is_and_counted_where_not(tmp_path, monkeypatch):
    draw(tmp_path / "in" / "x.png")
    for name in ("a.NEF", "b.dng"):
        (tmp_path / "in" / name).write_bytes(b"x")
    naming = Naming(tmp_path / "out")
    pytest.importorskip("rawpy")
    batch = Batch.find([tmp_path / "in"], naming)
    assert names(batch.jobs) == ["a.NEF", "b.dng", "x.png"]
    assert [job.result.name for job in batch.jobs] == ["a.png", "b.png", "x.png"]
    assert batch.left_out_note() is None

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rawpy" else found(name))
    batch = Batch.find([tmp_path / "in"], naming)
    assert names(batch.jobs) == ["x.png"]
    note = batch.left_out_note()
    assert note.startswith("left out: 1 .dng, 1 .nef; ")
    assert note.endswith("2 of them are camera raw, which needs pip install 'mprnet_jax[raw]'")


def test_a_file_of_an_unknown_ending_names_the_option_that_helps(tmp_path):
    photo = tmp_path / "a.psd"
    photo.write_bytes(b"x")
    (error,) = Batch.find([photo], Naming(tmp_path / "out")).failures
    assert "a.psd: results cannot be written as .psd; give --format png" in str(error)
    assert "videos end in .mp4" in str(error)
    assert names(Batch.find([photo], Naming(tmp_path / "out", ending=".png")).jobs) == ["a.psd"]


def test_an_address_is_told_as_it_was_written(tmp_path):
    (error,) = Batch.find(["https://example.org/a.png"], Naming(tmp_path)).failures
    assert str(error).startswith("https://example.org/a.png: an address, not a file")


# --- the record ---


def test_a_record_that_is_broken_nested_or_a_pipe_does_no_harm(restorer, tmp_path):
    source, out = draw(tmp_path / "x.png"), tmp_path / "out"
    out.mkdir()
    notes = out / source_record.NAME
    lines = ["[" * 100_000, "{}", '{"result": 1, "size": "a", "source": []}', "\x00\xff", json.dumps([1])]
    notes.write_text("\n".join(lines), encoding="latin-1")
    assert restored(restorer, [source], out)[0].restored == 1
    assert SourceRecord(out).is_result(out / "x.png")
    notes.unlink()
    os.mkfifo(notes)
    begin = time.monotonic()
    summary, _ = restored(restorer, [draw(tmp_path / "y.png")], out)
    assert time.monotonic() - begin < 30
    assert summary.restored == 1
    (line,) = summary.failed  # the pictures are there; what is missing is told once
    assert "1 result is not recorded" in line


def test_two_writers_of_a_record_lose_nothing(tmp_path):
    results = [draw(tmp_path / f"{i}.png") for i in range(20)]
    origin = Origin.of(results[0])
    one, other = SourceRecord(tmp_path), SourceRecord(tmp_path)
    for result in results:
        (one if result.stem in "02468" else other).add(result, origin)
    assert all(SourceRecord(tmp_path).is_result(result) for result in results)
