"""The rewrites for CPUs change no output and no gradient of the network."""

import functools

import jax
import numpy as np
import optax
import pytest

from mprnet_jax.backends import cpu, dispatch
from mprnet_jax.model import PRESETS, MPRNet, MPRNetConfig, init_params
from mprnet_jax.runtime import memory
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.step import init_state, make_train_step

# 28 and 56 channels are among the slow widths; 8 channels are few.
SLOW = MPRNetConfig(n_feat=8, scale_unetfeats=20, scale_orsnetfeats=48, num_cab=1)


@pytest.fixture(autouse=True)
def avx512(monkeypatch):
    """The widths of a processor with AVX-512, whatever this one has."""
    monkeypatch.setattr(cpu, "_wide_registers", lambda: True)


def image(height=16, width=24):
    return np.random.default_rng(0).random((2, height, width, 3), dtype=np.float32)


def outputs(cfg, params, pixels, dtype=np.float32, window=None):
    # A new function each time: JAX would reuse the trace from outside the context.
    return jax.jit(lambda p, x: MPRNet(cfg, dtype, window).apply({"params": p}, x))(params, pixels)


@pytest.fixture(scope="module")
def params():
    return init_params(SLOW, seed=0)


@pytest.fixture(scope="module")
def expected(params):
    return outputs(SLOW, params, image())


def test_widening_changes_no_stage(params, expected):
    wide = cpu.faster_config(SLOW)
    assert (wide.n_feat, wide.scale_unetfeats, wide.scale_orsnetfeats) == (8, 24, 56)
    for ours, theirs in zip(outputs(wide, dispatch.widen(params, wide), image()), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        assert np.std(theirs - image()) > 0.01  # otherwise a network that does nothing would pass


def test_fast_convolutions_change_no_stage_and_are_used(params, expected):
    with cpu.fast_convolutions():
        fast = outputs(SLOW, params, image())
        program = jax.jit(lambda p, x: MPRNet(SLOW).apply({"params": p}, x)).lower(params, image()).as_text()
    for ours, theirs in zip(fast, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    convolutions = [line for line in program.splitlines() if "stablehlo.convolution" in line]
    assert any("stride = [1, 2]" in line for line in convolutions)
    assert not any("tensor<1x1x" in line for line in convolutions)  # those are products of matrices


def test_concatenation_is_exact():
    x, y = image(), -image(24, 16).reshape(2, 16, 24, 3)[..., :2]
    np.testing.assert_array_equal(cpu.concatenate(x, y), np.concatenate([x, y], axis=-1))


@pytest.mark.parametrize("channels", [(3, 5), (5, 3), (20, 5), (40, 44)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("size", [(4, 6), (5, 2), (16, 200)])
def test_convolution_and_its_gradients_are_those_of_xla(kernel_size, channels, size):
    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, *size, channels[0])).astype(np.float32)
    kernel = rng.normal(size=(kernel_size, kernel_size, *channels)).astype(np.float32)
    gradient = rng.normal(size=(2, *size, channels[1])).astype(np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(convolve, x, kernel, gradient):
        value, backward = jax.vjp(convolve, x, kernel)
        return value, *backward(gradient)

    expected = value_and_gradients(plain, x, kernel, gradient)
    for ours, theirs in zip(value_and_gradients(cpu.convolution, x, kernel, gradient), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_prelus_are_computed_again_for_the_gradient_and_not_kept():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 32, 32, 16)).astype(np.float32)
    slopes = np.linspace(-0.5, 0.5, 6, dtype=np.float32)
    kernels = rng.normal(scale=0.1, size=(6, 3, 3, 16, 16)).astype(np.float32)

    def gradients(layer):
        def loss(slopes, kernels):
            features = x
            for slope, kernel in zip(slopes, kernels, strict=True):
                features = layer(features, slope, kernel)
            return (features**2).mean()

        program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(slopes, kernels).compile()
        return program(slopes, kernels), memory.needed_bytes(program)

    keeping = lambda x, slope, kernel: cpu.convolution(jax.nn.leaky_relu(x, slope), kernel)
    (expected, needed), (ours, less) = gradients(keeping), gradients(cpu.convolution_of_prelu)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    assert less < 0.8 * needed


@pytest.mark.slow  # compiling takes half a minute
def test_gradients_of_the_parameters_are_those_of_the_plain_network():
    cfg = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=22, num_cab=1, reduction=1)
    assert cpu.faster_config(cfg) != cfg
    model, pixels, params = MPRNet(cfg), image(), init_params(cfg, seed=0)
    loss = lambda outputs: sum(((stage - 0.5) ** 2).mean() for stage in outputs)
    plain = jax.jit(jax.grad(lambda p: loss(model.apply({"params": p}, pixels))))(params)
    fast = jax.jit(jax.grad(lambda p: loss(dispatch.apply(model, p, pixels))))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max()), fast, plain)
    assert np.mean([np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(plain)]) > 0.9


def test_widths_that_are_fast_stay():
    cfg = MPRNetConfig(n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32)
    assert cpu.faster_config(cfg) == cfg


@pytest.mark.parametrize("several_cores", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_no_level_becomes_narrower(name, several_cores, monkeypatch):
    monkeypatch.setattr(cpu, "_several_cores", lambda: several_cores)
    levels = lambda cfg: [cfg.n_feat + i * cfg.scale_unetfeats for i in range(3)] + [cfg.n_feat + cfg.scale_orsnetfeats]
    pairs = zip(levels(cpu.faster_config(PRESETS[name])), levels(PRESETS[name]), strict=True)
    assert all(wide >= narrow for wide, narrow in pairs)


def test_widening_what_is_concatenated_changes_no_stage(monkeypatch):
    monkeypatch.setattr(cpu, "_several_cores", lambda: True)
    cfg = MPRNetConfig(n_feat=40, scale_unetfeats=4, scale_orsnetfeats=0, num_cab=1)
    wide = cpu.faster_config(cfg)
    assert wide.n_feat == 48
    params = init_params(cfg, seed=0)
    expected = outputs(cfg, params, image())
    for ours, theirs in zip(outputs(wide, dispatch.widen(params, wide), image()), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        assert np.std(theirs - image()) > 0.01


def test_options_of_the_compiler_are_for_narrow_networks_on_several_cores(monkeypatch):
    monkeypatch.setattr(cpu, "_several_cores", lambda: True)
    options = cpu.compiler_options(PRESETS["light"])
    jax.jit(lambda: 0).lower().compile(compiler_options=options)  # XLA takes them
    assert cpu.compiler_options(PRESETS["deraining"]) == {}
    monkeypatch.setattr(cpu, "_several_cores", lambda: False)
    assert cpu.compiler_options(PRESETS["light"]) == {}


def test_without_avx512_no_width_changes_and_all_networks_take_the_older_kernels_on_several_cores(monkeypatch):
    monkeypatch.setattr(cpu, "_wide_registers", lambda: False)
    monkeypatch.setattr(cpu, "_several_cores", lambda: True)
    for cfg in (SLOW, *PRESETS.values()):
        assert cpu.faster_config(cfg) == cfg
        assert cpu.compiler_options(cfg) == cpu.compiler_options(PRESETS["light"]) != {}
    monkeypatch.setattr(cpu, "_several_cores", lambda: False)
    assert cpu.compiler_options(PRESETS["deraining"]) == {}


def test_an_option_that_xla_does_not_know_is_left_out():
    lowered = jax.jit(lambda: 7).lower()
    assert dispatch.compile_with_options(lowered, {"xla_cpu_no_such_option": "1"})() == 7


def test_what_the_compiler_freed_goes_back_to_the_system(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, "return_freed", lambda: calls.append(1))
    dispatch.compile_with_options(jax.jit(lambda: 7).lower())
    assert calls == [1]


@pytest.mark.parametrize("devices", [1, 4])
def test_training_uses_the_fast_forms_on_one_device_and_on_several(devices, monkeypatch):
    calls = []
    fast_convolutions = cpu.fast_convolutions
    monkeypatch.setattr(cpu, "fast_convolutions", lambda: calls.append(1) or fast_convolutions())
    cfg = MPRNetConfig(n_feat=2, scale_unetfeats=0, scale_orsnetfeats=0, num_cab=1, reduction=1)
    optimizer = optax.sgd(1)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step = make_train_step(MPRNet(cfg), optimizer, stages_loss("charbonnier", clip=False), mesh=mesh)
    pixels = np.concatenate([image(), image()])
    step.trace(init_state(init_params(cfg, seed=0), optimizer), {"input": pixels, "target": pixels})
    assert calls
