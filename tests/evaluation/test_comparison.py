"""The paired difference against SciPy, and that its parts never contradict each other."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from mprnet_jax.evaluation import comparison, results
from mprnet_jax.evaluation.comparison_page import compare
from mprnet_jax.support.errors import UserError


def save_result(folder, psnr, names=None, sha256="0", contents=""):
    """A result of the gopro protocol with these scores, on disk."""
    names = names or [f"{i:03d}" for i in range(len(psnr))]
    rows = [{"name": name, "psnr": float(x), "ssim_matlab_rgb": 0.9} for name, x in zip(names, psnr, strict=True)]
    by = results.RestoredBy(kind="weights", source="x", sha256="0", sha256_of="y")
    dataset = results.Dataset(str(folder), sha256, "z", contents)
    results.save(folder, results.Result("gopro", folder.name, len(rows), rows, [], dataset, by, 1.0))
    return folder


def test_interval_and_p_are_those_of_scipys_paired_t_test():
    rng = np.random.default_rng(0)
    for n in (6, 7, 20, 500):
        a = rng.normal(30, 3, n)
        b = a + rng.normal(0.3, 0.6, n)
        found = comparison.paired_difference(a, b)
        expected = scipy.stats.ttest_rel(b, a)
        interval = expected.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(expected.pvalue)
        assert found.mean == pytest.approx(b.mean() - a.mean())
        assert (found.better, found.worse) == ((b > a).sum(), (b < a).sum())


def test_interval_test_and_words_agree_whatever_the_differences():
    rng = np.random.default_rng(1)
    seen = set()
    for k in range(300):
        a = rng.normal(30, 3, rng.integers(6, 30))
        step = rng.standard_t(2, a.size) if k % 2 else rng.exponential(1, a.size) - 0.7  # heavy tails, one-sided
        found = comparison.paired_difference(a, a + 0.5 * step)
        leaves_out_0 = found.low > 0 or found.high < 0
        assert leaves_out_0 == (found.p < 0.05)
        assert leaves_out_0 == (found.verdict != "no difference beyond chance")
        if leaves_out_0:
            assert found.verdict == ("B is higher" if found.mean > 0 else "A is higher")
        seen.add(found.verdict)
    assert seen == {"A is higher", "B is higher", "no difference beyond chance"}


@pytest.mark.parametrize("n", range(1, 6))
def test_where_no_test_without_assumptions_could_tell_nothing_is_told(n):
    found = comparison.paired_difference(np.arange(n) + 20.0, np.arange(n) * 1.0001 + 25.0)
    if n > 1:
        assert scipy.stats.wilcoxon(np.arange(n) * 1.0001 + 5 - np.arange(n), method="exact").pvalue > 0.05
    assert found.verdict == "too few images to tell, it takes 6"
    assert math.isnan(found.p)
    assert math.isnan(found.low)
    line = comparison.say("psnr", found, n)
    assert "95 %" not in line
    assert "nan" not in line


def test_equal_and_constant_differences_need_no_division_by_zero():
    a = np.linspace(20, 30, 8)
    same = comparison.paired_difference(a, a)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert same.verdict == "no difference beyond chance"
    shifted = comparison.paired_difference(np.full(8, 20.0), np.full(8, 20.5))
    assert (shifted.low, shifted.high, shifted.p) == (0.5, 0.5, 0)
    assert shifted.verdict == "B is higher"


def test_images_that_equal_their_truth_are_counted_and_left_out_of_the_mean(tmp_path):
    psnr = np.arange(8) + 25.0
    b = psnr + np.linspace(0.5, 1.5, 8)
    psnr[0] = b[0] = np.inf  # no difference
    b[1] = np.inf
    text = compare(save_result(tmp_path / "a", psnr), save_result(tmp_path / "b", b), tmp_path / "ab")
    found = json.loads((tmp_path / "ab" / "compare.json").read_text())["b_minus_a"]["psnr"]
    assert found["images"] == 7
    assert found["mean"] == pytest.approx(np.append(b[2:] - psnr[2:], 0).mean())
    assert (found["better"], found["worse"]) == (7, 0)
    assert "1 image equals its truth in one run alone" in text
    assert "PSNR (RGB), dB: B is higher; B - A = +" in text
    assert found["verdict"] == "B is higher"


def test_only_shared_images_count_and_other_data_are_named(tmp_path):
    a = save_result(tmp_path / "a", np.arange(8) + 25.0)
    b = save_result(tmp_path / "b", np.arange(7) + 26.0, names=[f"{i:03d}" for i in range(3, 10)], sha256="1")
    compared = comparison.measure(a, b)
    assert compared.images == ["003", "004", "005", "006", "007"]
    assert compared.differences["psnr"].mean == pytest.approx(-2)
    assert "5 images in common; 5 that only one run has" in compared.notes[1]
    assert "the data sets differ" in compared.notes[0]


def test_one_data_set_in_two_layouts_is_no_other_data(tmp_path):
    a = save_result(tmp_path / "a", np.arange(8) + 25.0, sha256="1", contents="same")
    assert (
        comparison.measure(a, save_result(tmp_path / "b", np.arange(8) + 26.0, sha256="2", contents="same")).notes == []
    )
    other = save_result(tmp_path / "c", np.arange(8) + 26.0, sha256="2", contents="other")
    assert "the data sets differ" in comparison.measure(a, other).notes[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"psnr"', '"psnt"'),
        lambda text: text.replace('"name": "001"', '"name": ["001"]'),
        lambda text: text.replace('"name": "001"', '"name": "002"'),
        lambda text: text.replace('"gopro"', '"goprp"'),
        lambda text: text.replace('"gopro"', '["gopro"]'),
        lambda text: text.replace('"sha256_of"', '"sha"'),
        lambda text: text.replace('"options": {}', '"options": 3'),
        lambda text: text.replace('"label": "b"', '"label": {}'),
        lambda text: text.replace("25.0", '"twenty"'),
        lambda text: text.replace('"refused": []', '"refused": [1]'),
        lambda text: text.replace('"seconds": 1.0', '"seconds": null'),
    ],
)
def test_a_damaged_result_is_one_line(damage, tmp_path):
    a, b = (save_result(tmp_path / name, np.arange(8) + 25.0) for name in "ab")
    damaged = damage((b / "results.json").read_text())
    (b / "results.json").write_text(damaged)
    with pytest.raises(UserError, match=r"b/results.json: not a whole result .*; evaluate again") as caught:
        compare(a, b, tmp_path / "ab")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ab").exists()
