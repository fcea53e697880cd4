"""The XLA options that a training step is compiled with on this machine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mprnet_jax.backends import dispatch

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")


def test_options_for_bfloat16_are_given_where_they_do_something_and_only_there():
    """jaxlib has oneDNN's calls from 0.12 on; older ones take the options silently, others may refuse them."""
    assert dispatch.training_options("float32") == {}
    options = dispatch.training_options("bfloat16")
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 16, 16, 8)), rng.normal(size=(3, 3, 8, 8))
    convolution = lambda x, k: jax.lax.conv_general_dilated(
        x.astype(jnp.bfloat16), k.astype(jnp.bfloat16), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x, k = image.astype(np.float32), kernel.astype(np.float32)
    compiled = dispatch.compile_with_options(jax.jit(convolution).lower(x, k), options)
    assert ("onednn" in compiled.as_text()) == bool(options)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # N H W C 3 3
    expected = np.einsum("nhwcij,ijcf->nhwf", windows, kernel)
    np.testing.assert_allclose(np.asarray(compiled(x, k), np.float64), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("dtype", "pixels", "cpu", "native", "has", "preferred"),
    [
        pytest.param("float32", 12_000_000, True, False, True, True, id="large"),
        pytest.param("float32", 384 * 288, True, False, True, False, id="small: the stored program"),
        pytest.param("bfloat16", 2_000_000, True, True, True, True, id="bfloat16 pays earlier"),
        pytest.param("float32", 2_000_000, True, True, True, False, id="float32 does not yet"),
        pytest.param("bfloat16", 12_000_000, True, False, True, False, id="emulated"),
        pytest.param("float32", 12_000_000, True, True, False, False, id="older jaxlib"),
        pytest.param("float32", 12_000_000, False, True, True, False, id="GPU"),
    ],
)
def test_onednn_is_for_many_pixels_and_for_bfloat16_that_is_not_emulated(
    monkeypatch, dtype, pixels, cpu, native, has, preferred
):
    monkeypatch.setattr(dispatch, "is_cpu", lambda: cpu)
    monkeypatch.setattr(dispatch, "cpu_has_bfloat16", lambda: native)
    monkeypatch.setattr(dispatch, "has_onednn_convolutions", lambda dtype: has)
    assert dispatch.prefers_onednn(dtype, pixels) == preferred


def test_options_that_xla_does_not_know_are_left_out():
    lowered = jax.jit(lambda x: x + 1).lower(np.float32(1))
    compiled = dispatch.compile_with_options(lowered, {"xla_no_such_option": True})
    assert float(compiled(np.float32(1))) == 2
