"""The compile cache: its folder, its size limit, and a folder that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from mprnet_jax.runtime import compile_cache

COMPILE = """
import sys, warnings
import jax, jax.numpy as jnp
from mprnet_jax.runtime import compile_cache
warnings.simplefilter("error")
compile_cache.MIN_COMPILE_SECONDS = 0.0
folder = compile_cache.use_compile_cache()
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
value = jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).sum()
print(folder, value, events.count("/jax/compilation_cache/cache_hits"))
"""


@pytest.fixture
def nothing_set(monkeypatch, tmp_path):
    """A process without a cache; settings are restored after the test."""
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir",)}
    before["jax_persistent_cache_min_compile_time_secs"] = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def start(cache_home):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_home), "JAX_PLATFORMS": "cpu"}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment, check=True)
    folder, value, hits = done.stdout.split()
    return folder, float(value), int(hits)


def test_the_second_start_reads_what_the_first_compiled_and_a_damaged_entry_is_compiled_again(tmp_path):
    folder, value, hits = start(tmp_path)
    assert Path(folder).is_relative_to(tmp_path / "mprnet_jax")
    assert hits == 0
    again = start(tmp_path)
    assert again[1] == value
    assert again[2] > 0
    for entry in Path(folder).glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:20])
    assert start(tmp_path) == (folder, value, 0)  # and warnings are errors there


def test_the_folder_is_the_xdg_one_or_that_in_the_home(nothing_set, monkeypatch, tmp_path):
    assert compile_cache.use_compile_cache().parent == tmp_path / "mprnet_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert compile_cache.cache_root() == Path.home() / ".cache" / "mprnet_jax"


def test_a_folder_of_the_users_own_is_left_as_it_is(nothing_set, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert compile_cache.use_compile_cache() == tmp_path / "own"
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_error(nothing_set, tmp_path):
    (tmp_path / "mprnet_jax").write_text("a file where the folder should be")
    assert compile_cache.use_compile_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_what_was_not_used_for_longest_is_removed_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / f"jaxlib-{age}" / name
        path.parent.mkdir()
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    compile_cache.prune(tmp_path, 200)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["middle", "new"]
    compile_cache.prune(tmp_path, 0)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
