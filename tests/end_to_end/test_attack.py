"""tools/attack.py in small: nothing gives way, what gives way is told, and whole files are read."""

import os
import time

import attack
import pytest
from attacks import evaluation_sets, pictures, trials, victims
from attacks.cases import file_case

COUNTS = {"pictures": 24, "checkpoints": 12, "bundles": 12, "runs": 12, "sets": 16}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_nothing_gives_way(kind, capsys):
    with pytest.raises(SystemExit) as ended:
        attack.main([kind, "--count", str(COUNTS[kind]), "--seed", "7"])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    lines = [line.split("|") for line in printed.out.splitlines()[2:]]
    assert sum(int(line[3]) for line in lines) == COUNTS[kind]
    assert sum(int(line[5]) for line in lines) > 0  # refused
    assert {int(line[6]) for line in lines} == {0}


@pytest.mark.parametrize("form", pictures.FORMATS)
def test_the_pictures_that_are_damaged_are_whole_before(tmp_path, form):
    (tmp_path / "picture").write_bytes(pictures.whole(form))
    assert victims.read_picture(tmp_path / "picture")[0] == []


def test_the_results_that_are_damaged_are_whole_before(tmp_path):
    (tmp_path / "results").mkdir()
    evaluation_sets.results.save(tmp_path / "results", evaluation_sets.a_result(["a", "b"]))
    assert victims.read_set(tmp_path / "results")[0] == []


BAD = {
    "a traceback": ("1 / 0", "traceback: ZeroDivisionError"),
    "a hang": ("while True: pass", "of processor time"),
    "a crash": ("os.abort()", "crashed"),
    "memory": ("bytearray(b'x' * 300_000_000); time.sleep(1)", "GB"),
    "noise": ("os.write(2, b'warning')", "printed warning"),
    "two lines": ("return ['a\\nb'], ''", "not one clear line"),
    "nothing": ("return [], ''", "not detected"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_gives_way_is_told(tmp_path, monkeypatch, kind):
    """A reader that is at fault, in the process that is watched."""
    code, said = BAD[kind]
    reader = "\n".join(
        [
            "import os, time, sys",
            "from attacks import victims",
            f"def read(path):\n    {code}\n    return [], ''",
            "victims.READERS['pictures'] = read",
            "victims.serve('pictures')",
        ]
    )
    monkeypatch.setattr(trials, "SERVE", reader)
    monkeypatch.setattr(trials, "SECONDS", 1)
    monkeypatch.setattr(trials, "BYTES", 200_000_000)
    case = file_case("any", "any", "picture", lambda: b"x")
    case = trials.dataclasses.replace(case, detected=True)
    start = time.monotonic()
    (found,) = trials.run("pictures", [case], tmp_path)
    assert found.outcome == "failed"
    assert said in found.reason
    assert time.monotonic() - start < trials.WALL_SECONDS
    assert os.listdir(tmp_path) == ["printed"]
