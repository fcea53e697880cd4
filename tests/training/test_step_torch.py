"""Twenty steps of training against PyTorch: the same weights, batches and recipe."""

import jax
import numpy as np
import pytest

from mprnet_jax.interchange.torch import state_dict as torch_state_dict
from mprnet_jax.model import MPRNet, MPRNetConfig
from mprnet_jax.training.config import TrainConfig
from mprnet_jax.training.losses import stages_loss
from mprnet_jax.training.optimizer import make_optimizer
from mprnet_jax.training.step import init_state, make_train_step
from tests.helpers.torch_reference import torch_mprnet

torch = pytest.importorskip("torch")

STEPS = 20
RATES = np.linspace(2e-4, 5e-5, STEPS)
# Reduction 2: at such widths the usual 4 would leave a single squeezed channel.
CONFIG = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=2, reduction=2)


def torch_loss(outputs, target):
    """Charbonnier, summed over the stages."""
    return sum(torch.sqrt((output - target) ** 2 + 1e-6).mean() for output in outputs)


@pytest.mark.parametrize(
    "weight_decay",
    [pytest.param(0.0, id="no weight decay"), pytest.param(1e-2, marks=pytest.mark.slow, id="weight decay")],
)
def test_twenty_steps_of_adam_equal_those_of_torch(weight_decay):
    """The weight decay is a million times the recipe's: at 1e-8 its absence would not be noticed."""
    network = torch_mprnet(CONFIG, seed=0)
    _, params = torch_state_dict.from_state_dict({name: t.detach().numpy() for name, t in network.state_dict().items()})
    rng = np.random.default_rng(0)
    batches = [{side: rng.random((2, 16, 24, 3), np.float32) for side in ("input", "target")} for _ in range(STEPS)]

    theirs, optimizer = [], torch.optim.Adam(network.parameters(), lr=RATES[0], weight_decay=weight_decay)
    for batch, rate in zip(batches, RATES, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        pair = [torch.from_numpy(batch[side].transpose(0, 3, 1, 2).copy()) for side in ("input", "target")]
        optimizer.zero_grad()
        loss = torch_loss(network(pair[0]), pair[1])
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())

    recipe = TrainConfig(CONFIG, "photos", epochs=4, batch_size=2, patch_size=16, weight_decay=weight_decay)
    adam = make_optimizer(recipe)
    train_step = make_train_step(MPRNet(CONFIG), adam, stages_loss("charbonnier", clip=False))
    state, ours = init_state(params, adam), []
    for batch, rate in zip(batches, RATES, strict=True):
        state, measured = train_step(state, batch, np.float32(rate))
        ours.append(float(measured.loss))

    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0]
    _, expected = torch_state_dict.from_state_dict(
        {name: t.detach().numpy() for name, t in network.state_dict().items()}
    )
    for (path, mine), other in zip(
        jax.tree_util.tree_leaves_with_path(state.params), jax.tree.leaves(expected), strict=True
    ):
        error = np.linalg.norm(mine - other) / np.linalg.norm(other)
        assert error < 1e-3, (jax.tree_util.keystr(path), error)
