"""The network against an independent one in PyTorch, with random weights that pass through a file of torch.save."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mprnet_jax.interchange.torch import state_dict as torch_state_dict
from mprnet_jax.model import PRESETS, MPRNet, MPRNetConfig
from mprnet_jax.training.losses import stages_loss
from tests.helpers.torch_reference import nhwc, random_images, through_a_file, torch, torch_mprnet, torch_stages

TINY = MPRNetConfig(12, 6, 4, num_cab=2)
SMALL = MPRNetConfig(16, 8, 8)
UNUSUAL = MPRNetConfig(10, 4, 6, num_cab=1, kernel_size=5, reduction=2)

# Reduction 1: where the attention has three channels, a dead ReLU leaves some kernels without any gradient.
TRAINED = MPRNetConfig(8, 4, 4, num_cab=1, reduction=1)


@functools.cache
def jitted(cfg, dtype=jnp.float32):
    return jax.jit(MPRNet(cfg, dtype).apply)


def differences(cfg, folder, shape, seed=0, **weights):
    """Largest absolute difference of each stage, and the largest value of the reference."""
    network = torch_mprnet(cfg, seed, **weights)
    found, params = through_a_file(network, folder)
    assert found == cfg
    images = random_images(*shape, seed=seed)
    with torch.no_grad():
        expected = [nhwc(stage) for stage in torch_stages(network, images)]
    restored = jitted(cfg)({"params": params}, images)
    assert [stage.shape for stage in restored] == [shape] * 3
    # Without this the comparison would hold for a network that does nothing.
    assert min(float(np.std(stage - images)) for stage in expected) > 0.05
    pairs = zip(restored, expected, strict=True)
    return [float(np.abs(np.asarray(a) - b).max()) for a, b in pairs], max(np.abs(stage).max() for stage in expected)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (72, 120), (256, 160)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_stages_equal_those_of_the_torch_network(tmp_path, size, batch):
    measured, _ = differences(TINY, tmp_path, (batch, *size, 3))
    assert max(measured) < 1e-4, measured


@pytest.mark.parametrize("slope", [0.05, 0.8, -0.3])
def test_stages_equal_those_of_the_torch_network_for_other_slopes(tmp_path, slope):
    measured, _ = differences(TINY, tmp_path, (1, 64, 64, 3), seed=1, slope=slope)
    assert max(measured) < 1e-4, measured


@pytest.mark.parametrize(
    "cfg",
    [pytest.param(SMALL, marks=pytest.mark.slow, id="eight CABs"), pytest.param(UNUSUAL, id="kernel 5, reduction 2")],
)
def test_stages_equal_those_of_the_torch_network_for_other_sizes(tmp_path, cfg):
    measured, _ = differences(cfg, tmp_path, (2, 64, 72, 3), seed=2)
    assert max(measured) < 1e-4, measured


def test_stages_equal_those_of_the_torch_network_when_weights_are_large(tmp_path):
    # Outputs in the tens: float32 itself is coarser there, so the tolerance grows with them.
    measured, largest = differences(TINY, tmp_path, (1, 64, 64, 3), seed=3, gain=1.0)
    assert largest > 5
    assert max(measured) < 2e-5 * largest, (measured, largest)


class LocalMean(torch.nn.Module):
    """TLC for a torch network: a global pooling that becomes a local one of 1.5 x what it saw in a training patch."""

    def __init__(self):
        super().__init__()
        self.window = None

    def forward(self, x):
        if self.window is None:  # the run on a training patch
            self.window = [side * 3 // 2 for side in x.shape[2:]]
        windows = [min(pair) for pair in zip(self.window, x.shape[2:], strict=True)]
        mean = torch.nn.functional.avg_pool2d(x, windows, stride=1)
        (top, left), (bottom, right) = zip(
            *((n // 2, n - n // 2) for n in (a - b for a, b in zip(x.shape[2:], mean.shape[2:], strict=True))),
            strict=True,
        )
        return torch.nn.functional.pad(mean, (left, right, top, bottom), mode="replicate")


@pytest.mark.parametrize(("patch", "size"), [(32, (72, 120)), (16, (64, 64)), (64, (64, 112))])
def test_tlc_equals_the_torch_network_with_local_pooling(tmp_path, patch, size):
    network = torch_mprnet(TINY, seed=5)
    found, params = through_a_file(network, tmp_path)
    images = random_images(1, *size, 3, seed=5)
    with torch.no_grad():
        plain = [nhwc(stage) for stage in torch_stages(network, images)]
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, torch.nn.AdaptiveAvgPool2d):
                    setattr(module, name, LocalMean())
        torch_stages(network, random_images(1, patch, patch, 3))
        expected = [nhwc(stage) for stage in torch_stages(network, images)]
    restored = jax.jit(MPRNet(found, window=patch * 3 // 2).apply)({"params": params}, images)
    for ours, theirs, without in zip(restored, expected, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
        assert np.abs(theirs - without).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deblurring", "denoising", "deraining", "lite"])
def test_stages_equal_those_of_the_torch_network_at_full_width(tmp_path, name):
    # At the gain of PyTorch's own initialisation: at 0.8 the widest network's outputs leave the range of images.
    measured, _ = differences(PRESETS[name], tmp_path, (1, 32, 40, 3), gain=0.58)
    assert max(measured) < 1e-4, measured


def torch_loss(stages, target):
    """Sum over the stages of Charbonnier + 0.05 Charbonnier of the Laplacians, written from the formula."""
    taps = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    kernel = torch.outer(taps, taps).repeat(3, 1, 1, 1)

    def blur(x):
        padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
        return torch.nn.functional.conv2d(padded, kernel, groups=3)

    def laplacian(x):
        mask = torch.zeros_like(x)
        mask[:, :, ::2, ::2] = 4
        return x - blur(blur(x) * mask)

    charbonnier = lambda a, b: torch.sqrt((a - b) ** 2 + 1e-6).mean()
    return sum(charbonnier(x, target) + 0.05 * charbonnier(laplacian(x), laplacian(target)) for x in stages)


def test_gradients_of_the_training_loss_equal_those_of_torch(tmp_path):
    network = torch_mprnet(TRAINED, seed=4)
    _, params = through_a_file(network, tmp_path)
    images, target = random_images(2, 64, 64, 3, seed=4), random_images(2, 64, 64, 3, seed=5)
    expected_loss = torch_loss(torch_stages(network, images), torch.from_numpy(target.transpose(0, 3, 1, 2).copy()))
    expected_loss.backward()
    # The reference shares its PReLU, so its gradient is the sum over all CABs under each of its names.
    named = network.named_parameters(remove_duplicate=False)
    gradients = {name: parameter.grad.numpy() for name, parameter in named}
    _, expected = torch_state_dict.from_state_dict(gradients)

    loss = stages_loss("charbonnier_edge", clip=False)
    objective = lambda params: loss(MPRNet(TRAINED).apply({"params": params}, images), target)
    value, measured = jax.jit(jax.value_and_grad(objective))(params)

    np.testing.assert_allclose(value, expected_loss.item(), rtol=1e-5)
    expected, measured = flatten_dict(expected, sep="/"), flatten_dict(measured, sep="/")
    assert set(measured) == set(expected)
    norm = np.linalg.norm
    assert min(norm(gradient) for gradient in expected.values()) > 0
    errors = {path: norm(measured[path] - expected[path]) / norm(expected[path]) for path in expected}
    worst = max(errors, key=errors.get)
    assert errors[worst] < 1e-3, (worst, errors[worst])


def test_bfloat16_output_is_above_45_db_of_float32(tmp_path):
    # At PyTorch's own initialisation, about the size of a trained network's corrections.
    _, params = through_a_file(torch_mprnet(TINY, seed=6, gain=0.58), tmp_path)
    images = random_images(1, 64, 64, 3, seed=6)
    variables = {"params": params}
    restored = zip(jitted(TINY, jnp.bfloat16)(variables, images), jitted(TINY)(variables, images), strict=True)
    for fast, exact in restored:
        assert fast.dtype == jnp.float32
        assert -10 * np.log10(np.mean((np.asarray(fast) - np.asarray(exact)) ** 2)) > 45
