"""The rewrites for GPUs change no output of the network. No test here needs a GPU."""

import jax
import numpy as np
import pytest

from mprnet_jax.backends import dispatch, gpu
from mprnet_jax.model import PRESETS, MPRNet, MPRNetConfig, init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.restoring.engines import executables

# Channels at all levels that are no multiples of 8.
ODD = MPRNetConfig(n_feat=6, scale_unetfeats=5, scale_orsnetfeats=3, num_cab=1, reduction=2)


def image(height=16, width=24):
    return np.random.default_rng(0).random((2, height, width, 3), dtype=np.float32)


def outputs(cfg, params, window=None):
    # A new function each time: JAX would reuse the trace from outside the context.
    return jax.jit(lambda p, x: MPRNet(cfg, window=window).apply({"params": p}, x))(params, image())


@pytest.fixture(scope="module")
def params():
    return init_params(ODD, seed=0)


@pytest.mark.parametrize("window", [None, 8])
def test_the_fast_forms_change_no_stage(params, window):
    expected = outputs(ODD, params, window)
    with gpu.fast_convolutions():
        ours = outputs(ODD, params, window)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)
        assert np.std(theirs - image()) > 0.01


def test_a_convolution_of_one_pixel_is_a_product(params):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 1, 1, 6)), rng.standard_normal((1, 1, 6, 4))
    ours = gpu.pixel_convolution(x.astype(np.float32), kernel.astype(np.float32))
    np.testing.assert_allclose(ours[:, 0, 0], x[:, 0, 0] @ kernel[0, 0], rtol=1e-5)
    gradients = jax.grad(lambda *arrays: gpu.pixel_convolution(*arrays).sum(), argnums=(0, 1))(
        x.astype(np.float32), kernel.astype(np.float32)
    )
    np.testing.assert_allclose(gradients[0][0, 0, 0], kernel[0, 0].sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(gradients[1][0, 0, :, 0], x.sum(axis=(0, 1, 2)), rtol=1e-5)


def test_channels_for_tensor_cores_change_no_stage(params):
    wide = gpu.faster_config(ODD, "bfloat16")
    assert (wide.n_feat, wide.scale_unetfeats, wide.scale_orsnetfeats) == (8, 8, 8)
    for mine, theirs in zip(outputs(wide, dispatch.widen(params, wide)), outputs(ODD, params), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kernels_packed_for_a_gpu_change_no_answer(params, dtype, monkeypatch):
    picture = image()[0]
    restore = lambda: Restorer(ODD, params, options=RestoreOptions(dtype=dtype))(picture)
    expected = restore()
    executables.compile_restoring.cache_clear()  # they are of this platform
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    restorer = Restorer(ODD, params, options=RestoreOptions(dtype=dtype))
    kernel = restorer._engine._place(restorer._network)[0]["tail"]["kernel"]
    assert kernel.shape[0] == 3
    assert kernel.dtype == dtype
    ours = restore()
    executables.compile_restoring.cache_clear()
    np.testing.assert_allclose(ours, expected, atol=2e-6 if dtype == "float32" else 0.02)
    assert np.std(ours - picture) > 0.01


def test_float32_and_widths_that_are_multiples_stay():
    assert gpu.faster_config(ODD, "float32") == ODD
    for preset in ("deblurring", "denoising", "lite", "light"):
        assert gpu.faster_config(PRESETS[preset], "bfloat16") == PRESETS[preset]


@pytest.mark.parametrize(("backend", "widened"), [("gpu", 8), ("tpu", 6)])
def test_each_platform_gets_its_own_forms(backend, widened, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert dispatch.faster_config(ODD, "bfloat16").n_feat == widened
    assert dispatch.compiler_options(ODD) == {}
    with dispatch.fast_layers():
        pass


def test_training_is_traced_in_the_forms_of_the_platform(params, monkeypatch):
    calls = []
    fast_convolutions = gpu.fast_convolutions
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(gpu, "fast_convolutions", lambda: calls.append(1) or fast_convolutions())
    jax.eval_shape(lambda p: dispatch.apply(MPRNet(ODD, dtype=jax.numpy.bfloat16), p, image()), params)
    assert calls
