"""tools/check_data.py and tools/prepare_sidd.py."""

import contextlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.data.sources.open_folder import open_source
from mprnet_jax.data.sources.splits import scene_of
from mprnet_jax.support.errors import UserError

TOOLS = Path(__file__).parents[2] / "tools"


def run(name, *args):
    """Exit code of a tool."""
    try:
        runpy.run_path(str(TOOLS / name))["main"]([str(arg) for arg in args])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def pair_folder(tmp_path, photo):
    for i in range(40):
        for side in ("input", "target"):
            images.write(tmp_path / "pairs" / side / f"{i:02d}.png", photo[: 64 if i else 40, :64])
    return tmp_path / "pairs"


def test_a_sound_folder_of_pairs_is_described_with_what_would_be_trained_on(pair_folder, capsys):
    assert run("check_data.py", pair_folder, "--patch-size", 48) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{pair_folder}: pairs in input/ and target/",
        "  input: 40 pictures: 64x64 (39), 64x40 (1); RGB (40)",
        "  target: 40 pictures: 64x64 (39), 64x40 (1); RGB (40)",
        "would be trained on: 40 in all, 1 crop of 48 px of each an epoch: 2 steps of batch 16",
        "  1 smaller than the crop: they are padded by reflection",
    ]


def test_everything_that_is_wrong_is_listed_file_by_file_and_the_exit_code_is_2(pair_folder, photo, capsys):
    (pair_folder / "target" / "01.png").unlink()
    images.write(pair_folder / "input" / "02.png", photo)
    path = pair_folder / "input" / "03.png"
    path.write_bytes(path.read_bytes()[:-50])
    images.write(pair_folder / "input" / "04.png", photo[:64, :64].astype(np.uint16) * 257)
    (pair_folder / "input" / "06.png").write_bytes(b"no picture")
    assert run("check_data.py", pair_folder, "--patch-size", 64) == 2
    out = capsys.readouterr().out
    assert "wrong: 4\n" in out
    for line in (
        "  input/01.png: no partner among the target images",
        "  02.png: input is 128x96, target 64x64",
        "  input/03.png: not a whole picture",
        "  input/06.png: cannot be read (not a picture)",
        "would be trained on: 36 once this is mended",
    ):
        assert line in out


def convert(folder, how):
    for path in folder.glob("*/*.png"):
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        match how:
            case "grey":
                rgb.convert("L").save(path)
            case "opaque":
                rgb.convert("RGBA").save(path)
            case "palette":
                rgb.quantize(16).save(path)
            case "deep":
                images.write(path, np.asarray(rgb).astype(np.uint16) * 257)
            case "transparent":
                rgb.putalpha(100)
                rgb.save(path)
            case "turned":
                exif = Image.Exif()
                exif[274] = 6
                rgb.save(path, exif=exif)


@pytest.mark.parametrize("how", ["grey", "opaque", "palette", "deep", "turned", "transparent"])
def test_what_is_counted_is_what_training_takes(tmp_path, photo, capsys, how):
    for name in "ab":
        for side in ("input", "target"):
            images.write(tmp_path / "pairs" / side / f"{name}.png", photo[:40, :64])
    convert(tmp_path / "pairs", how)
    source = open_source(tmp_path / "pairs")
    taken = 0
    for index in range(2):
        with contextlib.suppress(UserError):
            taken += source.read(index)["target"].dtype == np.uint8
    assert taken == (0 if how == "transparent" else 2)
    code = run("check_data.py", tmp_path / "pairs", "--batch-size", 2)
    out = capsys.readouterr().out
    assert f"would be trained on: {taken} " in out
    assert code == (0 if taken else 2)
    if how in ("grey", "palette", "deep"):
        assert "2 are converted on reading, to RGB of 8 bits" in out


def test_a_pair_of_which_one_side_is_turned_by_its_exif_is_refused_by_both(tmp_path, photo, capsys):
    for side in ("input", "target"):
        images.write(tmp_path / side / "a.png", photo[:40, :64])
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo[:40, :64]).save(tmp_path / "input" / "a.png", exif=exif)
    with pytest.raises(UserError, match="input is 40x64, target 64x40"):
        open_source(tmp_path)
    assert run("check_data.py", tmp_path, "--batch-size", 1) == 2
    assert "a.png: input is 40x64, target 64x40" in capsys.readouterr().out


def test_where_not_even_one_batch_is_there_the_exit_code_is_2(tmp_path, photo, capsys):
    images.write(tmp_path / "rgb.png", photo)
    assert run("check_data.py", tmp_path, "--batch-size", 2) == 2
    assert "fewer than one batch: choose a smaller batch or more crops of each" in capsys.readouterr().out
    assert run("check_data.py", tmp_path, "--batch-size", 2, "--crops", 2) == 0


def test_pictures_below_a_folder_of_clean_photos_are_said_not_to_be_used(tmp_path, photo, capsys):
    for name in ("a.png", "beach/b.png", "beach/more/c.png"):
        images.write(tmp_path / name, photo)
    assert run("check_data.py", tmp_path, "--batch-size", 1) == 0
    out = capsys.readouterr().out
    assert "would be trained on: 1 in all" in out
    assert "2 pictures in folders below: not used; move them up to use them" in out


@pytest.mark.parametrize("tool", ["check_data.py", "convert_torch_ckpt.py", "prepare_sidd.py"])
def test_a_misspelt_option_of_a_tool_is_one_line_with_the_right_one(tool, capsys):
    known = "--batch-size" if tool == "check_data.py" else "--output"
    assert run(tool, known + "x", "3") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: unrecognized arguments: {known}x (did you mean {known}?)" in line


def test_names_that_play_with_the_terminal_and_loops_of_links_are_listed_in_one_line_each(tmp_path, photo, capsys):
    for side in ("input", "target"):
        images.write(tmp_path / side / "a.png", photo)
    images.write(tmp_path / "input" / "b\x1b[31m\nc.png", photo)
    (tmp_path / "input" / "loop.png").symlink_to("loop.png")
    (tmp_path / "target" / "loop.png").symlink_to("nowhere.png")
    assert run("check_data.py", tmp_path) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "b\\x1b[31m\\nc.png: no partner" in out
    assert [line for line in out.splitlines() if "loop.png: cannot be read" in line]


def test_an_empty_or_missing_folder_is_one_line_of_error(tmp_path, capsys):
    assert run("check_data.py", tmp_path) == 2
    assert "no pictures in this folder; it needs files that end in .png" in capsys.readouterr().err
    assert run("check_data.py", tmp_path / "none") == 2
    assert "none: no such folder" in capsys.readouterr().err


@pytest.fixture
def sidd(tmp_path, photo):
    """Two photos: the noisy one is the clean one plus 1, so that places can be compared."""
    clean = np.minimum(photo, 254)
    for number in ("0001", "0002"):
        folder = tmp_path / "SIDD" / "Data" / f"{number}_001_S6_00100_00060_3200_L"
        images.write(folder / f"{number}_GT_SRGB_010.PNG", clean)
        images.write(folder / f"{number}_NOISY_SRGB_010.PNG", clean + 1)
    return tmp_path / "SIDD"


def patches(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_sidd_patches_are_pairs_of_the_same_place_and_their_names_keep_the_scene(sidd, tmp_path, capsys):
    assert run("prepare_sidd.py", sidd, "--output", tmp_path / "out", "--patches", 12, "--size", 32) == 0
    assert "24 patches written, 24 in all" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out" / "input").iterdir())
    assert len(names) == 24
    assert names[0] == "0001_010-00.png"
    assert {scene_of(name, "_") for name in names} == {"0001", "0002"}
    places = set()
    for name in names:
        target, noisy = (images.read(tmp_path / "out" / side / name) for side in ("target", "input"))
        assert target.shape == (32, 32, 3)
        np.testing.assert_array_equal(noisy, target + 1)
        places.add(target.tobytes())
    assert len(places) > 20


def test_cutting_goes_on_where_it_was_stopped_and_overwrites_nothing(sidd, tmp_path, capsys):
    args = (sidd, "--output", tmp_path / "out", "--patches", 5, "--size", 32)
    run("prepare_sidd.py", *args)
    whole = patches(tmp_path / "out")
    lost = tmp_path / "out" / "input" / "0002_010-3.png"
    lost.unlink()
    kept = tmp_path / "out" / "input" / "0002_010-4.png"
    kept.write_bytes(b"mine")
    assert run("prepare_sidd.py", *args) == 0
    assert "1 patches written, 10 in all" in capsys.readouterr().out
    assert kept.read_bytes() == b"mine"
    kept.write_bytes(whole[kept.relative_to(tmp_path / "out")])
    assert patches(tmp_path / "out") == whole


def test_the_settings_of_patches_appear_whole_or_not_at_all(sidd, tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        run("prepare_sidd.py", sidd, "--output", tmp_path / "out", "--patches", 2, "--size", 32)
    assert list((tmp_path / "out").iterdir()) == []


def test_other_settings_another_origin_and_a_missing_partner_are_refused(sidd, tmp_path, capsys):
    args = (sidd, "--patches", 2, "--size", 32)
    run("prepare_sidd.py", *args, "--output", tmp_path / "out")
    assert run("prepare_sidd.py", *args, "--output", tmp_path / "out", "--seed", 1) == 2
    assert "its patches are cut with" in capsys.readouterr().err
    (tmp_path / "out" / "patches.json").write_text("{")
    assert run("prepare_sidd.py", *args, "--output", tmp_path / "out") == 2
    assert "patches.json: damaged" in capsys.readouterr().err
    (tmp_path / "out" / "patches.json").unlink()
    (tmp_path / "mine" / "input").mkdir(parents=True)
    assert run("prepare_sidd.py", *args, "--output", tmp_path / "mine") == 2
    assert "has input/ or target/ of another origin" in capsys.readouterr().err
    assert run("prepare_sidd.py", sidd, "--output", tmp_path / "big") == 2
    assert "128x96 is smaller than a patch of 256" in capsys.readouterr().err
    next(sidd.rglob("*_NOISY_*")).unlink()
    assert run("prepare_sidd.py", *args, "--output", tmp_path / "out") == 2
    assert "complete the download" in capsys.readouterr().err
    assert run("prepare_sidd.py", tmp_path / "out", "--output", tmp_path / "out2") == 2
    assert "no *_GT_SRGB_*.PNG in it or below" in capsys.readouterr().err
