"""The network's shapes, sizes and invariants. Against PyTorch: test_model_torch.py."""

import hashlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mprnet_jax.model import (
    CAB,
    PRESETS,
    MPRNet,
    MPRNetConfig,
    abstract_params,
    count_parameters,
    downsample,
    init_params,
    local_mean,
    merge,
    spatial_mean,
    split,
    upsample,
)

# Table in the paper's supplement; the released files agree.
OFFICIAL_COUNT = {"deblurring": 20_127_073, "denoising": 15_741_025, "deraining": 3_637_249}


@pytest.mark.parametrize("name", OFFICIAL_COUNT)
def test_parameter_count_is_the_official_one(name):
    assert count_parameters(abstract_params(PRESETS[name])) == OFFICIAL_COUNT[name]


# SHA-256 of names, shapes and dtypes, recorded once: another tree would not fit existing bundles.
PARAMETER_TREES = {
    "deblurring": "72a984d4c6412ffaa8616182ff0ecba55dc2c8af0fb1c60c4d82195f8e760d5a",
    "denoising": "decfcb52fd3d33d1da155c042dcecb7f40441b8dfca677761359608731cf1877",
    "deraining": "a36b845cc7cbc545ea24c0317568c33f1b2098e255168922e6b00602fe1c7ca2",
    "lite": "8022dca1ef90403518262aaaccbba1caa6253d00f929697ccfc19f8d2d27e514",
    "light": "5127e05690a72037726d279b8f5c9e6e6f6863e083e789aa384bef5d697d07f9",
}


@pytest.mark.parametrize("name", PARAMETER_TREES)
def test_parameters_keep_the_names_and_shapes_that_bundles_have(name):
    leaves = jax.tree_util.tree_leaves_with_path(abstract_params(PRESETS[name]))
    lines = [f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}" for path, leaf in leaves]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PARAMETER_TREES[name]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_three_images_of_the_inputs_size(name):
    cfg = PRESETS[name]
    image = jax.ShapeDtypeStruct((2, 64, 72, 3), jnp.float32)
    outputs = jax.eval_shape(lambda p, x: MPRNet(cfg).apply({"params": p}, x), abstract_params(cfg), image)
    assert [output.shape for output in outputs] == [image.shape] * 3


def test_one_prelu_slope_is_shared_by_the_whole_network(tiny):
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(abstract_params(tiny))]
    assert [p for p in paths if "slope" in p] == ["['act']['negative_slope']"]


def test_parameters_stay_float32_and_outputs_are_float32_when_computing_in_bfloat16(tiny):
    params = init_params(tiny, seed=0)
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    outputs = jax.jit(MPRNet(tiny, dtype=jnp.bfloat16).apply)({"params": params}, image)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


def test_first_parameters_are_uniform_within_one_over_the_root_of_the_fan_in():
    params = init_params(PRESETS["light"], seed=0)
    kernel = params["stage3_orsnet"]["orb1"]["body"]["cab0"]["conv1"]["kernel"]
    bound = 1 / np.sqrt(3 * 3 * 32)
    assert kernel.shape == (3, 3, 32, 32)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)  # a uniform distribution's
    assert params["act"]["negative_slope"] == 0.25


def test_linens_own_init_draws_from_the_same_distribution():
    cfg = MPRNetConfig(n_feat=32, scale_unetfeats=0, scale_orsnetfeats=0)
    linens = CAB(cfg, nn.relu).init(jax.random.key(0), jnp.zeros((1, 8, 8, 32)))["params"]
    ours = init_params(cfg, seed=0)["shallow_feat1_cab"]
    assert jax.tree.structure(ours) == jax.tree.structure(linens)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(linens), strict=True):
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.15, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("shape", [(1, 60, 64, 3), (1, 64, 36, 3), (1, 64, 64, 1)])
def test_a_size_that_is_no_multiple_of_8_is_refused_with_the_remedy(tiny, shape):
    with pytest.raises(ValueError, match=r"multiples of 8, got .*; pad the image first \(.*padding.pad_to_multiple\)"):
        jax.eval_shape(MPRNet(tiny).init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 4, 4), "n_feat must be a positive whole number, got 0"),
        ((2, 4, 4), "n_feat 2 leaves the channel attention no channel"),
        ((8, 4, 4, 1, 2), "kernel_size must be odd, got 2"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        MPRNetConfig(*sizes)


@pytest.mark.parametrize("axis", [1, 2])
def test_merge_undoes_split_and_halves_of_one_image_stay_adjacent(axis):
    x = jnp.arange(2 * 8 * 16 * 3.0).reshape(2, 8, 16, 3)
    halves = split(x, axis)
    np.testing.assert_array_equal(merge(halves, axis), x)
    first, second = jnp.split(x[0], 2, axis=axis - 1)
    np.testing.assert_array_equal(halves[0], first)
    np.testing.assert_array_equal(halves[1], second)


def test_downsampling_is_the_mean_of_each_2_by_2():
    x = np.random.default_rng(0).random((2, 6, 10, 3))
    expected = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(downsample(jnp.asarray(x, jnp.float32)), expected, atol=1e-6)


def test_upsampling_weighs_neighbours_three_to_one_and_repeats_the_border():
    row = np.array([1.0, 5.0, 3.0], np.float32)  # align_corners=False: new centres lie 1/4 pixel beside the old ones
    up = upsample(jnp.asarray(row).reshape(1, 1, 3, 1))
    np.testing.assert_allclose(up[0, 0, :, 0], [1, 2, 4, 4.5, 3.5, 3], atol=1e-6)


def test_the_mean_of_a_megapixel_keeps_its_digits():
    x = np.random.default_rng(0).random((1, 1024, 2048, 1), np.float32)
    expected = x.astype(np.float64).mean()
    np.testing.assert_allclose(float(jax.jit(spatial_mean)(x)[0, 0, 0, 0]), expected, rtol=3e-7)


def test_images_of_a_batch_do_not_touch_each_other(tiny):
    apply, params = jax.jit(MPRNet(tiny).apply), init_params(tiny, seed=0)
    images = np.random.default_rng(0).random((3, 32, 40, 3), np.float32)
    together = apply({"params": params}, images)
    for i in range(3):
        alone = apply({"params": params}, images[i : i + 1])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[i], atol=1e-5)


def naive_local_mean(x, window):
    """Mean over every full window in float64, then the nearest full window's for each pixel."""
    (h, w), (kh, kw) = x.shape[:2], window
    full = np.array([[x[i : i + kh, j : j + kw].mean((0, 1)) for j in range(w - kw + 1)] for i in range(h - kh + 1)])
    rows = np.clip(np.arange(h) - (kh - 1) // 2, 0, h - kh)
    columns = np.clip(np.arange(w) - (kw - 1) // 2, 0, w - kw)
    return full[rows][:, columns]


@pytest.mark.parametrize(
    ("layer", "image", "window", "expected"),
    [((20, 31), (20, 31), 12, (12, 12)), ((12, 26), (24, 52), 15, (7, 7)), ((8, 30), (16, 30), 24, (8, 24))],
    ids=["full resolution", "half resolution", "half of the image, covered in height"],
)
def test_local_means_equal_their_formula_in_float64(layer, image, window, expected):
    x = np.random.default_rng(0).random((*layer, 3))
    ours = local_mean(jnp.asarray(x, jnp.float32)[None], window, image)
    np.testing.assert_allclose(ours[0], naive_local_mean(x, expected), atol=1e-6)


def test_local_means_of_a_large_bright_image_keep_their_digits():
    x = 1 + 1e-3 * np.random.default_rng(0).random((1, 1000, 3000, 1))
    ours = jax.jit(lambda a: local_mean(a, 384, (1000, 3000)))(jnp.asarray(x, jnp.float32))
    for i, j in [(500, 2900), (191, 191), (700, 1000)]:
        expected = x[0, i - 191 : i + 193, j - 191 : j + 193].mean() if j < 2809 else x[0, 309:693, -384:].mean()
        np.testing.assert_allclose(float(ours[0, i, j, 0]), expected, rtol=3e-7)


def test_a_window_that_covers_the_image_gives_the_plain_network_bit_for_bit(tiny):
    params = init_params(tiny, seed=0)
    image = np.random.default_rng(0).random((1, 32, 40, 3), np.float32)
    plain, covered, local = (
        jax.jit(MPRNet(tiny, window=window).apply)({"params": params}, image) for window in (None, 40, 16)
    )
    for a, b, c in zip(plain, covered, local, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 1e-6


@pytest.mark.parametrize("stages", [1, 2])
def test_an_early_exit_gives_the_same_images_for_less_work(tiny, stages):
    params = init_params(tiny, seed=0)
    image = np.random.default_rng(0).random((1, 32, 40, 3), np.float32)
    run = lambda n: jax.jit(lambda p, x: MPRNet(tiny).apply({"params": p}, x, stages=n)).lower(params, image).compile()
    whole, early = run(3), run(stages)
    for a, b in zip(early(params, image), whole(params, image)[3 - stages :], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert early.cost_analysis()["flops"] < 0.7 * whole.cost_analysis()["flops"]


def test_every_parameter_gets_a_gradient(tiny):
    params = init_params(tiny, seed=0)
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    loss = lambda p: sum(jnp.abs(output - 0.3).mean() for output in MPRNet(tiny).apply({"params": p}, image))
    grads = jax.jit(jax.grad(loss))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.abs(grad).max() > 0, jax.tree_util.keystr(path)


def test_blocks_are_linen_modules_of_their_papers_name():
    from mprnet_jax import model

    for name in [
        "CALayer",
        "CAB",
        "ORB",
        "SAM",
        "DownSample",
        "UpSample",
        "SkipUpSample",
        "Encoder",
        "Decoder",
        "ORSNet",
        "MPRNet",
    ]:
        assert issubclass(getattr(model, name), nn.Module)
