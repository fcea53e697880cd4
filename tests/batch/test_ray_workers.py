"""Restoring with Ray: the same pictures as infer, whatever fails on the way, from folders and from buckets."""

import dataclasses
import math
import pickle
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.batch import ray_workers
from mprnet_jax.batch.storage import Bucket, Folder, open_storage
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.infer import main as infer
from mprnet_jax.model import PRESETS, count_parameters, init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.restoring.tile_planner import TilePlanner
from mprnet_jax.runtime import memory
from mprnet_jax.support.errors import UserError

TOOL = Path(__file__).parents[2] / "tools" / "restore_with_ray.py"


@pytest.fixture
def checkpoint(tmp_path, tiny):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    return str(tmp_path / "bundle")


@pytest.fixture
def pictures(tmp_path, photo):
    """A folder of five pictures of one size, in two folders."""
    folder = tmp_path / "in"
    for i, name in enumerate(("a.png", "b.jpg", "c.png", "sub/a.png", "sub/deep/d.png")):
        images.write(folder / name, np.roll(photo, 9 * i, axis=1)[:32, :40])
    return folder


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


# --- what a worker does, without Ray ---


def test_results_of_formats_that_are_only_read_are_png(tmp_path):
    work = ray_workers.Work(Folder(tmp_path), Folder(tmp_path / "out"))
    names = ("a/b.jpg", "c.NEF", "d.gif")
    assert [work.result(name) for name in names] == ["a/b.jpg", "c.png", "d.png"]
    assert ray_workers.Work(Folder(tmp_path), Folder(tmp_path), ".tif").result("c.dng") == "c.tif"


def test_a_pickled_restorer_restores_the_same_and_is_no_larger_than_its_weights(photo):
    config = PRESETS["light"]
    restorer = Restorer(
        config, init_params(config, seed=0), {"patch_size": 128}, RestoreOptions(stages=1, tile="whole")
    )
    sent = pickle.dumps(restorer)
    assert len(sent) < 4 * count_parameters(restorer.params) * 1.1
    start = time.perf_counter()
    received = pickle.loads(sent)
    assert time.perf_counter() - start < 1
    assert received.options == restorer.options
    assert received.provenance == {"patch_size": 128}
    np.testing.assert_array_equal(received(photo[:32, :40]), restorer(photo[:32, :40]))


def test_a_restorer_with_a_smaller_share_of_the_memory_takes_smaller_tiles(tiny, monkeypatch):
    monkeypatch.setattr(TilePlanner, "program_bytes", lambda self, height, width: height * width)
    monkeypatch.setattr(memory, "available_bytes", lambda: 512 * 512 / memory.SHARE)
    restorer = Restorer(tiny, init_params(tiny, seed=0))
    assert restorer.plan(512, 512).tile == (512, 512)
    halved = restorer.with_options(memory_share=memory.SHARE / 2).plan(512, 512).tile
    assert 512 * 512 / 4 < math.prod(halved) <= 512 * 512 / 2


def worker(restorer, work):
    made = object.__new__(ray_workers.Worker)  # its __init__ asks Ray for the restorer
    made.restorer, made.work = restorer, work
    return made


@pytest.mark.parametrize("as_uri", [False, True], ids=["folder", "bucket"])
def test_a_worker_restores_what_infer_does_and_tells_failures_by_the_pictures_own_name(
    tmp_path, pictures, checkpoint, as_uri
):
    if as_uri:
        pytest.importorskip("pyarrow")
    (pictures / "text.png").write_text("not a picture")
    address = lambda path: path.as_uri() if as_uri else str(path)
    work = ray_workers.Work(open_storage(address(pictures)), open_storage(address(tmp_path / "out")))
    restoring = worker(Restorer.from_pretrained(checkpoint), work)
    waiting, there, refused = ray_workers.to_do(work, work.source.names())
    assert (len(waiting), there, refused) == (6, [], [])
    outcomes = {name: restoring.restore(name) for name in waiting}
    assert [name for name, outcome in outcomes.items() if outcome.error] == ["text.png"]
    assert outcomes["text.png"].error.startswith(f"{address(pictures)}/text.png: not a picture")

    (pictures / "text.png").unlink()
    infer(["--checkpoint", checkpoint, "--input", str(pictures), "--recursive", "--output", str(tmp_path / "infer")])
    assert files(tmp_path / "out") == files(tmp_path / "infer")
    waiting, there, _ = ray_workers.to_do(work, [*work.source.names(), "new.png"])
    assert waiting == ["new.png"]
    assert len(there) == 5
    assert len(ray_workers.to_do(dataclasses.replace(work, overwrite=True), work.source.names())[0]) == 5
    gone = restoring.restore("new.png").error
    assert gone.startswith(f"{address(pictures)}/new.png: ")
    assert "\n" not in gone


@pytest.mark.parametrize("as_uri", [False, True], ids=["folder", "bucket"])
def test_a_result_that_appears_after_the_plan_was_made_stays(tmp_path, pictures, checkpoint, as_uri):
    if as_uri:
        pytest.importorskip("pyarrow")
    address = lambda path: path.as_uri() if as_uri else str(path)
    work = ray_workers.Work(open_storage(address(pictures)), open_storage(address(tmp_path / "out")))
    restorer = Restorer.from_pretrained(checkpoint, stages=1)
    result = tmp_path / "out" / "a.png"
    result.parent.mkdir()
    result.write_bytes(b"of another program")
    error = worker(restorer, work).restore("a.png").error
    assert error.startswith(f"{address(tmp_path / 'out')}/a.png: another program wrote it meanwhile, and it stays")
    assert files(tmp_path / "out") == {"a.png": b"of another program"}

    assert worker(restorer, work).restore("a.png", again=True).error is None  # may be of a worker that died
    restored = result.read_bytes()
    result.write_bytes(b"of before")
    assert worker(restorer, dataclasses.replace(work, overwrite=True)).restore("a.png").error is None
    assert result.read_bytes() == restored


def test_a_fault_of_the_program_is_reported_and_does_not_end_the_worker(pictures):
    def restorer(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nallocating 9 GB")

    outcome = worker(restorer, ray_workers.Work(Folder(pictures), Folder(pictures.parent / "out"))).restore("a.png")
    assert outcome.error.startswith(f"{pictures}/a.png: RuntimeError: RESOURCE_EXHAUSTED: out of memory")
    assert "\n" not in outcome.error


# --- what is to be done ---


def test_results_never_overwrite_each_other_or_leave_the_output(tmp_path):
    work = ray_workers.Work(Folder(tmp_path / "in"), Folder(tmp_path / "out"), ending=".png")
    names = ["a.jpg", "a.png", "sub/a.jpg", "../b.jpg", "/etc/c.jpg", "a.jpg"]
    waiting, there, refused = ray_workers.to_do(work, names)
    assert (waiting, there) == (["a.jpg", "sub/a.jpg"], [])
    lines = [str(error) for error in refused]
    assert "a.png: its result would overwrite that of a.jpg" in lines[0]
    assert lines[1].startswith("../b.jpg: not below")
    assert lines[2].startswith("/etc/c.jpg: not below")
    with pytest.raises(UserError, match="results would overwrite the inputs"):
        ray_workers.to_do(ray_workers.Work(Folder(tmp_path), Folder(tmp_path)), ["a.png"])


def test_a_result_of_another_picture_or_an_empty_one_is_no_result(tmp_path, pictures, checkpoint):
    work = ray_workers.Work(Folder(pictures), Folder(tmp_path / "out"))
    restoring = worker(Restorer.from_pretrained(checkpoint, stages=1), work)
    for name in ("a.png", "c.png"):
        outcome = restoring.restore(name)
        work.record().add(tmp_path / "out" / name, outcome.origin)
    (tmp_path / "out" / "sub").mkdir()
    (tmp_path / "out" / "sub" / "a.png").touch()
    (pictures / "c.png").write_bytes((pictures / "a.png").read_bytes())
    waiting, existing, failures = ray_workers.to_do(work, ["a.png", "c.png", "sub/a.png"])
    assert (waiting, existing) == (["sub/a.png"], ["a.png"])
    assert [str(error).split(";")[0] for error in failures] == [
        f"{pictures / 'c.png'}: not restored, {tmp_path / 'out' / 'c.png'} was made from this file before it changed"
    ]
    assert ray_workers.to_do(dataclasses.replace(work, overwrite=True), ["a.png", "c.png"]) == (
        ["a.png", "c.png"],
        [],
        [],
    )


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        ([node(CPU=16), node(CPU=8)], {}, (3, 8, 0, memory.SHARE / 2)),
        ([node(CPU=16), node(CPU=8), node(CPU=64, alive=False)], {"cpus": 4}, (6, 4, 0, memory.SHARE / 4)),
        ([node(CPU=16)], {"cpus": 4, "workers": 2}, (2, 4, 0, memory.SHARE / 4)),
        ([node(CPU=64), node(CPU=32, GPU=8), node(CPU=32, GPU=4)], {}, (12, 4, 1, memory.SHARE)),
        ([node(CPU=4, GPU=8)], {}, (4, 1, 1, memory.SHARE)),
    ],
    ids=["machines", "shares of machines", "as many as asked for", "GPUs", "more GPUs than cores"],
)
def test_workers_fill_the_cluster(nodes, options, expected):
    found = ray_workers.resources_of(nodes, **options)
    assert (found.workers, found.cpus, found.gpus) == expected[:3]
    assert found.memory_share == pytest.approx(expected[3])


@pytest.mark.parametrize(
    ("nodes", "cpus", "message"),
    [([node(GPU=1)], None, "no machine with a free core"), ([node(CPU=2)], 4, "has 4 cores")],
)
def test_a_cluster_that_is_too_small_is_told(nodes, cpus, message):
    with pytest.raises(UserError, match=message):
        ray_workers.resources_of(nodes, cpus)


# --- buckets ---


def test_a_bucket_lists_pictures_and_takes_whole_files_alone(tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("b.png", "sub/A.JPG", ".hidden/c.png", ".d.png", "text.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode())
    bucket = open_storage((tmp_path / "in").as_uri() + "/")
    assert isinstance(bucket, Bucket)
    assert bucket.names() == ["b.png", "sub/A.JPG"]
    assert bucket.source("sub/A.JPG", tmp_path / "scratch").read_bytes() == b"sub/A.JPG"

    target = open_storage((tmp_path / "out").as_uri())
    assert target.existing(["x/b.png"]) == set()  # and the place need not be there
    target.deliver(tmp_path / "in" / "b.png", "x/b.png", replace=False)
    assert files(tmp_path / "out") == {"x/b.png": b"b.png"}
    assert target.existing(["x/b.png", "y.png"]) == {"x/b.png"}


@pytest.mark.parametrize(
    ("uri", "message"), [("nosuch://bucket", "cannot be opened"), ("file:///no/such/folder", "cannot be listed")]
)
def test_a_bucket_that_cannot_be_reached_is_told_in_one_line(uri, message):
    pytest.importorskip("pyarrow")
    with pytest.raises(UserError, match=message) as error:
        open_storage(uri).names()
    assert str(error.value).startswith(uri)


# --- on a cluster ---


def run_python(*command):
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)


@pytest.mark.slow
def test_two_workers_restore_a_folder_as_infer_does_and_go_on_where_they_stopped(tmp_path, pictures, checkpoint):
    pytest.importorskip("ray")
    (pictures / "cut.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.png").write_bytes(b"kept")
    command = (TOOL, "--checkpoint", checkpoint, "--input", pictures, "--output", tmp_path / "out")
    done = run_python(*command, "--cpus-per-worker", 1, "--workers", 2)
    assert done.returncode == 2, done.stderr
    assert "4 restored, 1 existing" in done.stdout
    assert "1 failed, by 2 workers" in done.stdout
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1
    assert errors[0].startswith(f"restore_with_ray: error: {pictures}/cut.png: ")
    assert "Traceback" not in done.stderr

    (pictures / "cut.png").unlink()
    infer(["--checkpoint", checkpoint, "--input", str(pictures), "--recursive", "--output", str(tmp_path / "infer")])
    assert files(tmp_path / "out") == {**files(tmp_path / "infer"), "c.png": b"kept"}


DYING = """
import os, sys
import ray
from mprnet_jax.batch import ray_workers, storage
from mprnet_jax.restoring import RestoreOptions, Restorer

class Dying(ray_workers.Worker):
    def restore(self, name, again=False):
        if name == "a.png":  # a picture that no worker survives
            os._exit(1)
        died = self.work.target.root.with_name("died")
        if name == "c.png" and not died.exists():  # and one that was there at a bad moment
            died.touch()
            os._exit(1)
        return super().restore(name, again)

class Unable(ray_workers.Worker):
    def __init__(self, *_):
        raise ModuleNotFoundError("No module named 'mprnet_jax'")

if __name__ == "__main__":
    ray.init(num_cpus=2, log_to_driver=False)
    work = ray_workers.Work(storage.open_storage(sys.argv[1]), storage.open_storage(sys.argv[2]))
    restorer = Restorer.from_pretrained(sys.argv[3])
    resources = ray_workers.resources_of(ray.nodes(), cpus=1)
    for outcome in ray_workers.restore_all(restorer, work, work.source.names(), resources, worker=Dying):
        print(outcome.name, outcome.error, sep="|")
    try:
        list(ray_workers.restore_all(restorer, work, ["a.png"], resources, worker=Unable))
    except ray_workers.UserError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_picture_that_kills_its_workers_is_given_up_and_the_others_are_done(tmp_path, pictures, checkpoint):
    pytest.importorskip("ray")
    (tmp_path / "dying.py").write_text(DYING)
    done = run_python(tmp_path / "dying.py", pictures, tmp_path / "out", checkpoint)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    lines = [line for line in printed if "|" in line]  # Ray tells of deaths, too, whenever it likes
    outcomes = dict(line.split("|") for line in lines)
    assert len(lines) == 5
    assert outcomes.pop("a.png").startswith(f"{pictures}/a.png: its worker died 3 times; give smaller tiles")
    assert set(outcomes.values()) == {"None"}
    assert (tmp_path / "died").exists()
    assert set(files(tmp_path / "out")) == {"b.jpg", "c.png", "sub/a.png", "sub/deep/d.png"}
    unable = "no worker starts (ModuleNotFoundError: No module named 'mprnet_jax'); is mprnet_jax"
    assert any(line.startswith(unable) for line in printed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "denoising", "--input", "nowhere", "--output", "out"), "nowhere: no such file or folder"),
        (
            ("--task", "denoising", "--input", ".", "--list", "none.txt", "--output", "out"),
            "--list none.txt: cannot be",
        ),
        (("--task", "denoising", "--input", ".", "--output", "out", "--workers", "0"), "--workers 0: out of range"),
        (("--input", ".", "--output", "out"), "one of the arguments --task --checkpoint is required"),
    ],
)
def test_mistakes_of_the_command_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL))["main"](arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
