"""The command: whole batches, bad inputs, nothing overwritten."""

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.checkpoint import Bundle, save_bundle
from mprnet_jax.infer import SAMPLES, main
from mprnet_jax.model import init_params


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


def test_a_folder_is_restored_under_the_same_names_and_the_inputs_stay(tmp_path, folder, checkpoint, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]
    assert images.read(tmp_path / "out" / "a.png").shape == (32, 40, 3)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert "2 restored; results are in" in capsys.readouterr().out


def test_what_is_there_is_left_alone_unless_overwriting_is_asked_for(tmp_path, folder, checkpoint, capsys):
    out = tmp_path / "out"
    run("--checkpoint", checkpoint, "--input", folder, "--output", out)
    (out / "a.png").write_bytes(b"kept")
    assert run("--checkpoint", checkpoint, "--input", folder, "--output", out) == 0
    assert (out / "a.png").read_bytes() == b"kept"
    assert "2 there already" in capsys.readouterr().out
    run("--checkpoint", checkpoint, "--input", folder, "--output", out, "--overwrite")
    assert (out / "a.png").read_bytes() != b"kept"


def test_bad_pictures_are_named_and_the_others_are_done(tmp_path, folder, checkpoint, capsys):
    (folder / "text.png").write_text("not a picture")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    arguments = ("--input", folder, tmp_path / "nowhere", "--output", tmp_path / "out")
    assert run("--checkpoint", checkpoint, *arguments) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]
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
    (result,) = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert result == tmp_path / "out" / "below" / "deep_clean.tif"
    assert images.open_picture(result).pixels.dtype == np.uint16


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
        (["--task", "deraining", "--input", "x", "--output", "out"], "no weights for deraining ship yet"),
        (["--task", "denoising", "--input", "x", "--output", "out", "--quality", "0"], "--quality must be in 1..100"),
        (["--checkpoint", "", "--input", "x", "--output", "out"], "an empty name was given"),
        (["--task", "denoising", "--input", "x", "--output", ""], "an empty name was given"),
        (["--checkpoint", "nowhere", "--input", "x", "--output", "out"], "nowhere: neither a task"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(arguments, message, capsys):
    assert run(*arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert "Traceback" not in output.err


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


def test_every_sample_picture_has_its_target_and_a_line_in_the_readme():
    readme = (SAMPLES / "README.md").read_text()
    for folder in (path for path in SAMPLES.iterdir() if path.is_dir()):
        inputs = images.find(folder / "input")
        for path in inputs:
            assert f"`{path.name}`" in readme
            assert np.shape(images.read(path)) == np.shape(images.read(folder / "target" / path.name))
