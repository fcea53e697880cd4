"""The evaluation command from files and from weights to numbers on disk, against scores computed elsewhere."""

import csv
import errno
import json
import os
import runpy
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.io
import skimage.metrics
from attacks.benchmark_files import dnd, sidd

from mprnet_jax import evaluate, images
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.evaluation import candidates, tables
from mprnet_jax.evaluation.comparison_page import compare
from mprnet_jax.evaluation.results import load
from mprnet_jax.evaluation.run import Request
from mprnet_jax.evaluation.run import evaluate as evaluate_all
from mprnet_jax.model import MPRNet, init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError


def noisy(image, sigma, seed):
    return np.clip(np.rint(image + np.random.default_rng(seed).normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path, photo):
    """Five pairs of 96 x 128 in tmp_path/data, and restored images in tmp_path/restored."""
    for i in range(5):
        truth = np.roll(photo, 7 * i, axis=1)
        images.write(tmp_path / "data" / "target" / f"{i}.png", truth)
        images.write(tmp_path / "data" / "input" / f"{i}.png", noisy(truth, 20, seed=i))
        images.write(tmp_path / "restored" / f"{i}.png", noisy(truth, 4 + i, seed=i + 10))
    return tmp_path / "data"


@pytest.fixture
def bundle(tmp_path, tiny):
    save_bundle(tmp_path / "tiny", Bundle(tiny, init_params(tiny, seed=1), {"licence": "none"}))
    return tmp_path / "tiny"


def run(*args) -> int:
    """The command's exit code."""
    try:
        evaluate.main([str(arg) for arg in args])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def refusals(capsys) -> list[str]:
    return [line.strip() for line in capsys.readouterr().err.splitlines() if "refused: " in line or "error: " in line]


def test_restored_files_give_the_mean_of_scores_computed_elsewhere(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--protocol", "gopro", "--data", data, "--restored", tmp_path / "restored", "--output", out) == 0
    saved = json.loads((out / "results.json").read_text())
    pairs = [[images.read(p / f"{i}.png") for p in (tmp_path / "restored", data / "target")] for i in range(5)]
    expected = [skimage.metrics.peak_signal_noise_ratio(target, restored) for restored, target in pairs]
    np.testing.assert_allclose([row["psnr"] for row in saved["images"]], expected, 1e-9)
    assert saved["mean"]["psnr"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert saved["difference"]["psnr"] == pytest.approx(np.mean(expected) - 32.66, rel=1e-9)
    assert saved["mean"]["gain"] == pytest.approx(saved["mean"]["psnr"] - saved["mean"]["input_psnr"])
    assert saved["verdict"] == "GoPro, 5 of 1,111 pairs: not comparable with the paper"
    assert saved["verdict"] in capsys.readouterr().out
    with open(out / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[0]) == ["name", "psnr", "ssim_matlab_rgb", "input_psnr", "gain"]
    assert [float(row["psnr"]) for row in rows] == [row["psnr"] for row in saved["images"]]
    assert (out / "report.html").stat().st_size > 10_000


def test_workers_change_nothing(data, tmp_path):
    for workers in (1, 4):
        request = Request("custom", data, tmp_path / f"out{workers}", restored=[tmp_path / "restored"], workers=workers)
        evaluate_all(request)
    assert (tmp_path / "out1" / "scores.csv").read_bytes() == (tmp_path / "out4" / "scores.csv").read_bytes()


def test_weights_score_as_their_restored_files(data, bundle, tmp_path):
    options = ("--protocol", "custom", "--data", data)
    assert run(*options, "--checkpoint", bundle, "--save-restored", "--output", tmp_path / "a") == 0
    assert run(*options, "--restored", tmp_path / "a" / "restored", "--output", tmp_path / "b") == 0
    assert (tmp_path / "a" / "scores.csv").read_text() == (tmp_path / "b" / "scores.csv").read_text()
    restored = images.read(tmp_path / "a" / "restored" / "3.png")
    restorer = Restorer.from_pretrained(bundle)
    np.testing.assert_array_equal(restored, restorer(images.read(data / "input" / "3.png")))
    by = load(tmp_path / "a").restored_by
    assert by.sha256 == candidates.sha256_of_params(restorer.params)
    assert by.options["dtype"] == "float32"
    assert by.provenance == {"licence": "none"}


def test_weights_have_the_same_hash_in_any_container_and_another_when_one_number_changes(tiny):
    params = init_params(tiny, seed=1)
    before = candidates.sha256_of_params(params)
    assert before == candidates.sha256_of_params(init_params(tiny, seed=1))
    params["tail"]["kernel"][0, 0, 0, 0] += 1e-3
    assert before != candidates.sha256_of_params(params)


def test_runs_of_one_name_are_kept_apart_and_folders_do_not_move_when_one_fails(data, tmp_path):
    for place in ("a", "b", "c"):
        (tmp_path / place).mkdir()
    for place in ("a", "b"):
        (tmp_path / place / "same").symlink_to(tmp_path / "restored")
    sources = [tmp_path / place / "same" for place in ("c", "a", "b")]
    # Resolved names are those of the folder that the links lead to.
    request = Request("custom", data, tmp_path / "out", restored=sources, limit=1)
    results, refused = evaluate_all(request)
    assert [result.label for result in results] == ["restored", "restored_2"]
    assert len(refused) == 1
    assert (tmp_path / "out" / "restored_2" / "results.json").exists()


def test_bad_pairs_are_one_line_each_and_the_rest_is_scored(data, tmp_path, capsys):
    (data / "input" / "0.png").unlink()  # no partner
    images.write(data / "input" / "1.png", np.zeros((96, 120, 3), np.uint8))  # another size
    (tmp_path / "restored" / "2.png").unlink()
    (data / "target" / "3.png").write_bytes((data / "target" / "3.png").read_bytes()[:500])  # cut off
    out = tmp_path / "out"
    assert run("--protocol", "rain100l", "--data", data, "--restored", tmp_path / "restored", "--output", out) == 2
    lines = refusals(capsys)
    assert len(lines) == 4
    for line, needles in zip(
        lines,
        [
            (data / "target" / "0.png", "no partner called 0.*", "add it"),
            ("Rain100L 1", "input and target differ in size (120 x 96 and 128 x 96)", "crop or restore"),
            (tmp_path / "restored", "no restored picture called 2.*", "restore it"),
            (data / "target" / "3.png", "not a whole picture", "download it again"),
        ],
        strict=True,
    ):
        assert all(str(needle) in line for needle in needles), line
    saved = load(out)
    assert [row["name"] for row in saved.images] == ["4"]
    assert len(saved.refused) == 4
    assert saved.found == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere", "--restored", "x"), "no such folder"),
        (("--data", "{data}", "--restored", "{empty}"), "no pictures in this folder"),
        (("--data", "{empty}", "--restored", "{empty}"), "no pairs here; pairs lie in input/ and target/"),
        (("--data", "{data}", "--checkpoint", "nowhere"), "neither a task"),
        (("--data", "{data}", "--restored", "{other}"), "not one of its 1 pictures is called as one of the 5 pairs"),
        (("--data", "{data}", "--task", "auto"), "name one"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_exit_code_2(arguments, message, data, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    images.write(tmp_path / "other" / "0_restored.png", np.zeros((96, 128, 3), np.uint8))
    places = {"data": data, "empty": tmp_path / "empty", "other": tmp_path / "other"}
    arguments = [argument.format(**places) for argument in arguments]
    assert run("--protocol", "custom", *arguments, "--output", tmp_path / "out") == 2
    lines = refusals(capsys)
    assert len(lines) == 1
    assert message in lines[0]


def test_options_that_make_no_sense_are_refused(tmp_path, capsys):
    for arguments in (
        ["--data", "x", "--restored", "y"],
        ["--protocol", "gopro", "--data", "x"],
        ["--protocol", "gopro", "--data", "x", "--restored", "y", "--stages"],
        ["--protocol", "goprp", "--data", "x", "--restored", "y"],
    ):
        assert run(*arguments, "--output", tmp_path) == 2
        assert "error:" in capsys.readouterr().err


def test_help_has_an_example_of_each_use(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for option in ("--protocol gopro", "--restored", "--stages --dtypes", "--compare", "--protocol all", "Exit code"):
        assert option in text


def test_identical_images_have_ssim_1_and_psnr_inf_and_are_named(data, tmp_path):
    images.write(tmp_path / "restored" / "0.png", images.read(data / "target" / "0.png"))
    request = Request("custom", data, tmp_path / "out", restored=[tmp_path / "restored"])
    (result,), refused = evaluate_all(request)
    assert not refused
    assert result.images[0]["psnr"] == np.inf
    assert [result.images[0][name] for name in result.columns if name.startswith("ssim")] == pytest.approx([1, 1, 1])
    assert result.mean("psnr") == np.inf
    assert result.notes[0].startswith("1 image equals its truth, PSNR inf; mean PSNR of the others: 3")
    saved = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=pytest.fail)
    assert saved["mean"]["psnr"] == "inf"
    assert load(tmp_path / "out").images == result.images
    assert "inf" in tables.summary(result)


def test_limit_takes_pairs_from_the_whole_set(data, tmp_path):
    request = Request("custom", data, tmp_path / "out", restored=[tmp_path / "restored"], limit=2)
    (result,), _ = evaluate_all(request)
    assert [row["name"] for row in result.images] == ["0", "2"]
    assert result.verdict == "custom, 2 of 5 pairs"


def test_stages_are_the_networks_three_outputs_with_rising_cost(data, bundle, tiny, tmp_path):
    request = Request("custom", data, tmp_path / "out", checkpoint=[str(bundle)], stages=True, limit=1)
    results, _ = evaluate_all(request)
    assert [result.label for result in results] == ["tiny stage1", "tiny stage2", "tiny stage3"]
    image = images.to_float(images.read(data / "input" / "0.png"))
    outputs = jax.jit(MPRNet(tiny).apply)({"params": init_params(tiny, seed=1)}, image[None])
    target = images.read(data / "target" / "0.png")
    for result, output in zip(results, reversed(outputs), strict=True):
        restored = images.to_uint8(np.asarray(output[0]))
        expected = skimage.metrics.peak_signal_noise_ratio(target, restored)
        assert result.images[0]["psnr"] == pytest.approx(expected, abs=0.01)  # a pixel may round the other way
    shares = [result.restored_by.share_of_compute for result in results]
    assert 0 < shares[0] < shares[1] < shares[2] == 1
    assert (tmp_path / "out" / "stage2" / "report.html").exists()
    assert "of the whole network" in tables.summary(results[0])


def test_cost_of_the_exits_is_that_of_their_convolutions():
    from mprnet_jax.model import PRESETS

    operations = candidates.exit_operations(PRESETS["deblurring"])
    # 759.4 GMAC in convolutions, 70 % of them in stage 3; XLA counts the additions and activations too.
    assert operations[2] / 2e9 == pytest.approx(759.4, rel=0.02)
    assert 1 - operations[1] / operations[2] == pytest.approx(0.70, abs=0.01)


def test_dtypes_are_scored_side_by_side(data, bundle, tmp_path):
    request = Request("custom", data, tmp_path / "out", checkpoint=[str(bundle)], dtypes=True, limit=2)
    results, _ = evaluate_all(request)
    assert [result.label for result in results] == ["tiny float32", "tiny bfloat16"]
    assert [result.restored_by.options["dtype"] for result in results] == ["float32", "bfloat16"]
    assert results[0].mean("psnr") == pytest.approx(results[1].mean("psnr"), abs=0.5)
    assert results[0].images != results[1].images
    assert all(result.restored_by.restore_seconds_median > 0 for result in results)
    rows = tables.results_table(results).splitlines()
    assert rows[2].startswith("tiny float32 ")
    assert f"{results[1].mean('psnr'):.3f}" in rows[3]


def test_sidd_is_scored_in_floats_that_are_never_rounded(bundle, tmp_path):
    (tmp_path / "sidd").mkdir()
    blocks, truth = sidd(tmp_path / "sidd")
    request = Request("sidd", tmp_path / "sidd", tmp_path / "out", checkpoint=[str(bundle)], skip_input=True)
    (result,), refused = evaluate_all(request)
    restored = Restorer.from_pretrained(bundle)(blocks[0, 1] / np.float32(255))
    expected = skimage.metrics.peak_signal_noise_ratio(truth[0, 1] / 255, restored.astype(float), data_range=1)
    assert result.images[1]["psnr"] == pytest.approx(expected, abs=1e-6)
    assert result.verdict == "SIDD, 2 of 1,280 pairs: not comparable with the paper"
    assert not refused
    assert "input_psnr" not in result.columns


def test_sidd_restored_elsewhere_is_read_from_idenoised_or_pictures(tmp_path):
    (tmp_path / "sidd").mkdir()
    _, truth = sidd(tmp_path / "sidd")
    restored = np.clip(truth / 255 + 0.1, 0, 1).astype(np.float32)
    scipy.io.savemat(tmp_path / "Idenoised.mat", {"Idenoised": restored})
    for i in range(2):
        images.write(tmp_path / "pictures" / f"0001_{i + 1:02d}.png", restored[0, i])
    request = Request(
        "sidd", tmp_path / "sidd", tmp_path / "out", restored=[tmp_path, tmp_path / "pictures"], skip_input=True
    )
    (floats, rounded), _ = evaluate_all(request)
    expected = 10 * np.log10(1 / np.mean((restored[0, 0].astype(float) - truth[0, 0] / 255) ** 2))
    assert floats.images[0]["psnr"] == pytest.approx(expected, abs=1e-4)
    assert rounded.images[0]["psnr"] == pytest.approx(expected, abs=0.05)
    assert not floats.notes
    assert "8-bit files" in rounded.notes[0]


def test_dnd_writes_the_files_that_its_server_wants(bundle, tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    noisy_images = dnd(tmp_path / "dnd", missing=(2,), numbers=(1, 2, 3))
    damaged = tmp_path / "dnd" / "images_srgb" / "0003.mat"
    with h5py.File(damaged, "w") as file:
        file.create_dataset("InoisySRGB", data=noisy_images[3].T, chunks=(3, 30, 40), compression="gzip")
        offset = file["InoisySRGB"].id.get_chunk_info(0).byte_offset
    data = bytearray(damaged.read_bytes())
    data[offset + 100 : offset + 200] = bytes(100)  # pixels, not structure: it opens
    damaged.write_bytes(data)
    out = tmp_path / "out"
    assert run("--protocol", "dnd", "--data", tmp_path / "dnd", "--checkpoint", bundle, "--output", out) == 2
    assert [path.name for path in (out / "dnd").iterdir()] == ["0001.mat"]
    cell = scipy.io.loadmat(out / "dnd" / "0001.mat")["Idenoised"]
    restored = Restorer.from_pretrained(bundle)(noisy_images[1][4:20, 1:25])
    np.testing.assert_array_equal(cell[0, 4], restored)
    captured = capsys.readouterr()
    assert "DND, 20 of 1,000 crops: written for the benchmark's server" in captured.out
    assert "0002.mat: no such file" in captured.err
    lines = [line for line in captured.err.splitlines() if "0003" in line]
    assert len(lines) == 1
    assert f"{damaged}: not a whole MATLAB file" in lines[0]


def test_all_runs_what_is_there_in_a_column_for_each_run(data, tmp_path, capsys):
    root = tmp_path / "root"
    for place in ("GoPro/test", "test/Rain100L"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).symlink_to(data)
    (root / "SIDD").mkdir()
    (root / "SIDD" / "ValidationNoisyBlocksSrgb.mat").write_bytes(b"MATLAB 5.0 MAT-file" * 40)
    for run_name in ("one", "two"):
        (tmp_path / run_name).mkdir()
        (tmp_path / run_name / "GoPro").symlink_to(tmp_path / "restored")
    (tmp_path / "two" / "Rain100L").symlink_to(tmp_path / "restored")
    out = tmp_path / "out"
    restored = (tmp_path / "one", tmp_path / "two")
    assert run("--protocol", "all", "--data", root, "--restored", *restored, "--output", out) == 2
    captured = capsys.readouterr()
    assert f"{tmp_path / 'one'}: no restored images of Rain100L" in captured.err
    assert f"{root / 'SIDD' / 'ValidationNoisyBlocksSrgb.mat'}: not a whole MATLAB file" in captured.err
    table = [line.split() for line in (out / "table.txt").read_text().splitlines()]
    assert table[0] == ["set", "pairs", "published", "one", "two"]
    gopro = load(out / "gopro" / "two")
    assert table[1][:7] == ["GoPro", "5", "of", "1,111", "32.66", "/", "0.959"]
    assert table[1][7] == f"{gopro.mean('psnr'):.2f}"
    assert table[2][:4] == ["Rain100L", "5", "of", "100"]
    assert table[2][7] == "-"
    assert (out / "table.txt").read_text() in captured.out


def test_all_without_any_set_says_what_was_looked_for(tmp_path, capsys):
    assert run("--protocol", "all", "--data", tmp_path, "--restored", tmp_path, "--output", tmp_path / "out") == 2
    assert "looked for GoPro/test, HIDE/test" in refusals(capsys)[0]


@pytest.fixture
def two_runs(data, tmp_path, photo):
    for i in range(5):
        images.write(tmp_path / "better" / f"{i}.png", noisy(np.roll(photo, 7 * i, axis=1), 2 + i, seed=i + 50))
    folders = (tmp_path / "restored", tmp_path / "better")
    evaluate_all(Request("custom", data, tmp_path / "out", restored=folders))
    return tmp_path / "out" / "restored", tmp_path / "out" / "better"


def test_a_comparison_shows_the_pictures_and_counts(two_runs, tmp_path, capsys):
    assert run("--compare", *two_runs, "--output", tmp_path / "ab") == 0
    a, b = (np.array([row["psnr"] for row in load(folder).images]) for folder in two_runs)
    found = json.loads((tmp_path / "ab" / "compare.json").read_text())["b_minus_a"]["psnr"]
    assert found["mean"] == pytest.approx(np.mean(b - a))
    assert (found["better"], found["worse"]) == (5, 0)
    text = capsys.readouterr().out
    assert "PSNR (RGB), dB: too few images to tell, it takes 6; B - A = +" in text
    assert "B higher on 5 and lower on 0 of 5 images" in text
    page = (tmp_path / "ab" / "compare.html").read_text()
    assert page.count('class="slider"') == 3
    assert "A | B" in page


def test_a_run_against_itself_has_no_difference(two_runs, tmp_path):
    text = compare(two_runs[0], two_runs[0], tmp_path / "aa")
    assert "B - A = +0.000" in text
    assert "no difference beyond chance" in text


def test_comparison_says_what_is_missing(two_runs, data, bundle, tmp_path, capsys):
    with pytest.raises(UserError, match=r"no results.json in it; did you mean .*out/better"):
        compare(tmp_path / "out", two_runs[0], tmp_path / "ab")
    evaluate_all(Request("gopro", data, tmp_path / "gopro", restored=[tmp_path / "restored"]))
    assert run("--compare", two_runs[0], tmp_path / "gopro", "--output", tmp_path / "ab") == 2
    assert "A was scored as custom, B as gopro" in refusals(capsys)[0]
    evaluate_all(Request("custom", data, tmp_path / "net", checkpoint=[str(bundle)], limit=2))
    text = compare(two_runs[0], tmp_path / "net", tmp_path / "ab")
    assert "2 images in common; 3 that only one run has are left out" in text
    assert "run B kept none. Evaluate again with --save-restored" in (tmp_path / "ab" / "compare.html").read_text()


def test_an_output_with_the_results_of_another_request_is_refused_and_stays_as_it_is(data, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    first = ["--protocol", "custom", "--data", data, "--restored", tmp_path / "restored", "--output", out]
    assert run(*first) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    others = {
        "protocol": ["--protocol", "rain100l", *first[2:]],
        "data": [*first, "--data", tmp_path],
        "candidates": [*first, "--restored", data / "target"],
        "limit": [*first, "--limit", 2],
        "skip_input": [*first, "--skip-input"],
        "candidates ": [*first[:4], "--checkpoint", bundle, "--output", out],
        "candidates  ": [*first, "--checkpoint", bundle],
    }
    for differing, request in others.items():
        assert run(*request) == 2
        (line,) = refusals(capsys)
        assert f"{out}: holds the results of another evaluation (it differs in " in line
        assert differing.strip() in line
        assert "choose another --output" in line
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(*first) == 0  # the same request replaces its own results


def test_files_in_the_output_that_no_request_is_known_of_are_refused(data, tmp_path, capsys):
    first = ["--protocol", "custom", "--data", data, "--restored", tmp_path / "restored"]
    for name in ("report.html", "results.json", "table.txt"):
        (tmp_path / name[:3]).mkdir()
        (tmp_path / name[:3] / name).write_text("of another program")
        assert run(*first, "--output", tmp_path / name[:3]) == 2
        assert f"{name}: exists, and is not of this evaluation" in refusals(capsys)[0]
    assert run(*first, "--output", tmp_path / "out" / "restored") == 0
    assert run(*first, data / "target", "--output", tmp_path / "out") == 2
    assert "request.json: exists, and is not of this evaluation" in refusals(capsys)[0]


def test_results_of_other_weights_under_the_same_name_are_kept(data, bundle, tmp_path, tiny, capsys):
    request = ["--protocol", "custom", "--data", data, "--checkpoint", bundle, "--limit", 1]
    request += ["--output", tmp_path / "out"]
    assert run(*request) == 0
    before = (tmp_path / "out" / "results.json").read_bytes()
    shutil.rmtree(bundle)
    save_bundle(bundle, Bundle(tiny, init_params(tiny, seed=2), {"licence": "none"}))
    assert run(*request) == 2
    assert "holds the results of other weights" in refusals(capsys)[0]
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_a_request_that_could_not_be_scored_leaves_the_output_free(data, tmp_path):
    assert run("--protocol", "custom", "--data", data, "--restored", "nowhere", "--output", tmp_path / "out") == 2
    assert run("--protocol", "custom", "--data", data, "--restored", data / "input", "--output", tmp_path / "out") == 0


def test_a_comparison_of_two_others_is_not_replaced(two_runs, tmp_path, capsys):
    assert run("--compare", *two_runs, "--output", tmp_path / "ab") == 0
    assert run("--compare", *two_runs, "--output", tmp_path / "ab") == 0
    before = (tmp_path / "ab" / "compare.json").read_bytes()
    assert run("--compare", *two_runs[::-1], "--output", tmp_path / "ab") == 2
    assert "holds the comparison of" in refusals(capsys)[0]
    assert (tmp_path / "ab" / "compare.json").read_bytes() == before


def test_each_run_shows_how_many_pairs_it_was_scored_on(data, tmp_path, capsys):
    (tmp_path / "fewer").mkdir()
    for i in (1, 3):
        (tmp_path / "fewer" / f"{i}.png").symlink_to(tmp_path / "restored" / f"{i}.png")
    request = ["--protocol", "custom", "--data", data, "--restored", tmp_path / "restored", tmp_path / "fewer"]
    assert run(*request, "--output", tmp_path / "out") == 2
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("restored ")).split()[1:4] == ["5", "of", "5"]
    assert next(line for line in lines if line.startswith("fewer ")).split()[1:4] == ["2", "of", "5"]
    assert any("not scored on the same pairs" in line for line in lines)


def test_a_misspelt_protocol_lists_the_choices_in_python_too(data, tmp_path):
    with pytest.raises(UserError, match=r"unknown protocol 'goprp'; choose from gopro, hide, .*, custom, all"):
        evaluate_all(Request("goprp", data, tmp_path / "out", restored=[tmp_path / "restored"]))


def test_names_with_escape_sequences_are_shown_escaped(data, tmp_path, capsys):
    nasty = "\x1b[2J\x1b]0;title\x07b"
    images.write(data / "target" / f"{nasty}.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "restored").rename(tmp_path / nasty)
    out = tmp_path / "out"
    assert run("--protocol", "custom", "--data", data, "--restored", tmp_path / nasty, "--output", out) == 2
    assert run("--protocol", "custom", "--data", tmp_path / f"{nasty}x", "--restored", "x", "--output", tmp_path) == 2
    assert run("--compare", tmp_path / nasty, tmp_path / nasty, "--output", tmp_path / "ab") == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "\x07" not in captured.out + captured.err
    assert captured.err.count(r"\x1b[2J") >= 3
    assert "\x1b" not in (tmp_path / "out" / "report.html").read_text()


def test_a_killed_or_failed_write_leaves_the_results_before_it(data, tmp_path, monkeypatch, capsys):
    request = ["--protocol", "custom", "--data", data, "--restored", tmp_path / "restored", tmp_path / "restored"]
    request += ["--output", tmp_path / "out"]
    assert run(*request) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    assert {path.name for path in files} == {"request.json", "results.json", "scores.csv", "report.html", "table.txt"}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    original = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(full))
    assert run(*request) == 2
    assert all("No space left on device" in line for line in refusals(capsys))
    monkeypatch.setattr(os, "replace", original)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_pair_that_cannot_be_aligned_is_reported_and_the_rest_is_scored(data, tmp_path, capsys):
    pytest.importorskip("cv2")
    images.write(tmp_path / "restored" / "2.png", np.full((96, 128, 3), 70, np.uint8))
    request = Request("realblur_j", data, tmp_path / "out", restored=[tmp_path / "restored"], skip_input=True)
    (result,), refused = evaluate_all(request)
    assert [row["name"] for row in result.images] == ["0", "1", "3", "4"]
    assert len(refused) == 1
    assert refused[0].startswith("RealBlur-J 2: the alignment (OpenCV findTransformECC) did not converge")
    assert "did not converge" in refusals(capsys)[0]


def test_benchmark_runs(monkeypatch, capsys):
    script = Path(__file__).parents[2] / "tools" / "benchmark.py"
    size = ["--images", "2", "--width", "32", "--height", "24", "--protocol", "custom", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", [str(script), "evaluate", *size])
    monkeypatch.syspath_prepend(script.parent)  # as Python does for a script
    runpy.run_path(str(script), run_name="__main__")
    assert "custom     1 threads" in capsys.readouterr().out


def test_options_reach_the_restorer_are_recorded_and_choose_the_published_number(data, bundle, tmp_path, tiny):
    save_bundle(tmp_path / "patched", Bundle(tiny, init_params(tiny, seed=1), {"patch_size": 32}))
    options = ("--protocol", "gopro", "--data", data, "--limit", 1)
    assert run(*options, "--checkpoint", tmp_path / "patched", "--tlc", "--output", tmp_path / "a") == 0
    assert run(*options, "--checkpoint", bundle, "--output", tmp_path / "b") == 0
    with_tlc, plain = (load(tmp_path / place) for place in "ab")
    assert with_tlc.published == (33.31, 0.964)
    assert plain.published == (32.66, 0.959)
    assert with_tlc.restored_by.options["tlc"] is True
    assert plain.restored_by.options["tile"] == "auto"
    assert with_tlc.images[0]["psnr"] != plain.images[0]["psnr"]


def test_an_option_that_cannot_be_is_one_line(data, bundle, tmp_path, capsys):
    options = ("--protocol", "custom", "--data", data, "--checkpoint", bundle, "--tile", 13)
    assert run(*options, "--output", tmp_path / "out") == 2
    assert "tile must be a multiple of 8" in refusals(capsys)[0]


def test_every_option_of_restoring_reaches_the_network_and_programs_are_kept(data, bundle, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(evaluate, "use_compile_cache", lambda: kept.append(True))
    options = ("--stage", "1", "--tlc", "--patch-size", "16", "--tile", "96", "--halo", "8", "--batch", "2")
    command = ("--protocol", "custom", "--data", data, "--limit", "1", "--skip-input", "--output")
    assert run(*command, tmp_path / "o", "--checkpoint", bundle, *options, "--devices", "2", "--save-restored") == 0
    restorer = Restorer.from_pretrained(bundle, stages=1, tlc=True, patch_size=16, tile=96, halo=8)
    (path,) = (tmp_path / "o" / "restored").iterdir()
    np.testing.assert_array_equal(images.read(path), restorer(images.read(data / "input" / path.name)))
    assert kept
    assert run(*command, tmp_path / "p", "--restored", tmp_path / "restored", "--no-compile-cache") == 0
    assert len(kept) == 1
