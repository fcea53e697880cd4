"""Sources, augmentation and batches."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mprnet_jax import images
from mprnet_jax.data import augment, pipeline, sources
from mprnet_jax.data.degradations.motion_blur import MotionBlur
from mprnet_jax.data.degradations.noise import Noise
from mprnet_jax.data.sources import open_folder
from mprnet_jax.data.sources.cache import NOT_SKIPPED, Drawn, Reader
from mprnet_jax.data.sources.open_folder import find_pairs
from mprnet_jax.data.sources.splits import split_by_scene
from mprnet_jax.support.errors import UserError
from tests.helpers.degradations import KINDS


@pytest.fixture
def folder(tmp_path, photo):
    for i in range(5):
        images.write(tmp_path / f"{i}.png", np.roll(photo, 7 * i, axis=1))
    return tmp_path


@pytest.fixture
def pair_folder(tmp_path, photo):
    """Five pairs of different sizes, the input with 100 less in red: so places can be compared."""
    for i in range(5):
        target = np.maximum(np.roll(photo, 7 * i, axis=1)[: 40 + 8 * i], 100)
        images.write(tmp_path / "target" / f"s{i // 2}-{i}.png", target)
        images.write(tmp_path / "input" / f"s{i // 2}-{i}.bmp", target - np.array([100, 0, 0], np.uint8))
    return tmp_path


def take(source, count, degradation=Noise(), start_step=0, **options):  # noqa: B008  (frozen)
    settings = {"patch_size": 32, "batch_size": 2, "seed": 3, **options}
    batches = pipeline.batches(source, degradation, start_step=start_step, **settings)
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


@pytest.fixture
def photos(folder):
    return sources.CleanPhotos(images.find(folder), crops=2)


@pytest.fixture
def pairs(pair_folder):
    return sources.Pairs(find_pairs(pair_folder), crops=2)


def assert_same(batches, others):
    for a, b in zip(batches, others, strict=True):
        np.testing.assert_array_equal(a["input"], b["input"])
        np.testing.assert_array_equal(a["target"], b["target"])


def test_a_batch_is_float_pairs_in_0_to_1_of_the_patch_size(photos):
    (batch,) = take(photos, 1)
    assert set(batch) == {"input", "target"}
    for side in ("input", "target"):
        assert batch[side].shape == (2, 32, 32, 3)
        assert batch[side].dtype == np.float32
        assert 0 <= batch[side].min() < batch[side].max() <= 1


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(photos):
    assert_same(take(photos, 12), take(photos, 12))
    assert not np.array_equal(take(photos, 1)[0]["input"], take(photos, 1, seed=4)[0]["input"])


def test_starting_at_a_step_goes_on_with_the_batch_that_would_have_come(photos):
    whole = take(photos, 12)  # over two epochs
    assert_same(whole[7:], take(photos, 5, start_step=7))


def test_any_number_of_threads_and_of_worker_processes_gives_the_same_batches(photos):
    alone = take(photos, 12, threads=1)
    assert_same(alone, take(photos, 12, threads=4, cache_bytes=0))
    assert_same(alone[3:], take(photos, 9, workers=2, start_step=3))


@pytest.mark.parametrize("degradation", [kind() for kind in KINDS.values()], ids=list(KINDS))
def test_crops_are_in_c_order_which_shared_memory_takes(photos, degradation, monkeypatch):
    """In any other, batches of worker processes go through pipes, and closing them takes 25 seconds a process."""
    cut, drawn = pipeline.CropAndAugment(32, degradation, saturation=0.5), Drawn(photos.read(0), np.int64(NOT_SKIPPED))
    monkeypatch.setattr(images, "to_float", lambda image: np.asfortranarray(image, np.float32))  # the worst there is
    for seed in range(3):
        crop = pipeline.to_float(cut.random_map(drawn, np.random.default_rng(seed))).example
        assert all(crop[side].flags.c_contiguous for side in ("input", "target"))


def test_the_parts_of_several_processes_are_the_batch_of_one(photos):
    whole = take(photos, 5, batch_size=4)
    parts = [take(photos, 5, batch_size=4, process_index=i, process_count=2) for i in range(2)]
    joined = [{side: np.concatenate((a[side], b[side])) for side in a} for a, b in zip(*parts, strict=True)]
    assert_same(whole, joined)
    with pytest.raises(UserError, match="batch_size 4 cannot be shared by 3 processes"):
        take(photos, 1, batch_size=4, process_count=3)


def test_a_process_reads_its_own_part_only(photos, monkeypatch):
    read, original = [], sources.CleanPhotos.read
    monkeypatch.setattr(sources.CleanPhotos, "read", lambda self, i: read.append(i) or original(self, i))
    take(photos, 6, batch_size=10, process_count=5, cache_bytes=0, threads=1)
    assert len(read) <= 2 * (6 + pipeline.BATCHES_AHEAD + 1)  # of 10 a batch, and what is prepared ahead


def test_an_epoch_meets_every_picture_as_often_as_it_has_crops_each_time_in_another_order(tmp_path):
    for i in range(5):
        images.write(tmp_path / f"{i}.png", np.full((40, 40, 3), i, np.uint8))
    source = sources.CleanPhotos(images.find(tmp_path), crops=2)
    seen = [np.rint(255 * batch["target"][:, 0, 0, 0]).tolist() for batch in take(source, 20)]
    epochs = np.reshape(seen, (4, 10)).tolist()
    assert all(sorted(epoch) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_both_pictures_of_a_pair_are_cropped_and_turned_alike(pairs):
    for batch in take(pairs, 20, degradation=None):
        difference = np.rint(255 * (batch["target"] - batch["input"]))
        np.testing.assert_array_equal(difference, np.broadcast_to([100, 0, 0], difference.shape))


def test_clean_pictures_need_a_degradation(photos):
    with pytest.raises(UserError, match="are clean pictures only; choose a degradation"):
        take(photos, 1, degradation=None)


def test_too_few_pictures_for_a_batch_are_refused_with_the_remedy(folder):
    source = sources.CleanPhotos(images.find(folder))
    with pytest.raises(UserError, match="hold 5 crops, fewer than one batch of 8; lower batch_size"):
        pipeline.steps_per_epoch(source, 8)


def test_what_lies_around_a_crop_is_blurred_into_it(folder):
    blur = MotionBlur(size=(15, 15))
    (batch,) = take(sources.CleanPhotos(images.find(folder)), 1, degradation=blur, patch_size=64)
    wide = images.read(folder / "0.png")
    whole = blur(wide, np.random.default_rng(0))[20:60, 30:70]
    cut = blur(augment.window(wide, 20, 30, 40, blur.margin), np.random.default_rng(0))
    margin = blur.margin
    assert np.abs(cut[margin:-margin, margin:-margin].astype(int) - whole).max() <= 1
    assert batch["input"].shape == (2, 64, 64, 3)


# Damaged pictures


def damage(path):
    path.write_bytes(path.read_bytes()[:-200])


def test_a_damaged_picture_stops_the_epoch_and_is_named(folder, photos):
    damage(folder / "3.png")
    with pytest.raises(UserError, match=r"3\.png: not a whole picture"):
        take(photos, 5)


def test_a_damaged_picture_is_replaced_by_another_named_and_counted(folder, photos, capfd):
    damage(folder / "3.png")
    options = {"on_damage": "skip", "batch_size": 5}
    batches = pipeline.batches(photos, Noise(), patch_size=32, seed=0, threads=1, **options)
    found = [next(batches) for _ in range(8)]  # four epochs
    assert batches.skipped == {"3": 8}  # twice an epoch
    batches.close()
    assert capfd.readouterr().err.count("skipped: ") == 1
    assert_same(found, take(photos, 8, seed=0, threads=3, cache_bytes=0, **options))


def test_when_all_is_damaged_skipping_ends(folder, photos):
    for path in photos.paths:
        damage(path)
    with pytest.raises(UserError, match=r"16 pictures one after another cannot be used, the last: .*png: not a whole"):
        take(photos, 1, on_damage="skip")


def test_decoded_pictures_are_kept_up_to_the_limit(photos):
    size = photos.read(0)["target"].nbytes
    reader = Reader(photos, 2 * size, "stop")
    read = lambda index: reader[index].example["target"]
    for index in range(10):
        read(index)
    assert read(5) is read(0)  # the same picture, kept
    assert read(4) is not read(4)
    assert pickle.loads(pickle.dumps(photos)).paths == photos.paths


# Augmentation


def test_the_nine_orientations_are_identity_twice_and_the_seven_others():
    square = np.arange(9).reshape(3, 3, 1)
    results = [augment.orient(square, i)[..., 0].tobytes() for i in range(augment.ORIENTATIONS)]
    assert len(set(results)) == 8
    assert results.count(square[..., 0].tobytes()) == 2
    np.testing.assert_array_equal(augment.orient(square, 6)[..., 0], square[..., 0].T)
    np.testing.assert_array_equal(augment.orient(square, 7)[..., 0], square[::-1, ::-1, 0].T)


def test_each_orientation_comes_with_probability_1_in_9_and_the_identity_with_2_in_9():
    square = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    transform = pipeline.CropAndAugment(5, None, saturation=0)
    rng = np.random.default_rng(0)
    drawn = Counter(
        transform.augment({"input": square, "target": square}, rng)["target"].tobytes() for _ in range(9000)
    )
    counts = dict(drawn)
    assert counts.pop(square.tobytes()) == pytest.approx(2000, abs=150)  # 4 standard deviations
    assert len(counts) == 7
    assert list(counts.values()) == pytest.approx([1000] * 7, abs=120)


def random_crop(image, size, rng):
    return augment.window(image, *augment.draw_crop(image.shape, size, rng), size)


def test_crops_are_uniform_and_a_small_picture_is_padded_by_reflection():
    picture = np.arange(5 * 6).reshape(5, 6, 1)
    rng = np.random.default_rng(0)
    corners = Counter(int(random_crop(picture, 4, rng)[0, 0, 0]) for _ in range(6000))
    assert set(corners) == {0, 1, 2, 6, 7, 8}
    assert list(corners.values()) == pytest.approx([1000] * 6, abs=120)
    padded = random_crop(np.arange(3.0).reshape(1, 3, 1), 4, rng)
    assert padded.shape == (4, 4, 1)
    np.testing.assert_array_equal(random_crop(np.arange(9.0).reshape(3, 3, 1), 4, rng)[0, :, 0], [0, 1, 2, 1])


def test_a_window_with_a_margin_is_the_reflected_picture():
    picture = np.random.default_rng(0).integers(256, size=(7, 9, 3))
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(augment.window(picture, 1, 3, 5, margin=4), padded[1:14, 3:16])


def test_saturation_changes_as_in_pillow_and_pixel_by_pixel(photo):
    for factor in (0.8, 1.0, 1.2):
        expected = np.asarray(ImageEnhance.Color(Image.fromarray(photo)).enhance(factor)).astype(int)
        assert np.abs(augment.saturate(photo, factor) - expected).max() <= 2  # Pillow rounds twice
    crop = (slice(10, 40), slice(20, 90))
    np.testing.assert_array_equal(augment.saturate(photo, 1.17)[crop], augment.saturate(photo[crop], 1.17))


def test_saturation_changes_with_its_probability_by_the_same_factor_from_0_8_to_1_2():
    rng = np.random.default_rng(0)
    pure = np.array([[[200, 100, 100]]], np.uint8)  # luma 129.9
    changes = [augment.draw_saturation(1 / 3, rng) for _ in range(3000)]
    reds = np.array([change(pure)[0, 0, 0] for change in changes], float)
    assert all(np.array_equal(change(pure), change(pure)) for change in changes[:20])
    assert np.mean(reds != 200) == pytest.approx(1 / 3, abs=0.035)  # 4 standard deviations
    factors = (reds[reds != 200] - 129.9) / 70.1
    assert factors.min() == pytest.approx(0.8, abs=0.02)
    assert factors.max() == pytest.approx(1.2, abs=0.02)


# Pairs


def test_pairs_are_matched_by_stem_whatever_the_ending(pair_folder):
    pairs = find_pairs(pair_folder)
    assert [(pair.input.name, pair.target.name) for pair in pairs[:2]] == [
        ("s0-0.bmp", "s0-0.png"),
        ("s0-1.bmp", "s0-1.png"),
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "target" / "s1-2.png").unlink(),
            r"1 of 5 input images have no partner among the target images, first input/s1-2.bmp; add the missing files",
        ),
        (
            lambda folder: (folder / "input" / "s1-2.bmp").unlink(),
            r"1 of 5 target images have no partner among the input images, first target/s1-2.png; add the missing",
        ),
        (
            lambda folder: images.write(folder / "input" / "s1-2.bmp", np.zeros((9, 8, 3), np.uint8)),
            r"1 of 5 pairs cannot be used, first s1-2.bmp: input is 8x9, target 128x56",
        ),
        (
            lambda folder: (folder / "input" / "s1-2.bmp").write_bytes(b"no picture"),
            r"1 of 5 pairs cannot be used, first .*s1-2.bmp: cannot be read",
        ),
        (
            lambda folder: images.write(folder / "input" / "s1-2.png", np.zeros((9, 8, 3), np.uint8)),
            r"input/s1-2.bmp and input/s1-2.png have the same name before the ending",
        ),
        (
            lambda folder: (folder / "input").rename(folder / "before"),
            r"target/ is in it, and no folder input/; pairs lie in .*/input/ and .*/target/",
        ),
        (
            lambda folder: [path.unlink() for path in (folder / "input").iterdir()],
            r"no pictures in input/; it needs files that end in .png",
        ),
    ],
)
def test_a_folder_of_pairs_with_one_mistake_is_refused(pair_folder, spoil, message):
    spoil(pair_folder)
    with pytest.raises(UserError, match=message):
        find_pairs(pair_folder)


# What is trained on and what is held out


def test_a_folder_is_opened_as_what_lies_in_it(pair_folder, photo):
    assert isinstance(open_folder.open_source(pair_folder), sources.Pairs)
    assert isinstance(open_folder.open_source(pair_folder / "input"), sources.CleanPhotos)
    with pytest.raises(UserError, match="no such folder; name one with input/ and target/"):
        open_folder.open_source(pair_folder / "none")


def test_the_validation_set_is_whole_scenes_and_the_same_whatever_the_order():
    names = [f"GOPR{scene:04d}_11-{frame:06d}" for scene in range(22) for frame in range(10 + 5 * scene)]
    train, validation = split_by_scene(names, 0.1, "-")
    assert sorted(train + validation) == list(range(len(names)))
    scenes = [{names[i].split("-")[0] for i in part} for part in (train, validation)]
    assert not scenes[0] & scenes[1]
    assert len(validation) / len(names) == pytest.approx(0.1, abs=0.04)
    _, reversed_order = split_by_scene(names[::-1], 0.1, "-")
    assert {names[::-1][i] for i in reversed_order} == {names[i] for i in validation}
    each_its_own = split_by_scene(names, 0.25)[1]
    assert len(each_its_own) == pytest.approx(len(names) / 4, abs=1)
    with pytest.raises(UserError, match="needs at least 2 scenes, and the 2 pictures are of 1"):
        split_by_scene(["a-1", "a-2"], 0.5, "-")


def test_pairs_can_be_held_out_by_name_or_by_share(pair_folder):
    train, validation = open_folder.open_split(pair_folder, held_out=frozenset({"s1-2.png"}), crops=3)
    assert validation.names == ["s1-2"]
    assert sources.length(train) == 4 * 3
    train, validation = open_folder.open_split(pair_folder, validation_share=0.3, scene_separator="-")
    assert not {name[:2] for name in train.names} & {name[:2] for name in validation.names}
    with pytest.raises(UserError, match=r"1 of the 1 held-out pictures are not in it, first x.png"):
        open_folder.open_split(pair_folder, held_out=frozenset({"x.png"}))


def test_validation_crops_are_central_of_sides_divisible_by_8_and_always_the_same(pairs, photos):
    crops = pipeline.validation_pairs(pairs, None, 48)
    assert [crop["target"].shape for crop in crops] == [(40, 48, 3)] + [(48, 48, 3)] * 4
    np.testing.assert_array_equal(crops[1]["target"], images.read(pairs.pairs[1].target)[:, 40:88])
    first, second = (pipeline.validation_pairs(photos, Noise(), 32) for _ in range(2))
    assert_same(first, second)


def test_held_out_pictures_are_not_trained_on_and_an_unknown_name_is_refused(folder):
    train, held_out = open_folder.open_split(folder, held_out=frozenset({"1.png"}))
    assert [path.name for path in train.paths] == ["0.png", "2.png", "3.png", "4.png"]
    assert [path.name for path in held_out.paths] == ["1.png"]
    with pytest.raises(UserError, match=r"1 of the 1 held-out pictures are not in it, first 9.png"):
        open_folder.open_split(folder, held_out=frozenset({"9.png"}))
    with pytest.raises(UserError, match="every picture is held out"):
        open_folder.open_split(folder, held_out=frozenset(f"{i}.png" for i in range(5)))


def test_names_are_read_without_comments_and_blank_lines(tmp_path):
    (tmp_path / "names.txt").write_text("# kept aside\na.png\n\n b.png \n")
    assert sources.read_names(tmp_path / "names.txt") == {"a.png", "b.png"}
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        sources.read_names(tmp_path / "none.txt")
