"""The command: whole batches, bad inputs, nothing overwritten."""

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.batch import previews, settings_record
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import PRETRAINED, SAMPLES
from mprnet_jax.infer import main
from mprnet_jax.model import init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.runtime import devices
from mprnet_jax.support.errors import UserError
from tests.helpers import dng


@pytest.fixture
def checkpoint(tmp_path, tiny):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    return str(tmp_path / "bundle")


@pytest.fixture
def folder(tmp_path, photo):
    for name in ("a.png", "b.jpg"):
        images.write(tmp_path / "in" / name, photo[:32, :40])
    return tmp_path / "in"


def run(*argv):
    """Exit code of the command."""
    try:
        main([str(argument) for argument in argv])
    except SystemExit as stop:
        return stop.code
    return 0


def visible(folder):
    """The files of a folder and below, but those with a dot in front."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(str(path.relative_to(folder)) for path in paths)


def test_a_folder_is_restored_under_the_same_names_and_the_inputs_stay(tmp_path, folder, checkpoint, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 0
    assert visible(tmp_path / "out") == ["a.png", "b.jpg"]
    assert images.read(tmp_path / "out" / "a.png").shape == (32, 40, 3)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert "2 restored; results are in" in capsys.readouterr().out


def test_what_is_there_is_left_alone_unless_overwriting_is_asked_for(tmp_path, folder, checkpoint, capsys):
    out = tmp_path / "out"
    run("--checkpoint", checkpoint, "--input", folder, "--output", out)
    (out / "a.png").write_bytes(b"kept")
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", out) == 0
    assert (out / "a.png").read_bytes() == b"kept"
    assert "2 existing (--overwrite restores again)" in capsys.readouterr().out
    run("--checkpoint", checkpoint, "--input", folder, "--output", out, "--overwrite")
    assert (out / "a.png").read_bytes() != b"kept"


def test_bad_pictures_are_named_and_the_others_are_done(tmp_path, folder, checkpoint, capsys):
    (folder / "text.png").write_text("not a picture")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    arguments = ("--input", folder, tmp_path / "nowhere", "--output", tmp_path / "out")
    assert run("--checkpoint", checkpoint, *arguments) == 2
    assert visible(tmp_path / "out") == ["a.png", "b.jpg"]
    output = capsys.readouterr()
    for name in ("text.png", "cut.jpg", "empty.png", "nowhere"):
        (line,) = [line for line in output.err.splitlines() if name in line and "error" in line]
        assert ";" in line  # the remedy stands behind it
    assert "Traceback" not in output.err
    assert "2 restored, 4 failed" in output.out


def test_an_input_is_never_overwritten(folder, checkpoint, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", folder, "--overwrite") == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert "the result would overwrite an input; choose another --output" in capsys.readouterr().err


def test_folders_are_mirrored_and_names_formats_and_depth_are_as_asked(tmp_path, checkpoint, photo):
    deep = photo[:32, :40].astype(np.uint16) * 257
    images.write(tmp_path / "in" / "below" / "deep.png", deep)
    arguments = ("--recursive", "--suffix", "_clean", "--format", "tif", "--output", tmp_path / "out")
    assert run("--checkpoint", checkpoint, "--input", tmp_path / "in", *arguments) == 0
    result = tmp_path / "out" / "below" / "deep_clean.tif"
    assert visible(tmp_path / "out") == ["below/deep_clean.tif"]
    assert images.open_picture(result).pixels.dtype == np.uint16


def test_camera_raw_is_developed_restored_and_told_and_never_written_over(tmp_path, checkpoint, photo, capsys):
    pytest.importorskip("rawpy")
    colours = photo[:32, :40] / 255 * np.array([0.5, 1, 0.7]) * 0.9
    for name, iso in (("a.dng", 6400), ("b.dng", 100)):
        data = dng.dng(dng.mosaic(colours), orientation=6, iso=iso)
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "broken.dng").write_bytes(data[: len(data) // 2])
    arguments = ("--checkpoint", checkpoint, "--input", tmp_path / "in")
    assert run(*arguments, "--output", tmp_path / "out", "--report") == 2
    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if "error" in line]
    assert "broken.dng: camera raw that cannot be developed" in line
    assert "camera raw: 1 of Mirror One, ISO 100, 1 of Mirror One, ISO 6400; developed as shot" in output.out
    assert "Mirror One, ISO 6400" in (tmp_path / "out" / "report.html").read_text()
    result = images.open_picture(tmp_path / "out" / "a.png")
    assert (result.pixels.shape, result.pixels.dtype) == ((40, 32, 3), np.uint16)
    developed = images.open_picture(tmp_path / "in" / "a.dng").pixels
    bundle_restorer = Restorer.from_pretrained(checkpoint)
    np.testing.assert_allclose(result.pixels, bundle_restorer(developed), rtol=0, atol=1)

    assert run(*arguments, "--output", tmp_path / "in", "--format", "tif", "--overwrite") == 2
    assert (tmp_path / "in" / "b.dng").read_bytes() == data
    assert images.open_picture(tmp_path / "in" / "b.tif").pixels.dtype == np.uint16


def test_two_inputs_of_one_name_do_not_overwrite_each_other(tmp_path, folder, checkpoint, photo, capsys):
    images.write(tmp_path / "other" / "a.png", photo[:32, :40])
    inputs = (folder / "a.png", tmp_path / "other" / "a.png")
    assert run("--checkpoint", checkpoint, "--input", *inputs, "--output", tmp_path / "out") == 2
    assert "would overwrite that of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "sharpening", "--input", "x", "--output", "out"], "invalid choice: 'sharpening'"),
        (["--task", "denoising", "--output", "out"], "name pictures or folders"),
        (["--input", "x", "--output", "out"], "name a task"),
        (["--task", "denoising", "--input", "x", "--output", "out", "--quality", "0"], "--quality must be in 1..100"),
        (["--checkpoint", "", "--input", "x", "--output", "out"], "an empty name was given"),
        (["--task", "denoising", "--input", "x", "--output", ""], "an empty name was given"),
        (["--checkpoint", "nowhere", "--input", "x", "--output", "out"], "nowhere: neither a task"),
        (["--task", "denoising", "--input", "x", "--output", "out", "--tile", "-8"], "at least 16 pixels, got -8"),
        (["--task", "denoising", "--input", "x", "--output", "out", "--tile", "big"], "got 'big'"),
        (["--task", "denoising", "--input", "x", "--output", "out", "--patch-size", "64"], "goes with --tlc"),
        (
            ["--task", "denoising", "--input", "x", "--output", "out", "--share", "3/2"],
            "must be I/N with I from 1 to N",
        ),
        (["--task", "denoising", "--input", "x", "--output", "out", "--share", "half"], "or auto; got 'half'"),
        (
            ["--task", "denoising", "--input", "x", "--output", "out", "--shiny"],
            "unrecognized arguments: --shiny; --help",
        ),
        (["--task", "denoising", "--inputt", "x"], "unrecognized arguments: --inputt (did you mean --input?)"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(PRETRAINED, "deraining", raising=False)
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mprnet_jax.infer: error: ")
    assert message in line


def test_an_output_that_cannot_be_is_refused_before_anything_is_restored(tmp_path, folder, checkpoint, capsys):
    (tmp_path / "file").touch()
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "file") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.endswith("file: is a file; name a folder to write to")


def test_a_name_that_the_file_system_does_not_take_fails_alone(tmp_path, folder, checkpoint, photo, capsys):
    images.write(folder / f"{'x' * 248}.png", photo[:32, :40])
    arguments = ("--input", folder, "--output", tmp_path / "out", "--suffix", "_restored")
    assert run("--checkpoint", checkpoint, *arguments) == 2
    output = capsys.readouterr()
    assert "2 restored, 1 failed" in output.out
    assert "File name too long" in output.err


def test_a_picture_named_twice_is_restored_once(tmp_path, folder, checkpoint, capsys):
    inputs = (folder, folder / "a.png", folder / ".." / "in" / "a.png")
    assert run("--checkpoint", checkpoint, "--input", *inputs, "--output", tmp_path / "out") == 0
    assert "2 restored;" in capsys.readouterr().out


def test_an_empty_folder_is_named_with_the_remedy(tmp_path, checkpoint, capsys):
    (tmp_path / "none").mkdir()
    assert run("--checkpoint", checkpoint, "--input", tmp_path / "none", "--output", tmp_path / "out") == 2
    assert "none: no pictures in this folder; it needs files that end in" in capsys.readouterr().err


def test_results_of_other_options_are_not_passed_over_in_silence(tmp_path, folder, checkpoint, capsys):
    command = ("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out")
    run(*command, "--stage", "1")
    run(*command, "--stage", "1")
    assert "other options" not in capsys.readouterr().err
    run(*command, "--stage", "2")
    (line,) = capsys.readouterr().err.splitlines()
    assert "some of the 2 existing results may be made with other options (stages 1, now 2)" in line
    assert line.endswith("--overwrite restores again")
    run(*command, "--stage", "2", "--overwrite")
    run(*command, "--stage", "2")
    assert "other options" not in capsys.readouterr().err


def test_a_broken_record_of_the_options_does_no_harm(tmp_path, folder, checkpoint):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / settings_record.NAME).write_text('{"settings": 3}')
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 0
    assert len(settings_record.read_record(tmp_path / "out")) == 1


def test_a_quality_that_no_result_has_is_mentioned(tmp_path, folder, checkpoint, capsys):
    command = ("--checkpoint", checkpoint, "--quality", "80", "--output")
    run(*command, tmp_path / "png", "--input", folder / "a.png")
    assert "--quality is of JPEGs, and no result is one" in capsys.readouterr().err
    run(*command, tmp_path / "jpg", "--input", folder)
    assert "--quality" not in capsys.readouterr().err


def test_names_with_line_breaks_stay_on_their_line(tmp_path, checkpoint, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "two\nlines\x1b[31m.png").write_text("not a picture")
    assert run("--checkpoint", checkpoint, "--input", tmp_path / "in", "--output", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert r"two\nlines\x1b[31m.png" in line


def test_a_link_to_nothing_is_named(tmp_path, folder, checkpoint, capsys):
    (folder / "gone.png").symlink_to("nowhere.png")
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 2
    output = capsys.readouterr()
    assert "gone.png: a link to nowhere.png, which is not there" in output.err
    assert "2 restored, 1 failed" in output.out


def test_a_result_that_cannot_be_written_fails_alone(tmp_path, folder, checkpoint, photo, monkeypatch, capsys):
    for name in ("c.png", "d.png", "e.png"):
        images.write(folder / name, photo[:32, :40])
    save = images.save_picture

    def full_disk(path, *arguments, **options):
        if path.name == "c.png":
            raise UserError(f"{path}: cannot be written (No space left on device); make room on the disk")
        save(path, *arguments, **options)

    monkeypatch.setattr(images, "save_picture", full_disk)
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 2
    assert visible(tmp_path / "out") == ["a.png", "b.jpg", "d.png", "e.png"]
    assert "4 restored, 1 failed" in capsys.readouterr().out


def test_what_the_batch_gives_is_what_the_restorer_gives(tmp_path, checkpoint, photo):
    """8 and 16 bits, colour and grey: rounded once, at the end."""
    deep = photo[:32, :40].astype(np.uint16) * 257
    for name, pixels in (("rgb.png", photo[:32, :40]), ("deep.png", deep)):
        images.write(tmp_path / "in" / name, pixels)
    Image.fromarray(photo[:32, :40, 0]).save(tmp_path / "in" / "grey.png")
    run("--checkpoint", checkpoint, "--input", tmp_path / "in", "--output", tmp_path / "out")
    restorer = Restorer.from_pretrained(checkpoint)
    exact = {
        path.stem: restorer(images.to_float(images.open_picture(path).pixels)) for path in images.find(tmp_path / "in")
    }
    rounded = {
        "rgb": images.to_uint8(exact["rgb"]),
        "deep": images.to_uint16(exact["deep"]),
        "grey": images.to_uint8(exact["grey"].mean(axis=2, keepdims=True)) + np.zeros(3, np.uint8),
    }
    for name, expected in rounded.items():
        np.testing.assert_array_equal(images.open_picture(tmp_path / "out" / f"{name}.png").pixels, expected)


def test_what_failed_is_told_again_at_the_end_of_a_long_batch(tmp_path, checkpoint, photo, capsys):
    for i in range(10):
        images.write(tmp_path / "in" / f"{i}.png", photo[:32, :40])
    (tmp_path / "in" / "0.jpg").write_text("not a picture")
    run("--checkpoint", checkpoint, "--input", tmp_path / "in", "--output", tmp_path / "out")
    output = capsys.readouterr()
    summary, failed = output.out.splitlines()
    assert summary.startswith("10 restored, 1 failed")
    assert failed == output.err.strip().replace("mprnet_jax.infer: error", "failed")


@pytest.mark.parametrize(
    "options", [("--devices", "2"), ("--tlc", "--patch-size", "16", "--tile", "96", "--halo", "24")]
)
def test_devices_and_halos_give_the_same_pictures(tmp_path, folder, checkpoint, photo, options):
    images.write(folder / "c.png", np.roll(photo[:32, :40], 7))
    base = options[:3] if "--tlc" in options else ()
    for name, added in (("plain", base), ("other", options)):
        assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / name, *added) == 0
    for path in images.find(tmp_path / "plain"):
        difference = images.read(path).astype(int) - images.read(tmp_path / "other" / path.name)
        assert np.abs(difference).max() <= 1


def test_options_of_devices_and_halos_are_checked(tmp_path, folder, checkpoint, capsys):
    command = ("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out")
    for options, message in (
        (("--devices", "0"), "must be a number of devices, or all; got '0'"),
        (("--devices", "5"), "--devices 5: there are only 4; give fewer, or all"),
        (("--halo", "full"), "halo goes with tlc"),
        (("--tlc", "--patch-size", "16", "--halo", "wide"), "halo must be full or a number of pixels, got 'wide'"),
        (("--batch", "0"), "batch must be at least 1, got 0"),
    ):
        assert run(*command, *options) == 2
        assert message in capsys.readouterr().err


def test_every_sample_picture_has_its_target_and_a_line_in_the_readme():
    readme = (SAMPLES / "README.md").read_text()
    for folder in (path for path in SAMPLES.iterdir() if path.is_dir()):
        inputs = images.find(folder / "input")
        for path in inputs:
            assert f"`{path.name}`" in readme
            assert np.shape(images.read(path)) == np.shape(images.read(folder / "target" / path.name))


def test_a_record_that_cannot_be_written_is_told_and_the_pictures_are_done(tmp_path, folder, checkpoint, capsys):
    (tmp_path / "out" / settings_record.NAME).mkdir(parents=True)
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 2
    output = capsys.readouterr()
    assert visible(tmp_path / "out") == ["a.png", "b.jpg"]
    assert "2 restored, 1 failed" in output.out
    (line,) = output.err.splitlines()
    assert "cannot be written (Is a directory)" in line


def test_a_report_lists_pictures_whose_results_are_inside_the_input_folder(tmp_path, folder, checkpoint):
    command = ("--checkpoint", checkpoint, "--input", folder, "--recursive", "--output", folder / "out", "--report")
    for _ in range(2):
        assert run(*command) == 0
        assert "2 files; the slider" in (folder / "out" / "report.html").read_text()


def test_what_a_folder_leaves_out_is_a_note(tmp_path, folder, checkpoint, capsys):
    (folder / "c.psd").touch()
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 0
    assert (
        "note: left out: 1 .psd; a picture among them is restored if it is named itself, with --format png"
        in capsys.readouterr().err
    )


def test_a_preview_has_all_cores_though_a_large_photo_has_a_core_for_each_tile(checkpoint, tmp_path, monkeypatch):
    images.write(tmp_path / "large.png", np.zeros((8, 8, 3), np.uint8))
    asked = []
    found = devices.find_devices

    def find_devices(wanted, pictures, tiled_pixels):
        asked.append((pictures, tiled_pixels))
        return found(wanted, pictures=pictures, tiled_pixels=0)

    monkeypatch.setattr(devices, "find_devices", find_devices)
    command = ["--checkpoint", checkpoint, "--input", tmp_path / "large.png", "--output", tmp_path / "seen"]
    assert run(*command, "--preview") == 0
    assert run(*command) == 0
    assert asked == [(1, 0), (1, 64)]


def test_previews_are_written_side_by_side_and_no_picture_is_restored_or_replaced(checkpoint, photo, tmp_path, capsys):
    source, output = tmp_path / "in", tmp_path / "out"
    images.write(source / "a.png", photo[:40, :48])
    images.write(output / "b_preview.png", photo[:8, :8])
    images.write(source / "b.png", photo[:40, :48])
    (source / "c.png").write_bytes(b"no picture")
    command = ["--checkpoint", checkpoint, "--input", source, "--output", output, "--preview"]
    strengths = ["--preview-strengths", "0", "1"]
    for _ in range(2):  # its own previews are replaced
        assert run(*command, "20,20", *strengths) == 2
    assert sorted(path.name for path in output.glob("*.png")) == ["a_preview.png", "b_preview.png"]
    with Image.open(output / "a_preview.png") as sheet:
        shown = np.asarray(sheet)
    assert shown.shape == (40 + previews.LABEL, 3 * 48 + 2 * previews.GAP, 3)
    np.testing.assert_array_equal(shown[:40, :48], photo[:40, :48])
    np.testing.assert_array_equal(shown[:40, 48 + previews.GAP :][:, :48], photo[:40, :48])
    np.testing.assert_array_equal(images.read(output / "b_preview.png"), photo[:8, :8])
    errors = capsys.readouterr().err
    assert "b_preview.png: is there already, and no preview" in errors
    assert "c.png" in errors
    assert run(*command, "48,0") == 2
    (output / "a_preview.png").unlink()
    assert run(*command) == 2  # the busiest part; b and c still cannot be
    assert (output / "a_preview.png").exists()
    assert "--preview 48,0 lies outside; it has 48 x 40 pixels" in capsys.readouterr().err
    assert sorted(path.name for path in source.iterdir()) == ["a.png", "b.png", "c.png"]
