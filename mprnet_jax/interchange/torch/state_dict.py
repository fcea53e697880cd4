"""Official MPRNet checkpoints <-> (MPRNetConfig, params).

The official state dict names its modules by their place in PyTorch containers and repeats the one PReLU slope under
every CAB; kernels are O I H W there and H W I O here. RENAMES is all there is to the difference in names.
"""

import functools
import re
from collections.abc import Mapping

import ml_dtypes
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mprnet_jax.checkpoints.sizes import LARGEST, plausible_config
from mprnet_jax.model import PRESETS, MPRNetConfig, Params, abstract_params
from mprnet_jax.support.errors import UserError, one_line

# Our path, joined by dots -> the official name; regular expressions applied in this order.
RENAMES = (
    (r"\.kernel$", r".weight"),
    (r"^(shallow_feat\d)_conv\.", r"\1.0."),
    (r"^(shallow_feat\d)_cab\.", r"\1.1."),
    (r"(enc|dec)oder\.level(\d)\.", r"\1oder.\1oder_level\2."),
    (r"\.(down\d\d)\.conv\.", r".\1.down.1."),
    (r"\.(up\d\d)\.up\.conv\.", r".\1.up.1."),
    (r"\.(up_enc1|up_dec1)_0\.conv\.", r".\1.up.1."),
    (r"\.(up_enc2|up_dec2)_(\d)\.conv\.", r".\1.\2.up.1."),
    (r"\.(orb\d)\.conv\.", r".\1.body.NUM_CAB."),  # a sequence of num_cab CABs and this convolution
    (r"^(sam\d\d)\.conv(\d)", r"\1.CONV\2"),  # protects SAM's convolutions from the rules for CABs below
    (r"\.conv1\.", r".body.0."),
    (r"\.conv2\.", r".body.2."),
    (r"\.CONV(\d)", r".conv\1"),
    (r"\.ca\.squeeze\.", r".CA.conv_du.0."),
    (r"\.ca\.excite\.", r".CA.conv_du.2."),
    (r"\.cab(\d+)\.", r".\1."),
)
PRELU = "act/negative_slope"  # repeated as `body.1.weight` beside the two convolutions of every CAB
MODULES = ("shallow_feat", "stage1_encoder", "stage1_decoder", "stage2", "stage3_orsnet", "sam", "concat", "tail")
FIRST = "shallow_feat1.0.weight"  # that every state dict of the network holds
LEVEL3_SQUEEZE = "stage1_encoder.encoder_level3.0.CA.conv_du.0.weight"
LISTED = 40  # lines of an error that lists keys
FLOATS = {np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)}


def ours_to_official(path: str, num_cab: int) -> str:
    """The official name of a kernel: "tail/kernel" -> "tail.weight". Not for PRELU, which has many."""
    name = path.replace("/", ".")
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name.replace("NUM_CAB", str(num_cab))


@functools.cache
def _shapes(cfg: MPRNetConfig) -> dict[str, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in flatten_dict(abstract_params(cfg), sep="/").items()}


def official_names(cfg: MPRNetConfig) -> dict[str, str]:
    """Official name -> our path, for every key of the official state dict, in about its order."""
    names = {ours_to_official(path, cfg.num_cab): path for path in _shapes(cfg) if path != PRELU}
    cabs = [name.removesuffix("body.2.weight") for name, path in names.items() if path.endswith("/conv2/kernel")]
    names |= {f"{cab}body.1.weight": PRELU for cab in cabs if not cab.startswith("sam")}
    rank = lambda name: next(i for i, module in enumerate(MODULES) if name.startswith(module))
    return dict(sorted(names.items(), key=lambda item: (rank(item[0]), item[0])))


def _official_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if path == PRELU:
        return (1,)
    height, width, inputs, outputs = shape
    return outputs, inputs, height, width


def read_config(state: Mapping[str, np.ndarray]) -> MPRNetConfig:
    """The sizes of the network, read off its tensors' shapes. Raises UserError if this is no MPRNet."""
    last = re.compile(r"stage3_orsnet\.orb1\.body\.(\d{1,6})\.weight")
    try:
        n_feat, _, kernel_size, _ = state[FIRST].shape
        num_cab = max(int(found[1]) for found in map(last.fullmatch, state) if found)
        if state[FIRST].size == 0 or num_cab > len(state):
            raise ValueError("sizes that no file of this length can have")
        sizes = {
            "n_feat": n_feat,
            "scale_unetfeats": state["stage1_encoder.down12.down.1.weight"].shape[0] - n_feat,
            "scale_orsnetfeats": state["concat23.weight"].shape[0] - n_feat,
            "num_cab": num_cab,
            "kernel_size": kernel_size,
        }
        MPRNetConfig(**sizes, reduction=1)
        # n // reduction may be the same for several reductions, which then make the same network.
        squeezed = {
            n_feat: state["shallow_feat1.1.CA.conv_du.0.weight"].shape[0],
            n_feat + 2 * sizes["scale_unetfeats"]: state[LEVEL3_SQUEEZE].shape[0],
            n_feat + sizes["scale_orsnetfeats"]: state["stage3_orsnet.orb1.body.0.CA.conv_du.0.weight"].shape[0],
        }
        fits = lambda reduction: all(n // reduction == m for n, m in squeezed.items())
        reduction = next(filter(fits, (4, *range(1, min(n_feat, LARGEST["reduction"]) + 1))))
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        first = ", ".join(list(state)[:3]) or "none"
        raise UserError(
            f"not an MPRNet: the {len(state)} tensors have not its names and shapes (first: {one_line(first[:200])}); "
            "name a checkpoint of the official release or of the same network"
        ) from error
    try:
        return plausible_config({**sizes, "reduction": reduction})
    except ValueError as error:
        raise UserError(f"not an MPRNet: {error}") from error


def _check_fit(state: Mapping[str, np.ndarray], expected: dict[str, tuple[int, ...]]) -> None:
    missing = [f"  missing  {name}" for name in expected if name not in state]
    surplus = [f"  surplus  {one_line(name[:100])}" for name in state if name not in expected]
    shapes = [
        f"  shape    {name}: {state[name].shape} in the file, {shape} in the network"
        for name, shape in expected.items()
        if name in state and state[name].shape != shape
    ]
    lines = missing + surplus + shapes
    if lines:
        listed = lines[:LISTED] + ([f"  and {len(lines) - LISTED} more"] if len(lines) > LISTED else [])
        raise UserError(
            f"the tensors do not fit an MPRNet of these sizes ({len(missing)} missing, {len(surplus)} surplus, "
            f"{len(shapes)} of another shape); use the checkpoint of an unchanged network:\n" + "\n".join(listed)
        )


def _check_values(arrays: Mapping[str, np.ndarray]) -> None:
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise UserError(
            f"NaN or infinite values in {len(bad)} of {len(arrays)} tensors: {', '.join(bad[:5])}{more}; "
            "use a checkpoint from before the training diverged"
        )


def from_state_dict(state: Mapping[str, np.ndarray]) -> tuple[MPRNetConfig, Params]:
    """Sizes and float32 parameters from tensors under official names.

    float16 and bfloat16 become float32 exactly; float64 is rounded to it. Raises UserError if the tensors are not
    those of an MPRNet: one that lists every missing, surplus and mis-shaped key.
    """
    cfg = read_config(state)
    names = official_names(cfg)
    _check_fit(state, {name: _official_shape(path, _shapes(cfg)[path]) for name, path in names.items()})

    integers = [name for name in names if state[name].dtype not in FLOATS]
    if integers:
        raise UserError(
            f"{len(integers)} tensors are no floating-point numbers, first {integers[0]} ({state[integers[0]].dtype}); "
            "use a checkpoint that is not quantised"
        )
    with np.errstate(over="ignore"):  # beyond float32's range it becomes infinite, which is refused
        state = {name: state[name].astype(np.float32) for name in names}
    _check_values(state)
    slopes = {name: state[name].item() for name, path in names.items() if path == PRELU}
    if len(set(slopes.values())) > 1:
        first, slope = next(iter(slopes.items()))
        other = next(name for name in slopes if slopes[name] != slope)
        raise UserError(
            f"{len(set(slopes.values()))} different PReLU slopes, where this network shares one ({slope} in {first}, "
            f"{slopes[other]} in {other}); the file is of another network"
        )
    params = {
        path: state[name].reshape(()) if path == PRELU else np.ascontiguousarray(state[name].transpose(2, 3, 1, 0))
        for name, path in names.items()
    }
    return cfg, unflatten_dict(params, sep="/")


def to_state_dict(cfg: MPRNetConfig, params: Params) -> dict[str, np.ndarray]:
    """Tensors under their official names (316 for 8 CABs to an ORB), the PReLU slope as one array under every CAB."""
    ours = {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}
    theirs = {
        path: array.reshape(1) if path == PRELU else np.ascontiguousarray(array.transpose(3, 2, 0, 1))
        for path, array in ours.items()
    }
    return {name: theirs[path] for name, path in official_names(cfg).items()}


def preset_name(cfg: MPRNetConfig) -> str | None:
    """Name of the preset with these sizes, if there is one."""
    return next((name for name, preset in PRESETS.items() if preset == cfg), None)
