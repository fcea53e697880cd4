"""Bundles and training checkpoints: what is saved comes back, and damage is noticed."""

import dataclasses
import hashlib
import json
import logging
import resource
import subprocess

import jax
import numpy as np
import pytest

from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import replace_bundle, save_bundle
from mprnet_jax.checkpoints.orbax_errors import quiet_orbax
from mprnet_jax.model import init_params
from mprnet_jax.support.errors import UserError
from mprnet_jax.training.checkpoints import TrainingCheckpoints

# Orbax leaves tasks of a read that failed to the garbage collector, which then grumbles.
DAMAGED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def bundle(tiny):
    return Bundle(tiny, init_params(tiny, seed=0), {"source": "a test", "licence": None})


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_a_bundle_comes_back_bit_for_bit_wherever_it_is_moved(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    (tmp_path / "a").rename(tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    assert loaded.config == bundle.config
    assert loaded.provenance == bundle.provenance
    jax.tree.map(np.testing.assert_array_equal, loaded.params, bundle.params)


def test_a_bundle_does_not_say_where_it_was_written(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    for path in (tmp_path / "a").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path


def test_a_bundle_is_never_overwritten(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    with pytest.raises(UserError, match="a exists; choose another folder"):
        save_bundle(tmp_path / "a", bundle)


def test_a_replaced_bundle_leaves_one_whole_one_wherever_it_was_killed(tmp_path, bundle, monkeypatch):
    numbered = lambda number: dataclasses.replace(bundle, provenance={"number": number})
    replace_bundle(tmp_path / "best", numbered(1))
    replace_bundle(tmp_path / "best", numbered(2))
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    (tmp_path / "best").rename(tmp_path / "best.old")  # killed between the two renames
    monkeypatch.setattr(
        "mprnet_jax.checkpoints.bundle_writer.save_bundle", lambda *_: (_ for _ in ()).throw(UserError("disk full"))
    )
    with pytest.raises(UserError, match="disk full"):
        replace_bundle(tmp_path / "best", numbered(3))
    assert load_bundle(tmp_path / "best").provenance == {"number": 2}


def test_the_sums_are_those_of_sha256sum(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "a", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path, bundle):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_bundle(tmp_path / "file" / "a", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_or_foreign_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match="none: no such folder; a checkpoint is a folder written by"):
        load_bundle(tmp_path / "none")
    with pytest.raises(UserError, match="not a checkpoint bundle"):
        load_bundle(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    path = largest_file(tmp_path / "a" / "params")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_bundle(tmp_path / "a")


def test_a_truncated_file_is_noticed(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    path = largest_file(tmp_path / "a" / "params")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged bundle .* is not what was saved"):
        load_bundle(tmp_path / "a")
    path.unlink()
    with pytest.raises(UserError, match="damaged bundle .*No such file"):
        load_bundle(tmp_path / "a")


def test_garbage_for_sums_is_noticed(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    (tmp_path / "a" / "SHA256SUMS").write_text("garbage\n")
    with pytest.raises(UserError, match=r"damaged bundle \(SHA256SUMS is not what was saved\)"):
        load_bundle(tmp_path / "a")


def test_sizes_that_are_no_network_are_refused(tmp_path, bundle):
    save_bundle(tmp_path / "a", bundle)
    sizes = {**dataclasses.asdict(bundle.config), "n_feat": -3}
    (tmp_path / "a" / "config" / "metadata").write_text(json.dumps(sizes))
    (tmp_path / "a" / "SHA256SUMS").unlink()
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(tmp_path / 'a')}\n" for p in files]
    (tmp_path / "a" / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(UserError, match="n_feat must be a positive whole number"):
        load_bundle(tmp_path / "a")


def state(value):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tree = {"w": jax.device_put(np.full((64, 64), value, np.float32), sharding)}
    return tree, jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


@DAMAGED
def test_the_latest_whole_checkpoint_is_restored_and_the_damaged_one_named(tmp_path):
    with TrainingCheckpoints(tmp_path) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state(step)[0], {"note": step})
    with TrainingCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 3]
        restored, about, passed_over = checkpoints.restore_latest(state(0)[1])
        assert (float(restored["w"][0, 0]), about["note"], passed_over) == (3, 3, [])
    path = largest_file(tmp_path / "3" / "state")
    path.write_bytes(path.read_bytes()[:-50])
    with TrainingCheckpoints(tmp_path) as checkpoints:
        restored, about, passed_over = checkpoints.restore_latest(state(0)[1])
        assert (float(restored["w"][0, 0]), about["note"]) == (2, 2)
        assert len(passed_over) == 1
        assert "checkpoint 3" in passed_over[0]
        # Out of the way, so that the run that goes on from 2 can save its own step 3.
        checkpoints.save(3, state(33)[0], {"note": 33})
    assert (tmp_path / "damaged-3").is_dir()
    with TrainingCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state(0)[1])[1]["note"] == 33


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    with TrainingCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state(0)[1]) is None


@DAMAGED
def test_with_none_whole_the_run_is_refused(tmp_path):
    with TrainingCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1)[0], {})
    (tmp_path / "1" / "about" / "metadata").write_text("{")
    with TrainingCheckpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="start again in a new --workdir"):
        checkpoints.restore_latest(state(0)[1])


@pytest.fixture
def small_files():
    """Call it: no file may grow over 50 kB from then on, which is as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def noise(value):
    """A state that does not compress."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    values = np.random.default_rng(value).random((256, 256), np.float32)
    return {"w": jax.device_put(values, sharding)}


def test_a_full_disk_leaves_the_last_checkpoint_whole_and_is_one_line(tmp_path, small_files, capfd):
    with TrainingCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, noise(1), {"note": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_two():
        with TrainingCheckpoints(tmp_path) as checkpoints:
            checkpoints.save(2, noise(2), {"note": 2})

    small_files()
    with pytest.raises(UserError, match=r"written \(File too large\); make room there, .* goes on from step 1"):
        save_two()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), noise(0))
    with TrainingCheckpoints(tmp_path) as checkpoints:
        restored, about, passed_over = checkpoints.restore_latest(abstract)
        assert (about["note"], passed_over) == (1, [])
        np.testing.assert_array_equal(restored["w"], noise(1)["w"])
        checkpoints.save(2, noise(2), {"note": 2})
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}
    assert capfd.readouterr().err == ""


def test_a_full_disk_leaves_nothing_of_a_bundle(tmp_path, bundle, small_files):
    small_files()
    params = {**bundle.params, "tail": {"kernel": np.random.default_rng(0).random((256, 256), np.float32)}}
    with pytest.raises(UserError, match=r"a: cannot be written \(File too large\); check the folder and the space"):
        save_bundle(tmp_path / "a", dataclasses.replace(bundle, params=params))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"gain": "high"}', b'{"psnr": 30.0}', b'{"gain": NaN}', None])
def test_a_damaged_score_does_not_keep_a_run_from_going_on(tmp_path, content):
    with TrainingCheckpoints(tmp_path, best=1) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step)[0], {"note": step}, score=float(step))
    path = tmp_path / "1" / "metrics" / "metrics"
    assert path.is_file()
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    with TrainingCheckpoints(tmp_path, latest=1, best=1) as checkpoints:
        restored, about, damaged = checkpoints.restore_latest(state(0)[1])
        assert (float(restored["w"][0, 0]), about["note"], damaged) == (2, 2, [])
        checkpoints.save(3, state(3)[0], {}, score=1.5)
    with TrainingCheckpoints(tmp_path, latest=1, best=1) as checkpoints:
        assert checkpoints.steps() == [2, 3]


def test_tasks_of_orbax_that_failed_beside_the_first_are_not_printed():
    """asyncio tells of them when they are collected, with a traceback, after the one line of the error itself."""
    logger = logging.getLogger("asyncio")
    record = lambda message: logger.makeRecord("asyncio", logging.ERROR, "file", 1, message, (), None)
    before = bool(logger.filter(record("Future exception was never retrieved")))
    with quiet_orbax():
        assert not logger.filter(record("Task exception was never retrieved\nfuture: <Task finished"))
        assert not logger.filter(record("Future exception was never retrieved"))
        assert logger.filter(record("something else"))
    assert bool(logger.filter(record("Future exception was never retrieved"))) == before


def test_the_best_by_score_is_kept_beside_the_newest(tmp_path):
    with TrainingCheckpoints(tmp_path, latest=2, best=1) as checkpoints:
        for step, score in ((1, 20.0), (2, 30.0), (3, None), (4, 25.0), (5, None), (6, 29.0)):
            checkpoints.save(step, state(step)[0], {}, score)
    with TrainingCheckpoints(tmp_path, latest=2, best=1) as checkpoints:
        assert checkpoints.steps() == [2, 5, 6]
