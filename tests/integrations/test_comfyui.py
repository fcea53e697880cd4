"""The node for ComfyUI, loaded as ComfyUI does: a folder by its path, and the names it maps. ComfyUI is not needed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mprnet_jax import Restorer
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.model import init_params
from mprnet_jax.support.errors import UserError

torch = pytest.importorskip("torch")
FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def nodes():
    spec = importlib.util.spec_from_file_location("comfyui_of_mprnet", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module.NODE_CLASS_MAPPINGS
    del sys.modules[spec.name]


@pytest.fixture
def checkpoint(tmp_path, tiny):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    return str(tmp_path / "bundle")


def test_the_node_says_what_comfyui_asks(nodes):
    (node,) = nodes.values()
    inputs = node.INPUT_TYPES()
    assert inputs["required"]["image"] == ("IMAGE",)
    assert inputs["required"]["task"][0] == ["deblurring", "denoising", "deraining"]
    assert node.RETURN_TYPES == ("IMAGE",)
    assert isinstance(node.CATEGORY, str)
    names = set(inputs["required"]) | set(inputs["optional"])
    function = getattr(node, node.FUNCTION)
    assert names == set(function.__code__.co_varnames[1 : function.__code__.co_argcount])


def test_a_batch_is_restored_as_restorer_does_and_alpha_stays(nodes, checkpoint, photo):
    (node,) = nodes.values()
    pictures = np.stack([photo[:32, :40], photo[8:40, 8:48]]).astype(np.float32) / 255
    with_alpha = np.concatenate([pictures, np.full((2, 32, 40, 1), 0.25, np.float32)], axis=3)
    call = {"task": "denoising", "checkpoint": checkpoint}
    (restored,) = getattr(node(), node.FUNCTION)(image=torch.from_numpy(with_alpha), **call)
    assert (restored.shape, restored.dtype) == ((2, 32, 40, 4), torch.float32)
    ours = Restorer.from_pretrained(checkpoint)(list(pictures))
    assert np.abs(ours - pictures).max() > 0.01
    np.testing.assert_allclose(restored[..., :3].numpy(), ours, rtol=0, atol=1e-6)
    assert (restored[..., 3] == 0.25).all()
    (half,) = node().restore(torch.from_numpy(pictures), strength=0.5, **call)
    partly = Restorer.from_pretrained(checkpoint, strength=0.5)(list(pictures))
    np.testing.assert_allclose(half.numpy(), partly, rtol=0, atol=1e-6)
    (none,) = node().restore(torch.from_numpy(pictures), strength=0.0, **call)
    np.testing.assert_array_equal(none.numpy(), pictures)


def test_a_bundle_that_is_not_there_is_a_sentence(nodes, tmp_path):
    (node,) = nodes.values()
    with pytest.raises(UserError, match="nowhere"):
        node().restore(torch.zeros(1, 16, 16, 3), "denoising", checkpoint=str(tmp_path / "nowhere"))
