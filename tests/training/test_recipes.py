"""Every recipe loads, can be built, and can be overridden from the command line."""

from pathlib import Path

import pytest

from mprnet_jax.data.sources.source import read_names
from mprnet_jax.data.sources.splits import split_by_scene
from mprnet_jax.support.errors import UserError
from mprnet_jax.train import main
from mprnet_jax.training.config import to_json
from mprnet_jax.training.recipes import load_recipe, override_recipe
from mprnet_jax.training.schedule import Timeline

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))
OFFICIAL = ROOT / "configs"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it_and_what_came(path):
    text = path.read_text()
    assert f"python -m mprnet_jax.train --config {path.relative_to(ROOT)}" in text
    assert "dB" in text or "no result" in text
    assert "runpy" not in text
    assert "runs/" not in text
    for part in load_recipe(path):
        assert to_json(part)["model"] is None or to_json(part)["model"]["n_feat"] == part.model.n_feat
        assert part.orientations is not None or part.init_from is not None
        assert part.data_source
        timeline = Timeline(part, crops=10 * part.batch_size)
        for progress in (0.0, 0.03, 0.5, 1.0):
            rate = timeline.at(1 + round(progress * ((timeline.total_steps or 1) - 1)), progress).learning_rate
            assert 0 <= rate <= part.learning_rate * (1 + 1e-6)
        assert timeline.at(timeline.total_steps or 9, 1.0).is_last


def test_the_table_of_recipes_names_each_of_them():
    table = (ROOT / "configs/README.md").read_text()
    for path in CONFIGS:
        assert f"--config {path.relative_to(ROOT)}" in table


def official(name, steps):
    """The only part of an official recipe, and its learning rate at a step, 0 is the first."""
    (config,) = load_recipe(ROOT / f"configs/{name}.py")
    timeline = Timeline(config, crops=steps * config.batch_size)
    assert timeline.total_steps == config.epochs * steps
    return lambda step: timeline.at(step + 1).learning_rate


@pytest.mark.parametrize(
    ("name", "steps", "values"),
    [("deblur", 132, {500: 1.868515e-4, 3000: 1.000055e-6}), ("derain", 857, {100: 1.345971e-4, 250: 1.008048e-6})],
)
def test_the_paired_recipes_have_the_official_learning_rates(name, steps, values):
    for epoch, rate in values.items():
        assert official(name, steps)(epoch * steps - 1) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("name", ["denoise", "clean_photos"])
def test_the_denoising_recipes_have_the_official_learning_rates(name):
    assert official(name, 6000)(39 * 6000) == pytest.approx(1.570224e-4, rel=1e-5)
    assert official(name, 6000)(79 * 6000) == pytest.approx(5.544701e-5, rel=1e-5)


@pytest.mark.parametrize(("name", "end"), [("deblur", 1e-6), ("derain", 1e-6), ("denoise", 5.5e-5)])
@pytest.mark.parametrize("epochs", [2, 8, 300])
def test_a_shortened_official_recipe_ends_at_the_rate_that_the_whole_one_ends_at(name, end, epochs):
    """With --epochs alone: the cosine, the warm-up and MixUp keep their places in the run."""
    (config,) = load_recipe(ROOT / f"configs/{name}.py")
    (short,), notes = override_recipe([config], ["--epochs", str(epochs)], None, name)
    assert short.epochs == epochs
    assert not config.mixup_from_epoch or short.mixup_from_epoch <= max(1, epochs / 10)
    assert notes == [] or f"with {epochs} epochs instead of {config.epochs}: " in notes[0]
    timeline = Timeline(short, crops=10 * config.batch_size)
    last = timeline.at(timeline.total_steps).learning_rate
    assert last == pytest.approx(end, rel=0.1) if epochs == 300 else last < 0.9 * config.learning_rate


def test_a_start_bundle_that_is_given_is_that_of_the_first_part():
    """The others start from the part before them, or the parts would be for nothing."""
    recipe = load_recipe(ROOT / "configs/shipped/deraining.py")
    options = ["--init-from", "denoising", "--init-from-sha256", "None", "--data", "elsewhere"]
    parts, _ = override_recipe(recipe, options, None, "deraining.py")
    assert [str(part.data) for part in parts] == ["elsewhere"] * len(recipe)
    assert [part.init_from and str(part.init_from) for part in parts] == ["denoising", *[None] * (len(recipe) - 1)]
    assert parts[0].init_from_sha256 is None
    parts, _ = override_recipe(recipe, options, 3, "deraining.py")
    expected = ["denoising_light", None, "denoising", *[None] * (len(recipe) - 3)]
    assert [part.init_from and part.init_from.name for part in parts] == expected


def test_lengths_replace_each_other():
    recipe = [load_recipe(ROOT / f"configs/{name}.py")[0] for name in ("deblur", "denoise")]
    for option, value in (("--minutes", 20.0), ("--steps", 7), ("--epochs", 9)):
        parts, _ = override_recipe(recipe, [option, f"{value:g}"], None, "recipe.py")
        for part in parts:
            lengths = {name: getattr(part, name) for name in ("epochs", "steps", "minutes")}
            assert {name: given for name, given in lengths.items() if given is not None} == {option[2:]: value}
    with pytest.raises(UserError, match="exactly one of epochs, steps, minutes, got epochs, steps"):
        override_recipe(recipe, ["--steps", "5", "--epochs", "5"], None, "recipe.py")


def test_a_recipe_may_be_a_list_of_parts_and_nothing_else(tmp_path):
    modules = {"pathlib": "Path", "mprnet_jax.training.config": "TrainConfig", "mprnet_jax.model": "PRESETS"}
    head = "".join(f"from {module} import {name}\n" for module, name in modules.items())
    part = "TrainConfig(PRESETS['light'], Path('photos'), epochs={}, warmup_epochs=0)"
    path = tmp_path / "recipe.py"
    path.write_text(f"{head}def get_config():\n    return [{part.format(1)}, {part.format(2)}]\n")
    assert [config.epochs for config in load_recipe(path)] == [1, 2]
    for wrong in ("[]", f"[{part.format(1)}, 3]", "'text'", "None"):
        path.write_text(f"{head}def get_config():\n    return {wrong}\n")
        with pytest.raises(UserError, match="no recipe; a config file defines"):
            load_recipe(path)


def test_the_official_denoising_recipe_is_that_of_sidd():
    """80 epochs of 6,000 steps on patches of prepare_sidd, MixUp from epoch 6, L2 1e-8."""
    (config,) = load_recipe(OFFICIAL / "denoise.py")
    assert (config.patch_size, config.batch_size, config.epochs, config.crops) == (128, 16, 80, 1)
    assert (config.weight_decay, config.mixup_from_epoch, config.clip_before_loss) == (1e-8, 6, True)
    assert (config.loss, config.ema_decay, config.degradation) == ("charbonnier", 0, None)
    patches = [f"{scene:04d}_{photo}-{patch:03d}" for scene in range(160) for photo in (10, 11) for patch in range(300)]
    train, validation = split_by_scene(patches, config.validation_share, config.scene_separator)
    assert len(patches) // config.batch_size == 6000
    assert (len(train), len(validation)) == (94_800, 1_200)


def test_help_explains_every_field(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--config", str(OFFICIAL / "clean_photos.py"), "--help"])
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
    assert len(read_names(ROOT / "configs/shipped/held_out.txt")) == 12  # of 115
