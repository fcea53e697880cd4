"""What tools/benchmark.py says: turns, ratios, differences, who could not run, and where we lose."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.model import init_params
from tests.helpers.tiny import TINY

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def timing(monkeypatch):
    from benchmarks import timing

    monkeypatch.setattr(timing, "PAUSE", 0)
    monkeypatch.setattr(timing, "TURN", 0)
    return timing


def contestant(timing, name, order, answer=0.0):
    return lambda: timing.Contestant(lambda: order.append(name), lambda _: np.full((1, 2, 2, 3), answer), None)


def test_contestants_take_turns_after_one_run_to_warm_up(timing):
    order = []
    results = timing.interleave({name: contestant(timing, name, order) for name in "ab"}, rounds=3)
    assert "".join(order) == "ab" + 3 * "aabb"  # in each turn one run that is not timed
    assert [len(result.wall) for result in results] == [3, 3]


def test_a_contestant_that_cannot_run_is_named_with_the_reason(timing, capsys):
    from benchmarks import report

    def missing():
        raise timing.Missing("no such package")

    results = timing.interleave({"ours": contestant(timing, "ours", []), "theirs": missing}, rounds=1)
    report.print_rows(report.summary(results, "ours", "theirs", None, None), "ours")
    assert "theirs: not measured, no such package" in capsys.readouterr().out


def test_the_table_says_ratios_differences_and_where_we_lose(timing, capsys):
    from benchmarks import report

    results = [
        timing.Result("ours", wall=[3.0, 2.0], cpu=[2.0, 2.0], answer=np.full((2, 2), 0.5)),
        timing.Result("slow", wall=[5.0, 4.0], cpu=[6.0, 6.0], answer=np.full((2, 2), 0.5)),
        timing.Result("fast", wall=[1.0, 1.5], cpu=[1.0, 1.0], answer=np.full((2, 2), 0.6)),
    ]
    rows = report.summary(results, "ours", "slow", flops=4e9, peak=8e9)
    assert [row["ratio"] for row in rows] == [1, 2, 0.5]
    assert [row["cpu_ratio"] for row in rows] == [1, 3, 0.5]
    assert [row["share_of_peak"] for row in rows] == [0.25, 0.125, 0.5]
    assert rows[2]["max_difference"] == pytest.approx(0.1)
    assert rows[2]["psnr_db"] == pytest.approx(20)
    report.print_rows(rows, "ours")
    out = capsys.readouterr().out
    assert "ours loses to fast: 2.00 times its time" in out
    assert "loses to slow" not in out


def test_types_are_compared_with_their_own_and_differences_are_from_the_exact_answer(timing):
    from benchmarks import report

    half = np.full((2, 2), 0.5)
    results = [
        timing.Result("ours", wall=[4.0], cpu=[4.0], answer=half),
        timing.Result("ours bfloat16", wall=[2.0], cpu=[2.0], answer=half),
        timing.Result("theirs", wall=[6.0], cpu=[6.0], answer=half + 0.2, exact=half + 0.1),
        timing.Result("theirs, bfloat16", wall=[3.0], cpu=[3.0], answer=half),
    ]
    rows = report.summary(results, "ours", "theirs", None, None)
    assert [row["ratio"] for row in rows] == [1, 1, 1.5, 1.5]
    assert [row["max_difference"] for row in rows] == pytest.approx([0.1] * 4)


def test_what_is_done_at_once_is_run_for_a_while(timing, monkeypatch):
    monkeypatch.setattr(timing, "TURN", 0.01)
    results = timing.interleave({"a": contestant(timing, "a", [])}, rounds=1)
    assert len(results[0].wall) > 1


def test_the_contestant_with_onednn_runs_the_program_that_many_pictures_get(monkeypatch):
    from benchmarks import networks

    programs = []
    monkeypatch.setattr(networks.dispatch, "has_onednn_convolutions", lambda dtype: True)
    monkeypatch.setattr(networks, "compile_restoring", lambda key, number: programs.append(key.network) or print)
    monkeypatch.setattr(networks, "device_bytes", lambda program: None)
    networks.ours(TINY, init_params(TINY, seed=0), np.zeros((1, 16, 16, 3), np.float32), "float32", onednn=True)
    assert [(program.onednn, program.every_stage) for program in programs] == [(True, False)]


def test_infinite_psnr_becomes_null_in_json(tmp_path):
    from benchmarks import report

    report.save(tmp_path / "new" / "a.json", {"rows": [{"psnr_db": float("inf"), "min_s": 1.5}]})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"rows": [{"psnr_db": None, "min_s": 1.5}]}


def test_operations_are_those_of_the_paper():
    from benchmarks import networks, timing

    from mprnet_jax.model import PRESETS

    try:
        counted = networks.flops(PRESETS["deraining"], (1, 256, 256, 3))
    except timing.Missing as reason:
        pytest.skip(str(reason))
    assert counted / 2 == pytest.approx(141.0e9, rel=0.01)  # multiplications at 256 x 256, counted by hand before


def test_peak_memory_is_this_process_own_and_not_its_parents():
    ballast = np.ones(400_000_000, np.uint8)  # held by the parent
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from benchmarks import timing; print(timing.host_peak_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(TOOLS)], capture_output=True, text=True, check=True)
    assert 5_000_000 < int(done.stdout) < ballast.nbytes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["restore", "--size", "20"], "multiples of 8"),
        (["restore", "--threads", "9999"], "--threads must be in 1.."),
        (["memory", "--megapixels", "0"], "must be positive"),
    ],
)
def test_bad_options_give_one_line(options, said, capsys):
    import benchmark

    with pytest.raises(SystemExit) as stopped:
        benchmark.main(options)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_contestants_give_the_same_answer_and_are_written_with_a_plot(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    import benchmark

    output = tmp_path / "a.json"
    options = ["restore", "--preset", "light", "--size", "16", "--rounds", "1", "--no-memory", "--output", str(output)]
    benchmark.main([*options, "--only", "mprnet_jax", "eager", "onnx"])
    rows = {row["name"]: row for row in json.loads(output.read_text())["results"]["light, 1 x 16 x 16"]}
    assert rows["mprnet_jax"]["max_difference"] < 1e-5
    assert rows["mprnet_jax"]["min_s"] > 0
    assert output.with_suffix(".svg").read_text().count("<svg") == 1
    assert "PyTorch eager" in capsys.readouterr().out


def test_the_script_in_pytorch_restores_a_file_as_the_command_does(tmp_path, photo):
    pytest.importorskip("torch")
    if importlib.util.find_spec("spandrel_extra_arches") is None:
        pytest.skip("spandrel_extra_arches is not installed")
    from benchmarks import files

    from mprnet_jax.restoring import Restorer

    picture = photo[:64, :80]  # multiples of 8: paddings are each program's own
    images.write(tmp_path / "a.png", picture)
    files.restore_with_torch("denoising", tmp_path / "a.png", tmp_path / "b.png", 64)
    restorer = Restorer.from_pretrained("denoising", tile=64, engine="xla")
    assert np.abs(images.read(tmp_path / "b.png").astype(int) - restorer(picture)).max() <= 1


def test_files_are_measured_with_each_engine_and_who_cannot_run_is_said(tmp_path, capsys, monkeypatch):
    import benchmark
    from benchmarks import files

    commands = []

    def run(command, environment):
        commands.append(command)
        if "--alone" in command:
            raise files.UserError("that failed: this needs PyTorch")
        return {"wall_s": 2.0, "cpu_s": 1.0}

    monkeypatch.setattr(files, "run_command", run)
    benchmark.main(["files", "--megapixels", "0.01", "--dtype", "float32", "--output", str(tmp_path / "a.json")])
    names = [row["name"] for row in json.loads((tmp_path / "a.json").read_text())["results"]]
    assert names == [f"{engine}, float32, {time}" for engine in ("xla", "openvino") for time in ("first", "second")] + [
        files.SCRIPT
    ]
    assert [command[command.index("--engine") + 1] for command in commands[:-1]] == ["xla"] * 2 + ["openvino"] * 2
    assert "this needs PyTorch" in capsys.readouterr().out


def test_the_folder_of_sizes_has_no_size_twice(tmp_path):
    from benchmarks import start

    folder = start._folder_of_sizes(tmp_path / "sizes", 30)
    shapes = [images.read(path).shape[:2] for path in images.find(folder)]
    assert len({h for h, _ in shapes}) == len({w for _, w in shapes}) == 30
