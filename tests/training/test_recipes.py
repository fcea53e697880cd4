"""Every recipe loads, can be built, and can be overridden from the command line."""

from pathlib import Path

import pytest

from mprnet_jax.data.sources.source import read_names
from mprnet_jax.data.sources.splits import split_by_scene
from mprnet_jax.train import main
from mprnet_jax.training.config import TrainConfig, load_config, to_json
from mprnet_jax.training.optimizer import make_optimizer, make_schedule

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path):
    config = load_config(path)
    assert isinstance(config, TrainConfig)
    assert f"python -m mprnet_jax.train --config configs/{path.name}" in path.read_text()
    schedule = make_schedule(config, steps_per_epoch=10)
    make_optimizer(config, schedule)
    assert 0 <= float(schedule(0)) <= config.learning_rate * (1 + 1e-6)  # float32
    assert to_json(config)["model"]["n_feat"] == config.model.n_feat


@pytest.mark.parametrize(
    ("name", "steps", "values"),
    [("deblur", 132, {500: 1.868515e-4, 3000: 1.000055e-6}), ("derain", 857, {100: 1.345971e-4, 250: 1.008048e-6})],
)
def test_the_paired_recipes_have_the_official_learning_rates(name, steps, values):
    schedule = make_schedule(load_config(CONFIGS[0].with_name(f"{name}.py")), steps_per_epoch=steps)
    for epoch, rate in values.items():
        assert float(schedule(epoch * steps - 1)) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("name", ["denoise", "denoise_photos"])
def test_the_denoising_recipes_have_the_official_learning_rates(name):
    schedule = make_schedule(load_config(CONFIGS[0].with_name(f"{name}.py")), steps_per_epoch=6000)
    assert float(schedule(39 * 6000)) == pytest.approx(1.570224e-4, rel=1e-5)
    assert float(schedule(79 * 6000)) == pytest.approx(5.544701e-5, rel=1e-5)


def test_the_official_denoising_recipe_is_that_of_sidd():
    """80 epochs of 6,000 steps on patches of prepare_sidd, MixUp from epoch 6, L2 1e-8."""
    config = load_config(CONFIGS[0].with_name("denoise.py"))
    assert (config.patch_size, config.batch_size, config.epochs, config.crops) == (128, 16, 80, 1)
    assert (config.weight_decay, config.mixup_from_epoch, config.clip_before_loss) == (1e-8, 6, True)
    assert (config.loss, config.ema_decay, config.degradation) == ("charbonnier", 0, None)
    patches = [f"{scene:04d}_{photo}-{patch:03d}" for scene in range(160) for photo in (10, 11) for patch in range(300)]
    train, validation = split_by_scene(patches, config.validation_share, config.scene_separator)
    assert len(patches) // config.batch_size == 6000
    assert (len(train), len(validation)) == (94_800, 1_200)


def test_help_explains_every_field(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--config", str(CONFIGS[0].with_name("denoise_photos.py")), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for words in (
        "--patch-size",
        "--degradation.sigma",
        "Side of the training crop in pixels",
        "--workdir",
        "--coordinator",
    ):
        assert words in text


def test_one_photo_in_ten_is_held_out():
    assert len(read_names(CONFIGS[0].with_name("held_out.txt"))) == 12  # of 115
