"""--plan: what a batch will take, and nothing else."""

import re

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.batch import plan
from mprnet_jax.batch.jobs import Batch, Naming
from mprnet_jax.batch.run import Summary
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.infer import main
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """Compiled sooner than that of the command."""
    monkeypatch.setattr(plan, "SAMPLE_SIDE", 64)


@pytest.fixture
def folder(tmp_path, tiny):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    for name, height, width in (("a.png", 48, 64), ("b.jpg", 48, 64), ("c.tif", 200, 120)):
        images.write(tmp_path / "in" / name, np.zeros((height, width, 3), np.uint8))
    return tmp_path


def planned(folder, capsys):
    command = ["--checkpoint", folder / "bundle", "--input", folder / "in", "--output", folder / "out", "--plan"]
    main([str(word) for word in (*command, "--tile", "64")])
    return capsys.readouterr()


def test_each_size_has_its_line_and_nothing_is_made(folder, capsys):
    lines = planned(folder, capsys).out.splitlines()
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["120x200", "1", "8", "of", "64x64"],
        ["64x48", "2", "whole", *lines[2].split()[3:5]],
    ]
    assert lines[3].startswith("3 to restore, about ")
    assert not (folder / "out").exists()


def test_what_is_there_is_not_counted_and_what_cannot_be_is_named(folder, capsys):
    images.write(folder / "out" / "a.png", np.zeros((48, 64, 3), np.uint8))
    (folder / "in" / "d.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit, match="2"):
        planned(folder, capsys)
    output = capsys.readouterr()
    assert "2 to restore, about " in output.out
    assert ", 1 existing (--overwrite restores again), 1 cannot be" in output.out
    (line,) = output.err.splitlines()
    assert "d.png: cannot be read" in line
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png"]


def test_devices_share_the_time_of_all(tiny, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan, "seconds_per_pixel", lambda restorer: 1.0)
    batch = Batch.find([folder / "in"], Naming(tmp_path / "out"))
    totals = []
    for devices in ((0,), (0, 1)):
        restorer = Restorer(tiny, init_params(tiny, seed=0), options=RestoreOptions(devices=devices))
        monkeypatch.setattr(plan, "duration", lambda seconds: f"{seconds:.0f} s")
        plan.show(restorer, batch, Summary())
        totals.append(int(re.search(r"about (\d+) s", capsys.readouterr().out)[1]))
    assert totals[0] == pytest.approx(2 * totals[1], abs=1)


def test_the_time_of_a_tile_is_measured_and_times_add_up(tiny, monkeypatch):
    restorer = Restorer(tiny, init_params(tiny, seed=0), options=RestoreOptions(tile=64, overlap=0))
    rows = plan.costs(restorer, {(256, 192): 3})
    assert [(row.count, row.tile, row.tiles) for row in rows] == [(3, (64, 64), 12)]
    assert rows[0].seconds > 0
    monkeypatch.setattr(plan, "seconds_per_pixel", lambda restorer: 1e-6)
    (row,) = plan.costs(restorer, {(256, 192): 3})
    assert row.seconds == pytest.approx(12 * 64 * 64 * 1e-6)
    assert row.memory == restorer.program_bytes(64, 64) > 64 * 64 * 4 * tiny.n_feat
