"""Options are declared once: commands take those of Python, with their texts."""

import argparse
import dataclasses
import runpy
from pathlib import Path

import pytest

from mprnet_jax import demo, evaluate, export, infer
from mprnet_jax.restoring import RestoreOptions, Restorer, add_restore_options, restore_options
from mprnet_jax.support.errors import UserError

RAY = Path(__file__).parents[2] / "tools" / "restore_with_ray.py"
BASE = {
    "infer": (infer.parse_args, ["--task", "denoising", "--input", "a.png", "--output", "out"]),
    "evaluate": (
        evaluate.parse_args,
        ["--protocol", "custom", "--data", "mine", "--task", "denoising", "--output", "out"],
    ),
    "demo": (demo.parse_args, []),
    "export": (export.parse_args, ["--task", "denoising", "--format", "onnx", "--output", "out"]),
    "ray": (
        lambda argv: runpy.run_path(str(RAY))["parse_args"](argv),
        ["--task", "denoising", "--input", "a", "--output", "out"],
    ),
}
EVERY = ["--tile", "512", "--overlap", "64", "--stage", "2", "--tlc", "--patch-size", "96", "--self-ensemble"]
EVERY += ["--strength", "0.5", "--strength-colour", "0.9", "--dtype", "bfloat16", "--devices", "2", "--batch", "3"]
GIVEN = RestoreOptions(
    tile=512,
    overlap=64,
    stages=2,
    tlc=True,
    patch_size=96,
    self_ensemble=True,
    strength=0.5,
    strength_colour=0.9,
    dtype="bfloat16",
    devices=2,
    batch=3,
)


def parsed(command, *argv):
    parse, base = BASE[command]
    return parse([*base, *argv]).options


@pytest.mark.parametrize("command", ["infer", "evaluate"])
def test_a_command_takes_every_option_and_without_any_the_defaults_of_python(command):
    assert parsed(command, *EVERY) == GIVEN
    defaults = RestoreOptions(dtype="auto" if command == "infer" else "float32")  # scores are of float32
    assert parsed(command, "--tlc", "--halo", "128") == defaults.replace(tlc=True, halo=128)
    assert parsed(command) == defaults


def test_commands_with_fewer_options_take_those_they_can():
    assert parsed("ray", *EVERY[:-4], "--batch", "3") == dataclasses.replace(GIVEN, devices=None)
    fixed = ("--tile", "512", "--overlap", "64", "--patch-size", "96", "--dtype", "bfloat16", "--batch", "3")
    assert parsed("demo", *fixed, "--devices", "2") == dataclasses.replace(
        GIVEN, stages=3, tlc=False, self_ensemble=False, strength=1, strength_colour=None
    )
    parse, base = BASE["export"]
    assert parse([*base, "--stage", "2"]).stage == 2


def test_every_field_says_what_it_is_and_its_text_is_the_help_of_the_command():
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=10_000))
    add_restore_options(parser)
    helped = parser.format_help()
    for text in ("mean over the flips and rotations under which the task", "with tlc: tiles see this many pixels"):
        assert text in helped
    for field in dataclasses.fields(RestoreOptions):
        option = {"stages": "--stage", "guard": "--no-guard"}.get(field.name, f"--{field.name.replace('_', '-')}")
        assert (option in helped) == (field.name not in ("shapes", "uses", "memory_share"))
    assert "see the documentation" not in helped  # what stands where a field has no text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--tile", "60"), "tile must be a multiple of 8"),
        (("--patch-size", "96"), "--patch-size goes with --tlc"),
        (("--devices", "none"), "must be a number of devices, or all; got 'none'"),
    ],
)
def test_an_option_that_cannot_be_ends_the_command(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed("infer", *argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_all_devices_is_what_a_command_takes_by_default():
    parser = argparse.ArgumentParser()
    add_restore_options(parser, only=("devices",))
    assert restore_options(parser, parser.parse_args(["--devices", "all"])) == RestoreOptions()


def test_a_misspelt_option_of_python_is_named_with_the_one_that_was_meant(tiny):
    with pytest.raises(UserError, match="stage is no option of restoring; did you mean stages?"):
        Restorer.from_pretrained("denoising", stage=1)
    with pytest.raises(UserError, match="colour is no option of restoring; choose from tile, overlap, stages"):
        RestoreOptions().replace(colour="red")


def test_evaluate_does_not_take_one_stage_and_all_stages(capsys):
    with pytest.raises(SystemExit):
        parsed("evaluate", "--stages", "--stage", "1")
    assert "--stages scores every stage, --stage one of them" in capsys.readouterr().err


def test_local_means_without_a_patch_size_name_the_remedy(tiny):
    from mprnet_jax.model import init_params

    with pytest.raises(UserError, match="--patch-size 256 for the official checkpoints"):
        Restorer(tiny, init_params(tiny, seed=0), options=RestoreOptions(tlc=True))
