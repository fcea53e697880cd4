"""The wheel: everything that the package reads is in it, and it restores outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax import images

ROOT = Path(__file__).parents[2]
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")


@pytest.mark.slow
def test_the_wheel_carries_all_files_of_the_package_and_restores_outside_the_checkout(tmp_path):
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / "source").mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "source")
    shutil.copytree(ROOT / "mprnet_jax", tmp_path / "source" / "mprnet_jax", ignore=CACHES)
    package = {
        path.relative_to(tmp_path / "source").as_posix() for path in (tmp_path / "source").rglob("mprnet_jax/**/*")
    }
    package = {name for name in package if (tmp_path / "source" / name).is_file()}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, tmp_path / "source"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert package - set(archive.namelist()) == set()
        archive.extractall(tmp_path / "installed")

    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "mprnet_jax.infer", "--task", "denoising", "--samples", "--output", "out"]
    where = "import mprnet_jax; print(mprnet_jax.__file__)"
    options = {
        "cwd": tmp_path / "elsewhere",
        "env": {**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        "capture_output": True,
        "text": True,
    }
    found = subprocess.run([sys.executable, "-c", where], **options)
    assert Path(found.stdout.strip()).is_relative_to(tmp_path / "installed"), found.stderr
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stderr
    noisy = ROOT / "mprnet_jax" / "samples" / "denoising" / "input" / "koala_sigma25.png"
    change = images.read(tmp_path / "elsewhere" / "out" / noisy.name).astype(int) - images.read(noisy)
    assert 5 < np.std(change) < 50  # about the noise, and not the picture
