"""Sets of pairs as people have them on disk, made of pictures that say in which file they lay."""

import doctest
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.data.build import build
from mprnet_jax.data.prepare.tfds_builders import BUILDERS
from mprnet_jax.data.sources import layouts, open_folder, pairs
from mprnet_jax.data.sources.tfds import TfdsPairs
from mprnet_jax.evaluation import test_sets
from mprnet_jax.support.errors import UserError


def write(folder, *names, value=None):
    """Flat pictures; the value of number i of a set is 10 i + side."""
    for name in names:
        images.write(folder / name, np.full((16, 16, 3), value, np.uint8))


def write_pairs(folder, sides, *stems, start=0):
    """Pair i has the value 2 i as input and 2 i + 1 as target: whoever mixes pairs or sides up is found out."""
    for number, stem in enumerate(stems, start):
        write(folder / sides[0], f"{stem}.png", value=2 * number)
        write(folder / sides[1], f"{stem}.png", value=2 * number + 1)


def read(source):
    """Name -> values of input and target."""
    examples = [source.read(index) for index in range(len(source.names))]
    return {
        name: (int(each["input"][0, 0, 0]), int(each["target"][0, 0, 0]))
        for name, each in zip(source.names, examples, strict=True)
    }


def gopro(root):
    """As the authors of GoPro lay it out."""
    for number, (split, scene) in enumerate((("train", "GOPR1_00"), ("train", "GOPR2_00"), ("test", "GOPR3_00"))):
        write_pairs(root / split / scene, ("blur", "sharp"), "000001", "000002", start=2 * number)
        write(root / split / scene / "blur_gamma", "000001.png", "000002.png", value=99)


def hide(root):
    """As the authors of HIDE lay it out."""
    for number, (folder, stem) in enumerate(
        (("train", "1fromA"), ("test/test-close-ups", "2fromB"), ("test/test-long-shot", "3fromC"))
    ):
        write(root / folder, f"{stem}.png", value=2 * number)
        write(root / "GT", f"{stem}.png", value=2 * number + 1)


REAL = {"J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref", "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref"}


def realblur(root):
    """As the authors of RealBlur lay it out: pairs of J have even numbers below 100, those of R 100 more."""
    for offset, (letter, folder) in enumerate(REAL.items()):
        lines = []
        for number in range(1, 4):
            paths = [f"{folder}/scene00{number}/{side}/{side}_{number}.png" for side in ("gt", "blur")]
            write(root, paths[0], value=100 * offset + 2 * number + 1)
            write(root, paths[1], value=100 * offset + 2 * number)
            lines.append(" ".join(paths))
        (root / f"RealBlur_{letter}_train_list.txt").write_text("\n".join(lines[:2]) + "\n")
        (root / f"RealBlur_{letter}_test_list.txt").write_text(lines[2] + " \n")


@pytest.mark.parametrize(
    "sides",
    ["lq gt", "LQ GT", "hazy GT", "noisy clean", "blur sharp", "rain norain", "low high", "train_blur train_sharp"],
)
def test_the_names_that_people_give_both_sides_are_understood(tmp_path, sides):
    write_pairs(tmp_path / "mine", sides.split(), "a", "b")
    assert read(open_folder.open_source(tmp_path / "mine")) == {"a": (0, 1), "b": (2, 3)}


def test_own_names_come_first_and_two_candidates_for_one_side_are_refused_by_name(tmp_path):
    write_pairs(tmp_path, ("input", "target"), "a")
    write(tmp_path / "blur", "a.png", value=50)
    assert read(open_folder.open_source(tmp_path)) == {"a": (0, 1)}
    (tmp_path / "input").rename(tmp_path / "noisy")
    with pytest.raises(UserError, match=r"blur/ and noisy/ could both be the input side; rename the one"):
        open_folder.open_source(tmp_path)


def test_photos_beside_folders_with_such_names_are_clean_photos(tmp_path):
    write(tmp_path, "a.png", value=1)
    write_pairs(tmp_path, ("rain", "clean"), "b")
    assert open_folder.open_source(tmp_path).names == ["a"]


def test_a_folder_that_is_not_understood_is_described_with_the_remedy(tmp_path):
    write_pairs(tmp_path, ("before", "after"), "a")
    with pytest.raises(UserError, match=r"its folders are after/, before/\); pairs lie in input/ and target/ .*rename"):
        open_folder.open_source(tmp_path)
    (tmp_path / "after").rename(tmp_path / "gt")
    with pytest.raises(UserError, match=r"gt/ is in it, and no folder input/"):
        open_folder.open_source(tmp_path)


def test_names_that_differ_by_the_word_for_the_side_are_one_pair(tmp_path):
    for number, stem in enumerate(("001", "002", "003")):
        write(tmp_path / "rain", f"rain-{stem}.png", value=2 * number)
        write(tmp_path / "norain", f"norain-{stem}.png", value=2 * number + 1)
    assert read(open_folder.open_source(tmp_path)) == {"001": (0, 1), "002": (2, 3), "003": (4, 5)}
    (tmp_path / "rain" / "rain-002.png").unlink()
    with pytest.raises(UserError, match="1 of 3 target images have no partner .* first norain/norain-002.png"):
        open_folder.open_source(tmp_path)


def test_a_name_without_the_words_that_two_files_share_is_no_pair():
    files = lambda *names: [(name, name) for name in names]
    matched = pairs.match(files("blur_1", "noisy_1", "2"), files("gt_1", "2"))
    assert [pair.name for pair in matched.pairs] == ["2"]
    assert matched.alone == {"input": ["blur_1", "noisy_1"], "target": ["gt_1"]}


def test_gopro_of_its_authors_is_trained_on_by_scene_and_its_gamma_pictures_are_left_alone(tmp_path):
    gopro(tmp_path / "GOPRO_Large")
    found = {"GOPR1_00-000001": (0, 1), "GOPR1_00-000002": (2, 3), "GOPR2_00-000001": (4, 5), "GOPR2_00-000002": (6, 7)}
    assert read(open_folder.open_source(tmp_path / "GOPRO_Large")) == found
    assert read(open_folder.open_source(tmp_path / "GOPRO_Large" / "train")) == found
    test = read(open_folder.open_source(tmp_path / "GOPRO_Large", layouts.TEST))
    assert test == {"GOPR3_00-000001": (8, 9), "GOPR3_00-000002": (10, 11)}
    train, validation = open_folder.open_split(
        tmp_path / "GOPRO_Large", validation_share=0.5, scene_separator="-"
    )  # the recipe's separator
    assert not {name[:5] for name in train.names} & {name[:5] for name in validation.names}


def test_a_scene_with_one_side_only_is_not_left_out_in_silence(tmp_path):
    gopro(tmp_path)
    (tmp_path / "train" / "GOPR2_00" / "sharp").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"GOPR2_00: blur/ is in it, and no folder target/"):
        open_folder.open_source(tmp_path)


def test_hide_of_its_authors_has_one_folder_of_clean_pictures_for_both_splits(tmp_path):
    hide(tmp_path)
    for folder, splits in ((tmp_path, layouts.TEST), (tmp_path / "test", layouts.TRAINING)):
        assert read(open_folder.open_source(folder, splits)) == {"2fromB": (2, 3), "3fromC": (4, 5)}
    assert read(open_folder.open_source(tmp_path)) == {"1fromA": (0, 1)}
    (tmp_path / "GT" / "3fromC.png").unlink()
    with pytest.raises(UserError, match="1 of 2 input images have no partner .* first test-long-shot/3fromC.png"):
        open_folder.open_source(tmp_path, layouts.TEST)


def test_realblur_of_its_authors_is_what_its_lists_say(tmp_path):
    realblur(tmp_path)
    for offset, folder in enumerate(REAL.values()):
        values = {f"scene00{i}-{i}": (100 * offset + 2 * i, 100 * offset + 2 * i + 1) for i in (1, 2, 3)}
        test = {"scene003-3": values.pop("scene003-3")}
        assert read(open_folder.open_source(tmp_path / folder)) == values
        assert read(open_folder.open_source(tmp_path / folder, layouts.TEST)) == test
    with pytest.raises(
        UserError, match=r"lists of RealBlur_J and RealBlur_R are in it; name the folder of one: .*-J_ECC"
    ):
        open_folder.open_source(tmp_path)
    (tmp_path / REAL["J"] / "scene002" / "gt" / "gt_2.png").unlink()
    with pytest.raises(UserError, match="1 of 2 input images have no partner .* first blur/blur_2.png"):
        open_folder.open_source(tmp_path / REAL["J"])


@pytest.mark.parametrize("line", ["../a.png b.png", "/etc/a.png b.png", "a.png"])
def test_a_list_that_leads_out_of_its_folder_or_lacks_a_file_is_refused(tmp_path, line):
    (tmp_path / "X_train_list.txt").write_text(line)
    with pytest.raises(UserError, match="line 1: not two paths inside this folder"):
        open_folder.open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "lay_out", "count"),
    [
        ("gopro", "train", gopro, 4),
        ("gopro", "test", gopro, 2),
        ("hide", "test", hide, 2),
        ("realblur_j", "train", realblur, 2),
        ("realblur_r", "test", realblur, 1),
    ],
)
def test_sets_of_their_authors_are_built_and_found_beside_each_other(tmp_path, name, split, lay_out, count):
    for title, each in (("GOPRO_Large", gopro), ("HIDE_dataset", hide), ("RealBlur", realblur)):
        each(tmp_path / "all" / title)
    lay_out(tmp_path / "alone")
    for root in ("all", "alone"):
        built = TfdsPairs(build(name, tmp_path / root, tmp_path / f"built {root}", any_count=True), split)
        assert len(built.names) == count
        for of_input, of_target in read(built).values():
            assert of_target == of_input + 1
            assert (of_input >= 100) == (name == "realblur_r")


def test_a_built_set_is_completed_when_more_is_there(tmp_path, capsys):
    gopro(tmp_path / "downloads")
    (tmp_path / "downloads" / "train").rename(tmp_path / "train")
    built = build("gopro", tmp_path / "downloads", tmp_path / "sets", any_count=True)
    (tmp_path / "train").rename(tmp_path / "downloads" / "train")
    assert build("gopro", tmp_path / "downloads", tmp_path / "sets", any_count=True) == built
    assert "not whole (it has no train); it is built again" in capsys.readouterr().out
    assert len(TfdsPairs(built).names) == 4
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["gopro"]
    stamps = {path: path.stat().st_mtime_ns for path in built.iterdir()}
    build("gopro", tmp_path / "none", tmp_path / "sets", any_count=True)
    assert {path: path.stat().st_mtime_ns for path in built.iterdir()} == stamps
    with pytest.raises(UserError, match=r"not whole \(t\w+ has . of \d+ pairs\), and .*none has no downloads"):
        build("gopro", tmp_path / "none", tmp_path / "sets")


@pytest.mark.parametrize("how", ["missing", "cut", "info", "empty"])
def test_a_built_set_with_damaged_files_is_refused_and_built_again_from_downloads(tmp_path, how):
    gopro(tmp_path / "downloads")
    built = build("gopro", tmp_path / "downloads", tmp_path / "sets", any_count=True)
    (shard,) = built.glob("gopro-train.array_record*")
    match how:
        case "missing":
            shard.unlink()
        case "cut":
            shard.write_bytes(shard.read_bytes()[:-100])
        case "info":
            (built / "dataset_info.json").write_text("{")
        case "empty":
            for path in built.iterdir():
                path.unlink()
    with pytest.raises(UserError):
        open_folder.open_source(built)
    with pytest.raises(UserError, match="not whole .* has no downloads to complete it from"):
        build("gopro", tmp_path / "none", tmp_path / "sets", any_count=True)
    assert build("gopro", tmp_path / "downloads", tmp_path / "sets", any_count=True) == built
    assert len(open_folder.open_source(built).names) == 4


def test_the_folder_around_built_sets_is_understood_or_they_are_named(tmp_path):
    gopro(tmp_path / "downloads")
    build("gopro", tmp_path / "downloads", tmp_path / "sets", any_count=True)
    assert len(open_folder.open_source(tmp_path / "sets").names) == 4
    hide(tmp_path / "hide")
    build("hide", tmp_path / "hide", tmp_path / "sets", any_count=True)
    with pytest.raises(
        UserError, match=r"the built datasets gopro, hide are in it; name one, for example .*/sets/gopro"
    ):
        open_folder.open_source(tmp_path / "sets")


def test_every_builder_is_a_set_that_layouts_know():
    assert set(BUILDERS) == set(layouts.SETS)
    assert all(layouts.SETS[name][0] == builder.FOLDER for name, builder in BUILDERS.items())


def test_evaluation_finds_the_sets_of_their_authors(tmp_path):
    for title, lay_out in (("GOPRO_Large", gopro), ("HIDE_dataset", hide), ("RealBlur", realblur)):
        lay_out(tmp_path / title)
    write_pairs(tmp_path / "Rain100H", ("rain", "norain"), "1", "2")
    expected = {
        "gopro": ["GOPR3_00-000001", "GOPR3_00-000002"],
        "hide": ["2fromB", "3fromC"],
        "realblur_j": ["scene003-3"],
        "realblur_r": ["scene003-3"],
        "rain100h": ["1", "2"],
    }
    own = {"gopro": "GOPRO_Large/test", "hide": "HIDE_dataset", "realblur_j": "RealBlur", "rain100h": "Rain100H"}
    for name, names in expected.items():
        found = test_sets.open_set(name, tmp_path, below=True)
        assert [pair.name for pair in found.pairs] == names
        values = [(pair.read_input()[0, 0, 0], pair.read_target()[0, 0, 0]) for pair in found.pairs]
        assert all(target == image + 1 and (image >= 100) == (name == "realblur_r") for image, target in values)
        if name in own:
            assert [pair.name for pair in test_sets.open_set(name, tmp_path / own[name]).pairs] == names
    assert test_sets.find_folder("rain100l", tmp_path, below=True) is None
    with pytest.raises(UserError, match="Test100 is not here"):
        test_sets.open_set("test100", tmp_path)


def test_evaluation_scores_pairs_under_the_names_that_people_give_both_sides(tmp_path):
    write_pairs(tmp_path, ("hazy", "GT"), "a", "b")
    (tmp_path / "GT" / "b.png").unlink()
    found = test_sets.open_set("custom", tmp_path)
    assert ([pair.name for pair in found.pairs], found.found) == (["a"], 2)
    assert "b.png: no partner called b.* among the target images" in found.refused[0]


def test_a_folder_above_pairs_names_them(tmp_path):
    gopro(tmp_path / "GOPRO_Large")
    with pytest.raises(UserError, match=r"no pictures in this folder, but pairs below it; name .*GOPRO_Large$"):
        open_folder.open_source(tmp_path)


def test_every_name_that_the_docs_list_is_understood():
    table = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8").split("| input | target |")[1]
    table = table.split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.strip().splitlines()[1:] if line.startswith("| `")]
    assert len(rows) >= 5
    for side, cells in zip(pairs.SIDES, zip(*rows, strict=True), strict=True):
        names = [name.strip(" `").lower() for cell in cells for name in cell.split(",")]
        assert set(names) <= set(pairs.SIDE_NAMES[side])


def test_the_examples_in_docstrings_hold():
    assert doctest.testmod(pairs).attempted >= 3
    assert doctest.testmod(pairs).failed == 0
