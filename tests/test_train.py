"""The training command, on a tiny network."""

import dataclasses
import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.checkpoint import Bundle, load_bundle, save_bundle
from mprnet_jax.config import TrainConfig
from mprnet_jax.data.noise import Noise, PoissonNoise
from mprnet_jax.errors import UserError
from mprnet_jax.model import init_params
from mprnet_jax.restore import Restorer
from mprnet_jax.train import Log, first_params, main, open_data, refuse_other_config, train


@pytest.fixture
def config(tmp_path, photo, tiny) -> TrainConfig:
    photos = tmp_path / "photos"
    for i in range(5):
        images.write(photos / f"{i}.png", np.roll(photo, 7 * i, axis=1))
    (tmp_path / "held_out.txt").write_text("4.png\n")
    return TrainConfig(
        model=tiny,
        data=photos,
        held_out=tmp_path / "held_out.txt",
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
def tqdm_bar():
    with tqdm(disable=True) as bar:
        yield bar


def log_of(workdir):
    return [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_bundle_that_knows_where_it_comes_from_and_a_log(tmp_path, config):
    bundle_path = train(config, tmp_path / "run", command="the command")
    bundle = load_bundle(bundle_path)
    assert bundle.config == config.model
    assert bundle.provenance["command"] == "the command"
    assert bundle.provenance["step"] == 12
    log = log_of(tmp_path / "run")
    losses = [line["loss"] for line in log if "loss" in line]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    scores = {line["step"]: line["validation_psnr"] for line in log if "validation_psnr" in line}
    assert list(scores) == [6, 12]
    best = load_bundle(tmp_path / "run" / "best").provenance
    assert scores[best["step"]] == max(scores.values())
    assert best["validation_psnr"] == pytest.approx(max(scores.values()), abs=1e-3)  # the log has six digits
    assert train(config, tmp_path / "run") == bundle_path  # ended: nothing to do
    photo = images.read(config.data / "4.png")[:30, :20]
    assert Restorer.from_pretrained(bundle_path)(photo).shape == photo.shape


def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(tmp_path, config, monkeypatch):
    whole = load_bundle(train(config, tmp_path / "whole"))

    write = Log.write

    def stop_after_five(self, **measured):
        write(self, **measured)
        if measured["step"] == 5 and "loss" in measured:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Log, "write", stop_after_five)
    assert train(config, tmp_path / "stopped") is None
    assert max(int(p.name) for p in (tmp_path / "stopped" / "checkpoints").iterdir()) < 12
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    monkeypatch.undo()
    resumed = load_bundle(train(config, tmp_path / "stopped"))
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    losses = lambda run: [(line["step"], line["loss"]) for line in log_of(tmp_path / run) if "loss" in line]
    assert losses("stopped") == losses("whole")


def test_a_workdir_of_another_config_is_refused_with_the_differences(tmp_path, config):
    train(dataclasses.replace(config, epochs=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"run of another config \(epochs was 2, is 6\); choose another --workdir"):
        train(config, tmp_path / "run")


def test_what_a_killed_run_logged_after_its_last_checkpoint_is_taken_out(tmp_path, tqdm_bar):
    with Log(tmp_path, tqdm_bar, start=0) as log:
        for step in (0, 1, 2, 3):
            log.write(step=step, loss=0.5)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    with Log(tmp_path, tqdm_bar, start=2) as log:
        log.write(step=3, loss=0.25)
    assert [line["step"] for line in log_of(tmp_path)] == [0, 1, 2, 3]
    assert log_of(tmp_path)[-1]["loss"] == 0.25


def test_a_run_can_be_continued_with_other_settings_that_change_nothing(tmp_path, config):
    refuse_other_config(tmp_path, config)
    refuse_other_config(tmp_path, dataclasses.replace(config, workers=2, log_every=5))
    with pytest.raises(UserError, match="degradation was .*'Noise'.* is .*'PoissonNoise'"):
        refuse_other_config(tmp_path, dataclasses.replace(config, degradation=PoissonNoise()))


def test_pairs_are_trained_on_and_a_share_of_the_scenes_is_kept_aside(tmp_path, config, photo):
    for i in range(6):
        for side in ("input", "target"):
            images.write(tmp_path / "pairs" / side / f"scene{i // 2}-{i}.png", photo)
    paired = dataclasses.replace(
        config, data=tmp_path / "pairs", held_out=None, degradation=None, validation_share=0.3, scene_separator="-"
    )
    source, validation = open_data(paired)
    assert (len(source.names), len(validation)) == (4, 2)
    assert len({name.split("-")[0] for name in source.names}) == 2


def test_a_run_can_start_from_a_bundle_of_the_same_sizes_only(tmp_path, config):
    params = init_params(config.model, seed=5)
    save_bundle(tmp_path / "start", Bundle(config.model, params, {}))
    config = dataclasses.replace(config, init_from=tmp_path / "start")
    jax.tree.map(np.testing.assert_array_equal, first_params(config), params)
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, n_feat=12))
    with pytest.raises(UserError, match="n_feat=6, .* the config wants .*n_feat=12"):
        first_params(wider)


def test_steps_that_stay_not_finite_stop_the_run_with_the_remedy(tmp_path, config, monkeypatch):
    counts = itertools.count(1)

    def broken(*_, **__):
        return lambda state, _: (
            state,
            {"loss": jnp.nan * jnp.ones(()), **dict.fromkeys(names, jnp.array(next(counts)))},
        )

    names = ("skipped", "skipped_in_row")
    monkeypatch.setattr("mprnet_jax.train.make_train_step", broken)
    with pytest.raises(UserError, match=r"not finite 3 steps in a row, up to step 3; .* step 0. Lower learning_rate"):
        train(dataclasses.replace(config, stop_after_skipped=3), tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recipe and a folder"),
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
        (["--config", "{good}", "--workdir", "run", "--batch-sise", "2"], "--batch-sise"),
        (["--config", "{good}", "--workdir", "run", "--batch-size", "two"], "invalid"),
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
        "from pathlib import Path\nfrom mprnet_jax.config import TrainConfig\nfrom mprnet_jax.model import PRESETS\n"
        "from mprnet_jax.data.noise import Noise\n"
        "def get_config():\n"
        "    return TrainConfig(PRESETS['light'], Path('photos'), 4, 4, 16, crops=2, degradation=Noise())\n"
    )
    files = {name: tmp_path / f"{name}.py" for name in ("empty", "good", "broken", "failing")}
    with pytest.raises(SystemExit) as exit_info:
        main([argument.format(**files) for argument in arguments])
    assert exit_info.value.code == 2
    output = capsys.readouterr()
    assert message in output.err + output.out
    assert "Traceback" not in output.err
