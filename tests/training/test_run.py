"""The training command, on a tiny network."""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import os
import signal
import struct
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import Bundle, load_bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.data.degradations.compression import Jpeg
from mprnet_jax.data.degradations.mixture import Chain, Mixture
from mprnet_jax.data.degradations.noise import Noise, PoissonNoise
from mprnet_jax.data.sources.source import length
from mprnet_jax.model import PRESETS, init_params
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError
from mprnet_jax.train import main
from mprnet_jax.training.config import TrainConfig, to_json
from mprnet_jax.training.log import JsonLines, Log, Pace
from mprnet_jax.training.loop import explaining_out_of_memory
from mprnet_jax.training.run import (
    bundle_of,
    completed,
    describe,
    dry_run,
    first_params,
    load_start,
    notices,
    open_data,
    train,
    train_parts,
)
from mprnet_jax.training.schedule import Timeline
from mprnet_jax.training.step import Measured
from mprnet_jax.training.validation import Score
from mprnet_jax.training.workdir import keep_config
from tests.helpers.photos import made_photo
from tests.helpers.tiny import TINY


def make_config(folder: Path) -> TrainConfig:
    photos = folder / "photos"
    for i in range(5):
        images.write(photos / f"{i}.png", np.roll(made_photo(), 7 * i, axis=1))
    (folder / "held_out.txt").write_text("4.png\n")
    return TrainConfig(
        model=TINY,
        data=photos,
        held_out=folder / "held_out.txt",
        degradation=Noise((25, 25)),
        epochs=6,
        batch_size=4,
        patch_size=16,
        schedule="steps",
        learning_rate=2e-3,
        warmup_epochs=1,
        ema_decay=0.9,
        crops=2,
        log_every=1,
        validate_every=6,
        save_every=4,
    )


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    return make_config(tmp_path)


@dataclasses.dataclass
class Whole:
    """A run that was never stopped."""

    config: TrainConfig
    workdir: Path
    shown: str  # on the screen


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    config = dataclasses.replace(make_config(folder), epochs=12, validate_every=12, save_every=10, tensorboard=True)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        train(config, folder / "run", command="the command")
    return Whole(config, folder / "run", shown.getvalue())


def log_of(workdir):
    return [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_bundle_that_knows_where_it_comes_from_and_a_log(whole):
    bundle = load_bundle(whole.workdir / "bundle")
    assert bundle.config == whole.config.model
    assert bundle.provenance["command"] == "the command"
    assert bundle.provenance["step"] == 24
    log = log_of(whole.workdir)
    losses = [line["loss"] for line in log if "loss" in line]
    assert len(losses) == 24
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    scores = {line["step"]: line["validation_psnr"] for line in log if "validation_psnr" in line}
    assert list(scores) == [12, 24]
    best = load_bundle(whole.workdir / "best").provenance
    assert scores[best["step"]] == max(scores.values())
    assert best["validation_psnr"] == pytest.approx(max(scores.values()), abs=1e-3)  # the log has six digits
    assert train(whole.config, whole.workdir) == whole.workdir / "bundle"  # ended: nothing to do
    photo = images.read(whole.config.data / "4.png")[:30, :20]
    assert Restorer.from_pretrained(whole.workdir / "bundle")(photo).shape == photo.shape


@pytest.mark.slow
def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(tmp_path, whole, monkeypatch):
    config = dataclasses.replace(whole.config, tensorboard=False)
    write = Log.write

    def stop_after_five(self, **measured):
        write(self, **measured)
        if measured["step"] == 5 and "loss" in measured:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Log, "write", stop_after_five)
    assert train(config, tmp_path / "stopped") is None
    assert max(int(p.name) for p in (tmp_path / "stopped" / "checkpoints").iterdir()) < 24
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    monkeypatch.undo()
    resumed = load_bundle(train(config, tmp_path / "stopped"))
    jax.tree.map(np.testing.assert_array_equal, resumed.params, load_bundle(whole.workdir / "bundle").params)
    losses = lambda workdir: [(line["step"], line["loss"]) for line in log_of(workdir) if "loss" in line]
    assert losses(tmp_path / "stopped") == losses(whole.workdir)


def test_a_workdir_of_another_config_is_refused_with_the_differences(tmp_path, config):
    keep_config(tmp_path / "run", dataclasses.replace(config, epochs=2))
    with pytest.raises(UserError, match=r"run of another config \(epochs was 2, is 6\); choose another --workdir"):
        train(config, tmp_path / "run")


def test_what_a_killed_run_logged_after_its_last_checkpoint_is_removed(tmp_path):
    lines = JsonLines(tmp_path, start=0)
    for step in (0, 1, 2, 3):
        lines.write(step, {"loss": 0.5})
    lines.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    lines = JsonLines(tmp_path, start=2)
    lines.write(3, {"loss": 0.25})
    lines.close()
    assert [line["step"] for line in log_of(tmp_path)] == [0, 1, 2, 3]
    assert log_of(tmp_path)[-1]["loss"] == 0.25


def test_a_full_disk_under_the_log_is_one_line(tmp_path):
    lines = JsonLines(tmp_path, start=0)
    lines.path.unlink()
    lines.path.symlink_to("/dev/full")  # what is written next goes to a file that takes nothing
    with pytest.raises(UserError, match=r"log.jsonl: cannot be written \(No space left on device\); make room"):
        lines.write(1, {"loss": 0.5})
    with pytest.raises(UserError, match="No space left on device"):
        lines.close()  # what is still in its buffer


def test_a_run_can_be_continued_with_other_settings_that_change_nothing(tmp_path, config):
    keep_config(tmp_path, config)
    keep_config(tmp_path, dataclasses.replace(config, workers=2, log_every=5, checkpoints_kept=4, tensorboard=True))
    with pytest.raises(UserError, match="degradation.type was Noise, is PoissonNoise"):
        keep_config(tmp_path, dataclasses.replace(config, degradation=PoissonNoise()))


def test_a_workdir_from_before_a_field_existed_is_gone_on_with(tmp_path, config):
    older = {name: value for name, value in to_json(config).items() if name not in ("remat", "tensorboard")}
    (tmp_path / "config.json").write_text(json.dumps(older))
    keep_config(tmp_path, config)
    with pytest.raises(UserError, match=r"run of another config \(remat was False, is True\)"):
        keep_config(tmp_path, dataclasses.replace(config, remat=True))


def test_waiting_for_data_counts_while_no_step_runs_and_only_then():
    class Slow:
        def __next__(self):
            time.sleep(0.2)
            return {}

    class Running:
        def __init__(self, ready):
            self.is_ready = lambda: ready

    for ready, least, most in ((True, 0.5, 1.0), (False, 0.0, 0.0)):
        pace = Pace()
        pace.fetch(Slow(), Running(ready))
        pace.count(images=8)
        measured = pace.measured()
        assert least <= measured["data_wait"] <= most
        assert 0 < measured["images_per_second"] <= 8 / 0.2
    assert "for 10 steps to come" in pace.forecast(10)


def events_of(folder):
    """What TensorBoard's event files hold, read by their format: {tag: {step: value}}, images as (width, height)."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])  # then a checksum, the event, and another checksum
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[12 + length + 4 :]
            for value in event.summary.value:
                is_image = value.HasField("image")
                seen = (value.image.width, value.image.height) if is_image else value.simple_value
                found.setdefault(value.tag, {})[event.step] = seen
    return found


def test_a_run_can_be_looked_at(whole):
    """The bar, the log, TensorBoard, curves.png: all of one run."""
    log = log_of(whole.workdir)
    events = events_of(whole.workdir / "tensorboard")
    for name in ("loss", "lr", "psnr", "validation_psnr", "images_per_second", "data_wait"):
        logged = {line["step"]: line[name] for line in log if name in line}
        assert logged, name
        assert events[name] == pytest.approx(logged, rel=1e-6), name
    strips = {tag: seen for tag, seen in events.items() if tag.startswith("input_stage1_stage2_stage3_target/")}
    assert list(strips.values()) == [dict.fromkeys((12, 24), (5 * 128, 96))]  # one picture is held out
    with Image.open(whole.workdir / "curves.png") as curves:
        assert min(curves.size) > 500
        assert len(curves.convert("RGB").getcolors(2**24)) > 10
    for words in ("a step takes about", "GB are free", "for 4 steps to come"):
        assert words in whole.shown
    for words in ("loss=", "dB", "images/s=", "waiting for data=", "validation="):
        assert words in whole.shown


def test_the_best_checkpoint_is_kept_and_curves_are_drawn_now_and_then(tmp_path, config, monkeypatch):
    drawn = []
    monkeypatch.setattr("mprnet_jax.training.curves.draw", lambda _: drawn.append(1))
    monkeypatch.setattr("mprnet_jax.training.loop.CURVES_EVERY", float("inf"))  # so not before the end
    scores = iter([20.0, 25.0, 22.0, 24.0])
    score = lambda *_: (Score(15.0, 18.0, 19.0, next(scores), 0.5), [])
    monkeypatch.setattr("mprnet_jax.training.loop.validate", score)
    changed = {"epochs": 4, "validate_every": 2, "save_every": 2, "checkpoints_kept": 1}
    train(dataclasses.replace(config, **changed), tmp_path / "run")
    kept = {int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdecimal()}
    assert kept == {4, 8}
    assert load_bundle(tmp_path / "run" / "best").provenance["step"] == 4
    assert len(drawn) == 1


def test_resume_wants_something_to_go_on_from(tmp_path, config):
    with pytest.raises(UserError, match="run: no checkpoint to go on from; correct --workdir"):
        train(config, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_picture_that_is_damaged_is_skipped_and_counted_where_the_recipe_says_so(tmp_path, config, capsys):
    path = config.data / "2.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"2\.png"):
        train(config, tmp_path / "stops")
    train(dataclasses.replace(config, on_damage="skip", epochs=2), tmp_path / "goes on")
    assert log_of(tmp_path / "goes on")[-2]["skipped_pictures"] == 4  # 2 epochs of 2 crops
    assert "skipped: " in capsys.readouterr().err


def test_too_little_memory_is_told_with_the_remedies():
    with (
        pytest.raises(UserError, match="memory does not suffice for a step; raise --accumulate"),
        explaining_out_of_memory(),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), explaining_out_of_memory():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_pairs_are_trained_on_and_a_share_of_the_scenes_is_kept_aside(tmp_path, config, photo):
    for i in range(6):
        for side in ("input", "target"):
            images.write(tmp_path / "pairs" / side / f"scene{i // 2}-{i}.png", photo)
    paired = dataclasses.replace(
        config, data=tmp_path / "pairs", held_out=None, degradation=None, validation_share=0.3, scene_separator="-"
    )
    source, validation = open_data(paired)
    assert (len(source.names), [len(each.pairs) for each in validation]) == (4, [2])
    assert len({name.split("-")[0] for name in source.names}) == 2


def test_clean_pictures_for_a_recipe_of_pairs_are_refused_with_the_remedy(config):
    with pytest.raises(UserError, match="photos: clean pictures only, .* configs/clean_photos.py"):
        open_data(dataclasses.replace(config, degradation=None))


def test_a_run_can_start_from_a_bundle_of_the_same_sizes_only(tmp_path, config):
    params = init_params(config.model, seed=5)
    save_bundle(tmp_path / "start", Bundle(config.model, params, {}))
    config = dataclasses.replace(config, init_from=tmp_path / "start")
    jax.tree.map(np.testing.assert_array_equal, first_params(config, load_start(config))(), params)
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, n_feat=12))
    with pytest.raises(UserError, match=r"\(n_feat 6, not 12\); add --model.n-feat 6, or start from another bundle"):
        completed(wider, load_start(wider))


def test_a_run_can_start_from_weights_that_ship(config):
    light = dataclasses.replace(config, model=PRESETS["light"], init_from=Path("denoising"))
    jax.tree.map(
        np.testing.assert_array_equal,
        first_params(light, load_start(light))(),
        load_bundle(PRETRAINED["denoising"]).params,
    )


def test_a_bundle_says_its_task_its_orientations_and_all_parts_of_its_degradation(config):
    parts = Mixture((Noise(), Chain((PoissonNoise(), Jpeg((80, 90))))), (1.0, 1.0))
    config = dataclasses.replace(config, task="deraining", orientations="mirror", degradation=parts)
    said = bundle_of(completed(config, None), "command", {}, step=3).provenance
    assert (said["task"], said["orientations"], said["patch_size"], said["step"]) == (
        "deraining",
        ["rot0", "rot0_flip"],
        16,
        3,
    )
    first, second = said["degradation"]["parts"]
    assert (said["degradation"]["type"], first["type"], second["type"]) == ("Mixture", "Noise", "Chain")
    assert [step["type"] for step in second["steps"]] == ["PoissonNoise", "Jpeg"]
    assert second["steps"][1]["quality"] == [80, 90]
    json.dumps(said.to_json())


def test_sizes_task_and_orientations_come_from_the_bundle_that_a_run_starts_from(config):
    tuned = dataclasses.replace(config, model=None, init_from=Path("deraining"))
    found = completed(tuned, load_start(tuned))
    assert (found.model, found.task, found.orientations) == (PRESETS["light"], "deraining", "mirror")
    assert completed(dataclasses.replace(tuned, task="denoising"), load_start(tuned)).task == "denoising"
    assert completed(config, None).orientations == "all"
    with pytest.raises(UserError, match="model is None, which takes the sizes of a start bundle; name one"):
        dataclasses.replace(config, model=None)


def test_another_start_bundle_than_the_one_with_the_recipes_sha256_is_refused(tmp_path, config):
    for seed in (1, 2):
        save_bundle(tmp_path / f"start{seed}", Bundle(config.model, init_params(config.model, seed), {}))
    right = hashlib.sha256((tmp_path / "start1" / "SHA256SUMS").read_bytes()).hexdigest()
    named = dataclasses.replace(config, init_from_sha256=right, init_from=tmp_path / "start1")
    assert load_start(named).config == config.model
    with pytest.raises(
        UserError, match="start2: not the bundle that this recipe starts from .* --init-from-sha256 None"
    ):
        load_start(dataclasses.replace(named, init_from=tmp_path / "start2"))
    assert load_start(dataclasses.replace(named, init_from=tmp_path / "start2", init_from_sha256=None)) is not None


def test_missing_data_are_one_line_with_source_layouts_check_and_option(config):
    missing = dataclasses.replace(config, data=Path("none/here"), data_source="Photos of example.org")
    with pytest.raises(UserError) as told:
        open_data(missing)
    for words in (
        "none/here: no such folder",
        "this recipe needs Photos of example.org",
        "input/ and target/",
        "lq/ and gt/",
        "as its authors lay it out",
        "clean photos",
        "mprnet_jax.data.build",
        "tools/check_data.py",
        "--data FOLDER",
    ):
        assert words in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(UserError) as told:
        open_data(dataclasses.replace(missing, degradation=None))
    assert "clean photos" not in str(told.value)


def test_validation_takes_the_held_out_pictures_and_several_named_folders(tmp_path, config, photo):
    for side in ("input", "target"):
        images.write(tmp_path / "real" / side / "a.png", photo)
    several = dataclasses.replace(config, validation_data=(Path(f"mine={tmp_path / 'real'}"), config.data))
    _, sets = open_data(several)
    assert [(each.name, len(each.pairs)) for each in sets] == [("held out", 1), ("mine", 1), (str(config.data), 5)]
    one = dataclasses.replace(config, validation_data=tmp_path / "real")  # as recipes wrote it before
    assert [each.name for each in open_data(one)[1]] == ["held out", str(tmp_path / "real")]


def test_what_is_probably_not_as_it_was_meant_is_said_at_the_start(config):
    source, _ = open_data(config)  # photos of 96 x 128
    said = lambda **fields: notices(
        dataclasses.replace(config, **fields), Timeline(dataclasses.replace(config, **fields), 10), source
    )
    assert said() == []
    assert (
        "4 of 4 pictures are smaller than the patches of 104 pixels, first 0.png, 128 x 96" in said(patch_size=104)[0]
    )
    assert "4 of 4" in said(patch_sizes=(16, 104))[0]
    images.write(config.data / "beach" / "below.png", made_photo())
    assert said() == [f"{config.data}: 1 picture in folders below: not used; move them up to use them"]
    official = {"schedule": "epochs", "cosine_epochs": 2997}
    assert "the learning rate ends at 0.002, near its peak" in said(**official)[0]


def test_a_dry_run_names_no_bundle_that_is_not_there_afterwards(config, capsys):
    dry_run(config)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "dry run: 2 steps, validation and bundle work; nothing was kept"
    assert "mprnet_jax_dry_run" not in shown


def test_a_run_says_where_its_bundle_is(whole, capsys):
    assert train_parts([whole.config], whole.workdir) == whole.workdir / "bundle"  # it had ended
    assert capsys.readouterr().out.splitlines()[-1] == f"done: {whole.workdir / 'bundle'}"


def test_the_start_is_told_in_words(config):
    source, sets = open_data(config)
    line = describe(config, Timeline(config, length(source)), 0, 1234, source, sets)
    assert "step 0 of 12 (2 an epoch), 1,234 parameters in float32, 4 clean photos to train on (2 crops each" in line
    assert "validation on 1 held out, devices: 4 x cpu" in line
    assert "(" + "'" not in line
    assert "CleanPhotos" not in line


def test_parts_are_trained_in_order_each_from_the_one_before(tmp_path, config, monkeypatch):
    calls = []

    def fake(config, workdir, command, start, **options):
        calls.append((config.seed, workdir.name, start and start.relative_to(tmp_path).as_posix(), options))
        (workdir / "bundle").mkdir(parents=True)
        return workdir / "bundle"

    monkeypatch.setattr("mprnet_jax.training.run.train", fake)
    parts = [dataclasses.replace(config, seed=seed) for seed in (1, 2, 3)]
    with pytest.raises(
        UserError, match=r"part1/bundle: part 2 starts from this bundle, which is not there; train part 1"
    ):
        train_parts(parts, tmp_path, part=2)
    assert train_parts(parts, tmp_path, resume=False) == tmp_path / "part3" / "bundle"
    assert calls == [
        (1, "part1", None, {"resume": False}),
        (2, "part2", "part1/bundle", {"resume": False}),
        (3, "part3", "part2/bundle", {"resume": False}),
    ]
    del calls[:]
    (tmp_path / "part2" / "bundle").rmdir()
    train_parts(parts, tmp_path, part=2)
    assert calls == [(2, "part2", "part1/bundle", {})]
    with pytest.raises(UserError, match=r"--part must be in 1\.\.3, got 4"):
        train_parts(parts, tmp_path, part=4)


def test_a_run_stopped_in_one_part_does_not_begin_the_next(tmp_path, config, monkeypatch):
    calls = []
    monkeypatch.setattr("mprnet_jax.training.run.train", lambda *_, **__: calls.append(1))
    assert train_parts([config, config], tmp_path) is None
    assert calls == [1]


class TickingTime:
    """A clock that goes on by a second with every line of the log: the runs are the same on fast and busy machines."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.slow
def test_a_run_by_the_clock_ends_within_its_minutes_and_goes_on_under_the_same_budget(tmp_path, config, monkeypatch):
    """With two patch sizes and two validation sets: how long it takes, what it leaves, where a stopped one goes on."""
    by_clock = dataclasses.replace(
        config,
        epochs=None,
        minutes=3,
        patch_sizes=(16, 24),
        validation_data=(Path(f"again={config.data}"),),
        log_every=1,
        validate_every=20,
        save_every=10,
    )
    clock = TickingTime()
    write = Log.write

    def ticking(self, **measured):
        clock.now += 1
        write(self, **measured)

    monkeypatch.setattr(Log, "write", ticking)

    def stop_early(self, **measured):
        ticking(self, **measured)
        if measured["step"] == 5 and "loss" in measured:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("mprnet_jax.training.schedule.time", clock)
    monkeypatch.setattr("mprnet_jax.training.loop.CURVES_EVERY", 0)  # drawn beside every validation, so measured early
    with monkeypatch.context() as stopping:
        stopping.setattr(Log, "write", stop_early)
        assert train(by_clock, tmp_path / "run") is None
    assert train(by_clock, tmp_path / "run") == tmp_path / "run" / "bundle"
    assert 0.8 * 180 < clock.now <= 180 + 1  # a second is a step here, and the one under way ends
    lines = log_of(tmp_path / "run")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert [line["progress"] for line in steps] == sorted(line["progress"] for line in steps)
    assert steps[-1]["lr"] == pytest.approx(by_clock.final_learning_rate)
    assert max(line["lr"] for line in steps) > 0.9 * by_clock.learning_rate
    last = [line for line in lines if line["step"] == len(steps) and "validation_psnr" in line]
    assert [line["set"] for line in last] == ["held out", "again"]
    mean = [line["validation_mean_gain"] for line in lines if "validation_mean_gain" in line]
    assert mean[-1] == pytest.approx(np.mean([line["validation_gain"] for line in last]), abs=1e-3)
    best = load_bundle(tmp_path / "run" / "best").provenance
    assert set(best["validation"]) == {"held out", "again"}
    assert np.mean([scores["validation_gain"] for scores in best["validation"].values()]) == pytest.approx(
        max(mean), abs=1e-3
    )
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert (bundle.provenance["patch_size"], bundle.provenance["step"]) == (24, len(steps))


def test_steps_that_stay_not_finite_stop_the_run_with_the_remedy(tmp_path, config, monkeypatch):
    counts = itertools.count(1)

    class Broken:
        def lower(self, *_):
            return self

        def compile(self, **_):
            nan, count = jnp.nan * jnp.ones(()), lambda: jnp.array(next(counts))
            return lambda state, *_: (state, Measured(nan, nan, nan, *[count()] * 2))

    monkeypatch.setattr("mprnet_jax.training.loop.make_train_step", lambda *_, **__: Broken())
    monkeypatch.setattr("mprnet_jax.training.loop.memory.needed_bytes", lambda _: 0)
    with pytest.raises(UserError, match=r"not finite 3 steps in a row, up to step 3; .* step 0. Lower learning_rate"):
        train(dataclasses.replace(config, stop_after_skipped=3), tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recipe, for example --config configs/denoise.py"),
        (["--confg", "{good}"], "Unrecognized options: --confg (did you mean --config?)"),
        (["--config", "none.py", "--batch-sise", "2"], "--batch-sise (did you mean --batch-size?)"),
        (["--config", "{good}", "--part", "2"], "--part must be in 1..1, got 2"),
        (["--config", "none.py", "--workdir", "run"], "none.py: no such config file; the recipes are in configs/"),
        (["--config", "{empty}", "--workdir", "run"], "no recipe; a config file defines get_config()"),
        (["--config", "{good}", "--workdir", "run", "--data", "nowhere"], "nowhere: no such folder"),
        (["--config", "{good}", "--workdir", "run", "--patch-size", "20"], "patch_size must be a positive multiple"),
        (["--config", "{broken}", "--workdir", "run"], "broken.py: line 2: SyntaxError"),
        (
            ["--config", "{failing}", "--workdir", "run"],
            "failing.py: line 2: ZeroDivisionError",
        ),
        (["--config", "{good}", "--workdir", "empty.py", "--data", "."], "empty.py: cannot be made"),
        (
            ["--config", "{good}", "--workdir", "run", "--learning-rate", "nan"],
            "learning_rate must be positive",
        ),
        (["--config", "{good}", "--workdir", "run", "--seed", "-1"], "seed must not be negative, got -1"),
        (
            ["--config", "{good}", "--workdir", "run", "--degradation.sigma", "50", "5"],
            "a range from low to high",
        ),
        (["--config", "{good}", "--workdir", "run", "--degradation.camera-share", "7"], "must be from 0 to 1, got 7"),
        (
            ["--config", "{good}", "--workdir", "run", "--batch-sise", "2"],
            "Unrecognized options: --batch-sise (did you mean --batch-size?)",
        ),
        (["--config", "{good}", "--workdir", "run", "--batch-size", "two"], "Error parsing --batch-size: invalid"),
        (["--config", "{good}", "--workdir", "run", "--loss", "l1"], "'l1' for argument '--loss'. Expected one of"),
        (["--config", "{good}", "--workdir"], "argument --workdir: expected one argument; --help"),
        (["--config", "{good}", "--workdir", "run", "--coordinator", "a:1"], "--coordinator needs --processes"),
        (
            ["--config", "{good}", "--workdir", "run", "--processes", "2"],
            "--processes and --process go with --coordinator",
        ),
        (
            ["--config", "{good}", "--workdir", "run", "--coordinator", "a", "--processes", "2", "--process", "0"],
            "--coordinator must be HOST:PORT, got 'a'",
        ),
        (
            ["--config", "{good}", "--workdir", "run", "--coordinator", "a:1", "--processes", "2", "--process", "2"],
            "--process must be in 0..1, got 2",
        ),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("x = 1\ndef get_config(:\n")
    (tmp_path / "failing.py").write_text("def get_config():\n    return 1 / 0\n")
    images.write(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    images.write(tmp_path / "b.png", np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "good.py").write_text(
        "from pathlib import Path\nfrom mprnet_jax.training.config import TrainConfig\n"
        "from mprnet_jax.model import PRESETS\n"
        "from mprnet_jax.data.degradations.noise import Noise\n"
        "def get_config():\n"
        "    return TrainConfig(PRESETS['light'], Path('photos'), 4, 4, 16, crops=2, degradation=Noise())\n"
    )
    files = {name: tmp_path / f"{name}.py" for name in ("empty", "good", "broken", "failing")}
    with pytest.raises(SystemExit) as exit_info:
        main([argument.format(**files) for argument in [*arguments, "--no-compile-cache"]])
    assert exit_info.value.code == 2
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1, output.err
