"""Losses against float64 formulas written out with SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from mprnet_jax.training import losses

TAPS = np.outer([0.05, 0.25, 0.4, 0.25, 0.05], [0.05, 0.25, 0.4, 0.25, 0.05])


def reference_charbonnier(a, b):
    return np.mean(np.sqrt((a - b) ** 2 + 1e-6))


def reference_laplacian(x):
    blur = lambda image: ndimage.correlate(image, TAPS[None, :, :, None], mode="nearest")
    kept = np.zeros_like(x)
    kept[:, ::2, ::2] = blur(x)[:, ::2, ::2]
    return x - blur(4 * kept)


def reference_charbonnier_edge(a, b):
    return reference_charbonnier(a, b) + 0.05 * reference_charbonnier(reference_laplacian(a), reference_laplacian(b))


REFERENCES = {"charbonnier": reference_charbonnier, "charbonnier_edge": reference_charbonnier_edge}


@pytest.fixture(params=[(2, 16, 24, 3), (1, 9, 13, 3)], ids=["even", "odd"])
def pair(request):
    rng = np.random.default_rng(0)
    return rng.random(request.param), rng.random(request.param)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_equals_its_formula_in_float64(name, pair):
    ours = losses.LOSSES[name](*(jnp.asarray(x, jnp.float32) for x in pair))
    np.testing.assert_allclose(float(ours), REFERENCES[name](*pair), atol=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_gradient_equals_the_finite_difference_of_the_formula(name, pair):
    a, b = pair
    grad = jax.grad(losses.LOSSES[name])(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    scale = np.abs(np.asarray(grad)).max()
    for index in [(0, 0, 0, 0), (0, 3, 5, 1), (0, 8, 12, 2), (0, 4, 4, 0)]:
        step = np.zeros_like(a)
        step[index] = 1e-6
        difference = (REFERENCES[name](a + step, b) - REFERENCES[name](a - step, b)) / 2e-6
        np.testing.assert_allclose(float(grad[index]), difference, atol=1e-3 * scale)


def test_the_gradient_at_equal_images_is_zero_and_not_nan():
    image = jnp.full((1, 8, 8, 3), 0.5)
    np.testing.assert_array_equal(jax.grad(losses.charbonnier_edge)(image, image), np.zeros((1, 8, 8, 3)))


def test_the_loss_of_the_stages_is_their_sum_and_not_their_mean(pair):
    a, b = (jnp.asarray(x, jnp.float32) for x in pair)
    summed = losses.stages_loss("charbonnier", clip=False)([a, b, a * 0.5], b)
    expected = sum(reference_charbonnier(np.asarray(x, np.float64), np.asarray(b, np.float64)) for x in (a, b, a * 0.5))
    np.testing.assert_allclose(float(summed), expected, atol=1e-6)


def test_clipping_comes_before_the_loss(pair):
    a, b = (jnp.asarray(x, jnp.float32) for x in pair)
    clipped = losses.stages_loss("charbonnier", clip=True)([3 * a - 1], b)
    expected = reference_charbonnier(np.clip(3 * np.asarray(a, np.float64) - 1, 0, 1), np.asarray(b, np.float64))
    np.testing.assert_allclose(float(clipped), expected, atol=1e-6)


def test_an_unknown_loss_lists_the_choices():
    with pytest.raises(ValueError, match="unknown loss 'charbonier'; choose from charbonnier, charbonnier_edge"):
        losses.stages_loss("charbonier", clip=False)
