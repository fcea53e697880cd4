"""Sets on disk: pairing, places, hashes."""

import subprocess

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.evaluation import protocols, test_sets
from mprnet_jax.support.errors import UserError


def write_all(folder, names, shape=(16, 24, 3)):
    for i, name in enumerate(names):
        images.write(folder / name, np.full(shape, 10 * i, np.uint8))


def test_pairs_by_name_and_never_by_position(tmp_path):
    write_all(tmp_path / "input", ["a.png", "b.png", "c.png"])
    write_all(tmp_path / "target", ["a.png", "c.jpg", "d.png"])
    found = test_sets.open_set("custom", tmp_path)
    assert [pair.name for pair in found.pairs] == ["a", "c"]
    assert found.pairs[1].read_input().max() == 20
    assert found.pairs[1].read_target().max() == pytest.approx(10, abs=2)
    assert len(found.refused) == 2
    assert str(tmp_path / "input" / "b.png") in found.refused[0]
    assert f"{tmp_path / 'target' / 'd.png'}: no partner called d.* among the input images" in found.refused[1]


def test_two_pictures_of_one_name_are_refused(tmp_path):
    write_all(tmp_path / "input", ["a.png", "b.png", "b.bmp"])
    write_all(tmp_path / "target", ["a.png", "b.png"])
    found = test_sets.open_set("custom", tmp_path)
    assert [pair.name for pair in found.pairs] == ["a"]
    assert "2 pictures are called b (b.bmp, b.png); keep one" in found.refused[0]


@pytest.mark.parametrize(
    ("name", "place"),
    [("gopro", "GoPro/test"), ("realblur_j", "RealBlur_J/test"), ("rain100h", "test/Rain100H"), ("test100", "Test100")],
)
def test_sets_are_found_in_the_usual_places(name, place, tmp_path):
    folder = tmp_path / place
    write_all(folder / "input", ["a.png"])
    write_all(folder / "target", ["a.png"])
    assert test_sets.find_folder(name, tmp_path, below=True) == folder
    assert test_sets.find_folder(name, folder) == folder
    assert test_sets.find_folder(name, folder, below=True) is None
    for other in protocols.PROTOCOLS:
        assert other == name or test_sets.find_folder(other, tmp_path, below=True) is None


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "GoPro is not here; pairs lie in input/ and target/"),
        (lambda root: (root / "target").mkdir(), "no pictures in this folder"),
        (lambda root: write_all(root / "target", ["a.png"]) or write_all(root / "input", ["b.png"]), "not one of 1"),
    ],
)
def test_a_set_without_pairs_is_one_line(prepare, message, tmp_path):
    prepare(tmp_path)
    with pytest.raises(UserError, match=message):
        test_sets.open_set("gopro", tmp_path)


def test_hash_is_that_of_the_shell(tmp_path):
    write_all(tmp_path / "input", ["b.png", "a b.png", "Z.png"])
    write_all(tmp_path / "target", ["a.png"])
    files = sorted(tmp_path.rglob("*.png"))
    shell = "find input target -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    expected = subprocess.run(
        shell, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert test_sets.sha256_of_files(tmp_path, files) == expected[0]
    (tmp_path / "target" / "a.png").rename(tmp_path / "target" / "c.png")
    assert test_sets.sha256_of_files(tmp_path, sorted(tmp_path.rglob("*.png"))) != expected[0]


@pytest.mark.parametrize("side", ["input", "target", "restored"])
def test_a_folder_that_is_a_link_to_nowhere_is_named_and_not_taken_for_missing(side, tmp_path):
    for name in ("input", "target", "restored"):
        write_all(tmp_path / name, ["a.png"])
    (tmp_path / side).rename(tmp_path / "elsewhere")
    (tmp_path / side).symlink_to(side)  # a loop
    opens = lambda: (test_sets.restored_reader("custom", tmp_path / "restored"), test_sets.open_set("custom", tmp_path))
    with pytest.raises(UserError, match=f"{side}: a link that leads nowhere; mend or remove it"):
        opens()


def test_the_count_of_pairs_is_that_of_names_and_not_of_refusals(tmp_path):
    write_all(tmp_path / "input", ["a.png", "b.png", "b.bmp", "c.png"])
    write_all(tmp_path / "target", ["a.png", "b.png", "d.png"])
    found = test_sets.open_set("custom", tmp_path)
    assert found.found == 4
    assert len(found.pairs) == 1
    assert len(found.refused) == 3
    assert sum(" b " in line for line in found.refused) == 1


def test_the_hash_leaves_out_what_cannot_be_read_as_sha256sum_does(tmp_path):
    write_all(tmp_path, ["a.png"])
    (tmp_path / "b.png").symlink_to("b.png")
    with_link = test_sets.sha256_of_files(tmp_path, [tmp_path / "a.png", tmp_path / "b.png"])
    assert with_link == test_sets.sha256_of_files(tmp_path, [tmp_path / "a.png"])
