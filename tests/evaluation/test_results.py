"""Scores on disk: cells that no spreadsheet runs, numbers that stay numbers, and what is read back."""

import csv
import math

import pytest
from attacks.evaluation_sets import RESULTS_BUILT, change_result
from attacks.evaluation_sets import a_result as result

from mprnet_jax.evaluation import results
from mprnet_jax.support.errors import UserError

HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
    '=cmd|"/c calc"!A1',
    "a;=1+1",
    'a"b,c',
]


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_of_a_hostile_name_begins_a_formula_whatever_separates_the_cells(tmp_path, delimiter):
    results.save(tmp_path, result(HOSTILE))
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
    for cell in cells:
        assert is_number(cell) or not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), cell


def test_numbers_stay_numbers_and_harmless_names_stay_as_they_are(tmp_path):
    names = ["0001", "a b", "ñ雪", "1-2", "x=y"]
    results.save(tmp_path, result(names))
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == names
    assert [float(row["gain"]) for row in rows] == [-1.5, -2.5, -3.5, -4.5, -5.5]
    assert b",-1.5\r\n" in (tmp_path / "scores.csv").read_bytes()  # without quotes


def test_what_is_read_back_is_what_was_saved_with_its_odd_numbers_and_names(tmp_path):
    saved = result([*HOSTILE, "\udcff"])
    saved.images[0] |= {"psnr": math.inf, "gain": 0.0}
    saved.images[1] |= {"gain": -math.inf}
    results.save(tmp_path, saved)
    assert results.load(tmp_path) == saved


@pytest.mark.parametrize("kind", RESULTS_BUILT)
def test_results_of_another_kind_are_one_line(tmp_path, kind):
    results.save(tmp_path, result(["a"]))
    change_result(RESULTS_BUILT[kind], tmp_path)
    with pytest.raises(UserError, match="not a whole result") as caught:
        results.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()
