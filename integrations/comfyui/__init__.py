"""A node for ComfyUI that restores images: link or copy this folder into ComfyUI's `custom_nodes`.

ComfyUI's images are torch tensors B H W C, float32 in [0, 1], RGB, or RGBA where a mask was joined to them.
"""

import functools
from typing import Any

import numpy as np
import torch

from mprnet_jax import Restorer
from mprnet_jax.checkpoints.pretrained import TASKS


class RestoreWithMPRNet:
    """Takes noise, rain or shake out of images; all of a batch, one after the other."""

    CATEGORY = "image/restoration"
    DESCRIPTION = "MPRNet in JAX: takes noise, rain or camera shake out of images of any size."
    FUNCTION = "restore"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        """The node's inputs, as ComfyUI asks for them."""
        return {
            "required": {
                "image": ("IMAGE",),
                "task": (list(TASKS), {"default": "denoising"}),
                "strength": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": "how much is taken out"},
                ),
                "stage": (
                    "INT",
                    {"default": 3, "min": 1, "max": 3, "tooltip": "1 and 2: faster, a little worse"},
                ),
                "self_ensemble": ("BOOLEAN", {"default": False, "tooltip": "a little better, eight times slower"}),
            },
            "optional": {
                "checkpoint": (
                    "STRING",
                    {"default": "", "tooltip": "folder of a bundle, in place of the task"},
                ),
            },
        }

    def restore(
        self,
        image: torch.Tensor,
        task: str,
        strength: float = 1.0,
        stage: int = 3,
        self_ensemble: bool = False,
        checkpoint: str = "",
    ) -> tuple[torch.Tensor]:
        """B H W 3 or B H W 4 -> the same shape, on the CPU; alpha stays. `strength` as in RestoreOptions.

        Raises UserError, whose sentence ComfyUI shows, for a bundle that cannot be read and for values that are no
        image's.
        """
        restorer = _restorer(checkpoint.strip() or task, stage, self_ensemble, strength)
        before = image.detach().cpu().float().numpy()
        after = np.array(before)
        for index, one in enumerate(before):
            after[index, ..., :3] = restorer(np.ascontiguousarray(one[..., :3]))
        return (torch.from_numpy(after),)


@functools.lru_cache(maxsize=2)
def _restorer(weights: str, stage: int, self_ensemble: bool, strength: float) -> Restorer:
    """Kept between runs of a workflow, with its compiled programs."""
    return Restorer.from_pretrained(weights, stages=stage, self_ensemble=self_ensemble, strength=strength)


NODE_CLASS_MAPPINGS: dict[str, Any] = {"RestoreWithMPRNet": RestoreWithMPRNet}
NODE_DISPLAY_NAME_MAPPINGS = {"RestoreWithMPRNet": "Restore (MPRNet)"}
