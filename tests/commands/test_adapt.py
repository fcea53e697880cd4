"""The command: photos to a bundle and a page, a stop, and what nothing can be learnt from."""

import json

import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mprnet_jax import images
from mprnet_jax.adapt import main
from mprnet_jax.adapting import photos as photos_module
from mprnet_jax.adapting import run as run_module
from mprnet_jax.adapting.check import Verdict
from mprnet_jax.adapting.noise_model import level
from mprnet_jax.adapting.photos import MOST_PHOTOS, Photo, read_photos
from mprnet_jax.adapting.preparing import measure_photos
from mprnet_jax.adapting.words import describe
from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.data.degradations.measured_noise import read_profiles
from mprnet_jax.model import init_params
from mprnet_jax.restoring import Restorer
from tests.helpers.noisy_photos import known_noise, smooth_scene, to_file
from tests.helpers.tiny import TINY

SHAPE = (240, 320)


def noisy(number, sigma=6.0, shape=SHAPE):
    return to_file(smooth_scene(*shape, number) + sigma * known_noise(shape, 0.6, 1.2, 0.5, number))


def run(*argv):
    """Exit code of the command."""
    try:
        main([*(str(argument) for argument in argv), "--no-compile-cache"])
    except SystemExit as stop:
        return stop.code
    return 0


def refused(capsys, *argv):
    """The one line that the command ends with."""
    assert run(*argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "bundle"
    save_bundle(path, Bundle(TINY, init_params(TINY, seed=0), {"task": "denoising"}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    for number in range(5):
        images.write(path / f"{number}.png", noisy(number))
    (path / "broken.jpg").write_bytes(b"no picture")
    return path


@pytest.fixture(scope="module")
def ended(start, folder, tmp_path_factory):
    """A run that was stopped after its plan was made, and gone on with; its training only gives back the start."""
    output = tmp_path_factory.mktemp("out") / "camera"
    argv = ("--input", folder, "--output", output, "--start", start, "--steps", 2)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "train", lambda *_: None)  # as if Ctrl-C had come
        assert run(*argv) == 0
        planned = (output / "plan.json").read_bytes()
        assert not (output / "report.html").exists()
        patch.setattr(run_module, "prepare", lambda *_: pytest.fail("prepared again"))
        patch.setattr(run_module, "train", lambda *_: start)
        code = run(*argv)
    assert (output / "plan.json").read_bytes() == planned
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return output, argv, code


def test_the_run_goes_on_after_a_stop_and_weights_that_are_not_better_are_refused(ended):
    output, _, code = ended
    verdict = Verdict(**json.loads((output / "result.json").read_text()))
    assert code == 3
    assert verdict.gain == pytest.approx(0, abs=1e-6)
    assert verdict.photos == 1
    assert not (output / "bundle").exists()


def test_the_page_stands_alone_and_shows_noise_and_verdict(ended):
    page = (ended[0] / "report.html").read_text()
    assert "The shipped weights stay" in page
    assert "sigma 6." in page or "sigma 5." in page
    assert page.count("<polyline") == 6
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_noise_that_is_to_be_trained_on_is_that_of_the_photos(ended):
    for profile in read_profiles(str(ended[0] / "noise.json")):
        assert profile.sigma[:, 6:10].mean() == pytest.approx(6, rel=0.1)


def test_an_ended_run_says_so_and_another_one_does_not_go_into_its_folder(ended, capsys):
    _, argv, code = ended
    assert run(*argv) == code
    assert "has ended" in capsys.readouterr().out
    assert "another steps" in refused(capsys, *argv[:-1], 3)


def test_better_weights_become_a_bundle_that_restores(ended, start, monkeypatch, tmp_path):
    output, argv, _ = ended
    (tmp_path / "camera").mkdir()
    for name in ("plan.json", "noise.json"):
        (tmp_path / "camera" / name).write_bytes((output / name).read_bytes())
    monkeypatch.setattr(run_module, "train", lambda *_: start)
    monkeypatch.setattr(run_module, "judged", lambda *_: (Verdict(1.0, 0.5, 2.0, 1.5, 1), []))
    assert run(*argv[:3], tmp_path / "camera", *argv[4:]) == 0
    bundle = load_bundle(tmp_path / "camera" / "bundle")
    assert bundle.provenance["check"]["gain"] == 1.0
    assert Restorer.from_pretrained(tmp_path / "camera" / "bundle")(noisy(0)).shape == (*SHAPE, 3)


@pytest.mark.slow  # compiles a training step
def test_photos_become_weights_that_were_trained_on_their_noise(start, folder, tmp_path):
    code = run("--input", folder, "--output", tmp_path / "out", "--start", start, "--steps", 2)
    verdict = Verdict(**json.loads((tmp_path / "out" / "result.json").read_text()))
    assert code == (3 if verdict.reasons else 0)
    assert (tmp_path / "out" / "bundle").exists() == (not verdict.reasons)
    trained = load_bundle(tmp_path / "out" / "training" / "bundle")
    assert trained.provenance["degradation"]["parts"][0]["type"] == "MeasuredNoise"
    first, last = (jax.tree.leaves(bundle.params) for bundle in (load_bundle(start), trained))
    assert any((a != b).any() for a, b in zip(first, last, strict=True))


def test_drawings_clean_photos_and_tiny_pictures_are_refused_in_a_line(tmp_path, capsys, start):
    drawing = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(drawing).ellipse((60, 60, 300, 300), fill="red", outline="black", width=5)
    cases = {
        "drawing": (np.asarray(drawing), "no noise"),
        "clean": (to_file(smooth_scene(400, 400)), "no noise"),
        "tiny": (noisy(0)[:60, :60], "at least 120 pixels"),
        "small": (noisy(0)[:200, :200], "too few to learn from and to check on"),
    }
    for name, (picture, expected) in cases.items():
        images.write(tmp_path / name / "a.png", picture)
        options = ("--input", tmp_path / name, "--output", tmp_path / "out", "--start", start)
        assert expected in refused(capsys, *options)
        assert not (tmp_path / "out" / "plan.json").exists()


def test_one_photo_is_parted_into_what_is_learnt_from_and_what_is_checked_on():
    measured = measure_photos([Photo.of("a", noisy(0, shape=(480, 320)))], "folder")
    ((aside, profile),) = measured.aside
    assert measured.photos[0].pixels.shape == (320, 320, 3)
    assert aside.pixels.shape == (160, 320, 3)
    assert level(profile) == pytest.approx(6, rel=0.2)


def test_photos_of_two_settings_are_both_learnt_and_said():
    photos = [Photo.of(f"{number}", noisy(number, 3.0 if number % 2 else 12.0)) for number in range(6)]
    profiles = measure_photos(photos, "folder").profiles
    assert min(map(level, profiles)) < 4
    assert max(map(level, profiles)) > 10
    assert "the photos differ: sigma" in describe(profiles)[-1]


def test_nothing_is_written_into_the_input_folder(folder, capsys, start):
    line = refused(capsys, "--input", folder, "--output", folder / "camera", "--start", start)
    assert "lies in the input folder" in line
    assert not (folder / "camera").exists()


def test_too_little_time_is_said(tmp_path, folder, capsys, start):
    line = refused(
        capsys, "--input", folder, "--output", tmp_path / "out", "--start", start, "--minutes", 0.1
    ).rpartition("left out")[2]
    assert "give more --minutes" in line


def test_of_thousands_of_files_a_sample_is_read(tmp_path, monkeypatch):
    images.write(tmp_path / "a.png", noisy(0)[:150, :150])
    opened = []
    real = images.open_picture
    monkeypatch.setattr(photos_module.images, "open_picture", lambda path: opened.append(path) or real(path))
    assert len(read_photos([tmp_path / "a.png"] * 3000, print)) == len(opened) == MOST_PHOTOS


def test_iso_is_read_from_the_file(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x8827] = 3200
    Image.fromarray(noisy(0)[:150, :150]).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (photo,) = read_photos([tmp_path / "a.jpg"], print)
    assert photo.iso == 3200
