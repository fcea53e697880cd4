"""One step: equal on one device, on four and on eight, whole and in parts; the guard; MixUp."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mprnet_jax.model import MPRNet, init_params
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.step import init_state, make_train_step, mix_up

LOSS = stages_loss("charbonnier", clip=False)
RATE = 0.1  # of plain gradient descent: the change of the parameters is the gradient


def made_batch():
    rng = np.random.default_rng(0)
    return {side: rng.random((8, 16, 16, 3), np.float32) for side in ("input", "target")}


@pytest.fixture(scope="module")
def batch():
    return made_batch()


def step(config, batch, place=lambda x: x, model=None, **options):
    """State and measured values after one step of gradient descent."""
    optimizer = optax.sgd(RATE)
    state = init_state(init_params(config, seed=0), optimizer)
    return make_train_step(model or MPRNet(config), optimizer, LOSS, **options)(state, place(batch))


@pytest.fixture(scope="module")
def plain(batch):
    from tests.helpers.tiny import TINY

    return step(TINY, batch)


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a.params, b.params)


@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_four_devices_make_the_step_of_one(tiny, batch, plain, parts):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    state, measured = step(tiny, batch, sharded, mesh=mesh, accumulate=parts)
    assert_same(state, plain[0])
    for name in ("loss", "grad_norm", "psnr"):
        np.testing.assert_allclose(getattr(measured, name), getattr(plain[1], name), rtol=1e-5)


EIGHT_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from tests.helpers.tiny import TINY
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tests.training.test_step import made_batch, step
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
sharded = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
state, measured = step(TINY, made_batch(), sharded, mesh=mesh)
np.savez(sys.argv[1], *jax.tree.leaves(state.params), loss=measured.loss)
"""


@pytest.mark.slow
def test_eight_devices_make_the_step_of_one(tmp_path, plain):
    """In a process of its own: the number of virtual devices cannot be changed later."""
    command = [sys.executable, "-c", EIGHT_DEVICES, str(tmp_path / "eight.npz")]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=300)
    with np.load(tmp_path / "eight.npz") as eight:
        np.testing.assert_allclose(eight["loss"], plain[1].loss, rtol=1e-6)
        for number, leaf in enumerate(jax.tree.leaves(plain[0].params)):
            np.testing.assert_allclose(eight[f"arr_{number}"], leaf, atol=1e-6)


def test_parts_of_a_batch_make_the_step_of_the_whole(tiny, batch, plain):
    state, measured = step(tiny, batch, accumulate=4)
    assert_same(state, plain[0])
    for name in ("loss", "grad_norm", "psnr"):
        np.testing.assert_allclose(getattr(measured, name), getattr(plain[1], name), rtol=1e-5)


@pytest.mark.slow
def test_rematerialisation_leaves_the_step_as_it_is(tiny, batch, plain):
    model = MPRNet(tiny, remat=True)
    state, _ = step(tiny, batch, model=model)
    assert_same(state, plain[0])
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch["input"])[0].sum()))
    assert gradient.lower(init_params(tiny, seed=0)).as_text().count("optimization_barrier") > 0


def test_a_batch_that_is_not_finite_leaves_no_trace_but_a_count(tiny, batch):
    optimizer = optax.adam(1e-3)
    train_step = make_train_step(MPRNet(tiny), optimizer, LOSS, ema_decay=0.9)
    state, _ = train_step(init_state(init_params(tiny, seed=0), optimizer), batch)
    kept = jax.device_get((state.params, state.opt_state, state.ema))
    bad = {**batch, "input": np.full_like(batch["input"], np.nan)}
    for count in (1, 2):
        state, measured = train_step(state, bad)
        jax.tree.map(np.testing.assert_array_equal, kept, jax.device_get((state.params, state.opt_state, state.ema)))
        assert (measured.skipped, measured.skipped_in_row, state.step) == (count, count, 1 + count)
    state, measured = train_step(state, batch)
    assert (measured.skipped, measured.skipped_in_row) == (2, 0)
    assert not np.array_equal(state.params["tail"]["kernel"], kept[0]["tail"]["kernel"])


def test_the_average_follows_the_parameters_slowly(tiny, batch):
    optimizer = optax.sgd(RATE)
    params = init_params(tiny, seed=0)
    state, _ = make_train_step(MPRNet(tiny), optimizer, LOSS, ema_decay=0.5)(init_state(params, optimizer), batch)
    decay = 0.1  # min(0.5, (1 + 0) / (10 + 0))
    expected = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, params, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.ema, expected)


def test_mixup_weighs_both_sides_alike_by_beta_and_one_permutation():
    count = 4096
    number = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1) / count
    mixed = mix_up({"input": jnp.asarray(number), "target": jnp.asarray(number + 1)}, jax.random.key(0))
    np.testing.assert_allclose(mixed["target"], mixed["input"] + 1, atol=1e-5)
    weights = jax.random.beta(jax.random.split(jax.random.key(0))[0], 0.6, 0.6, (count, 1, 1, 1))
    # Beta(0.6, 0.6): mean 1/2, variance 1 / (4 * 2.2)
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(weights.var()) == pytest.approx(1 / 8.8, rel=0.05)
    others = (mixed["input"] - weights * number) / (1 - weights)
    clear = np.asarray(weights)[:, 0, 0, 0] < 0.9  # elsewhere the division loses the digits
    found = np.rint(np.asarray(others)[:, 0, 0, 0] * count)[clear]
    assert len(set(found.tolist())) == clear.sum()


def test_mixup_begins_at_its_step(tiny, batch, plain):
    state, _ = step(tiny, batch, mixup_from_step=1)
    assert_same(state, plain[0])
