"""MPRNet: multi-stage progressive image restoration (arXiv:2102.02808, CVPR 2021).

Shapes: N batch, H height, W width, C channels. All images and features are NHWC, H and W multiples of 8.
Every convolution is bias-free and computes in the dtype of its input; parameters are float32.
Blocks are ordered from small to large. Where the paper's figures and the official weights disagree, this file follows
the weights.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]  # nested dicts of arrays, by the names of the modules below
Pyramid = tuple[jax.Array, jax.Array, jax.Array]  # features at full, 1/2 and 1/4 size, finest first
Mean = Callable[[jax.Array], jax.Array]  # N H W C -> N 1 1 C (global) or N H W C (local)

SIZE_MULTIPLE = 8  # two halvings inside a stage, on patches of half the image


@dataclasses.dataclass(frozen=True)
class MPRNetConfig:
    """Sizes of the network, under the official names."""

    n_feat: int  # channels at full resolution: C
    scale_unetfeats: int  # channels added at each lower level of a U-Net: s
    scale_orsnetfeats: int  # channels added to n_feat in ORSNet: o
    num_cab: int = 8  # CABs in each ORB
    kernel_size: int = 3  # of every convolution that the paper does not draw as 1 x 1
    reduction: int = 4  # channel attention squeezes n channels to n // reduction

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not isinstance(value, int) or value < (0 if name.startswith("scale_") else 1):
                raise ValueError(f"MPRNetConfig.{name} must be a positive whole number, got {value!r}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"MPRNetConfig.kernel_size must be odd, got {self.kernel_size}")
        if self.n_feat < self.reduction:
            raise ValueError(
                f"MPRNetConfig: n_feat {self.n_feat} leaves the channel attention no channel "
                f"with reduction {self.reduction}; choose a reduction of at most n_feat"
            )


# PyTorch's default for convolutions, kaiming_uniform(a=sqrt(5)): uniform +-1/sqrt(fan_in).
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def conv(x: jax.Array, features: int, kernel_size: int, name: str) -> jax.Array:
    """Bias-free convolution with zero padding; the caller must be inside a compact method."""
    size = (kernel_size, kernel_size)
    layer = nn.Conv(features, size, padding="SAME", use_bias=False, dtype=x.dtype, kernel_init=kernel_init, name=name)
    return layer(x)


def spatial_mean(x: jax.Array) -> jax.Array:
    """Mean over H and W: N H W C -> N 1 1 C.

    First along rows, then along columns: float32 sums of a thousand numbers keep digits that a sum of a million loses.
    """
    return jnp.mean(jnp.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)


def window_sum(x: jax.Array, size: int, axis: int) -> jax.Array:
    """Sums of `size` neighbours along an axis: n -> n - size + 1.

    Built from sums of 1, 2, 4, 8... neighbours: unlike differences of cumulative sums, these keep float32's precision
    for any image size, and a pixel's sum does not depend on where the image is cropped.
    """
    count = x.shape[axis] - size + 1
    take = lambda block, start, length: jax.lax.slice_in_dim(block, start, start + length, axis=axis)
    total, done, width, block = None, 0, 1, x  # block: sums of `width` neighbours
    while True:
        if size & width:
            piece = take(block, done, count)
            total = piece if total is None else total + piece
            done += width
        if done == size:
            return total
        length = block.shape[axis] - width
        block = take(block, 0, length) + take(block, width, length)
        width *= 2


def local_mean(x: jax.Array, window: int, image_size: tuple[int, int]) -> jax.Array:
    """TLC: the mean over a window around each pixel instead of the global mean (arXiv:2112.04491).

    `window` is the window's side in pixels of an image of `image_size`, and is scaled by the size of x relative to the
    image. Near a border the nearest complete window is used. If the window covers all of x, this is spatial_mean:
    N H W C -> N 1 1 C; otherwise N H W C.
    """
    size = x.shape[1:3]
    windows = [max(1, min(n, window * n // whole)) for n, whole in zip(size, image_size, strict=True)]
    if windows == list(size):
        return spatial_mean(x)
    mean = window_sum(x.astype(jnp.float32), windows[1], axis=2) / windows[1]
    mean = (window_sum(mean, windows[0], axis=1) / windows[0]).astype(x.dtype)
    missing = [n - m for n, m in zip(size, mean.shape[1:3], strict=True)]
    padding = [(0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)]
    return jnp.pad(mean, padding, mode="edge")


def downsample(x: jax.Array) -> jax.Array:
    """Bilinear x 0.5 with align_corners=False and no antialiasing: the mean of each 2 x 2."""
    return nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))


def upsample(x: jax.Array) -> jax.Array:
    """Bilinear x 2 with align_corners=False: N H W C -> N 2H 2W C.

    Sums of neighbours: jax.image.resize multiplies by a matrix, at a cost that grows with the image's side.
    """
    return _double(_double(x, axis=1), axis=2)


def _double(x: jax.Array, axis: int) -> jax.Array:
    """Replace each pixel by two, a quarter of a pixel to either side; border pixels are repeated."""
    size = x.shape[axis]
    part = lambda begin, end: jax.lax.slice_in_dim(x, begin, end, axis=axis)
    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


def split(x: jax.Array, axis: int) -> jax.Array:
    """Halves along a spatial axis (1 or 2), moved to the batch axis: N H W C -> 2N H/2 W C or 2N H W/2 C.

    The halves of one image stay adjacent, so splitting a batch that is sharded over devices needs no communication.
    """
    n, h, w, c = x.shape
    if axis == 1:
        return x.reshape(2 * n, h // 2, w, c)
    return x.reshape(n, h, 2, w // 2, c).swapaxes(1, 2).reshape(2 * n, h, w // 2, c)


def merge(x: jax.Array, axis: int) -> jax.Array:
    """Undo split: 2N H W C -> N 2H W C (axis 1) or N H 2W C (axis 2)."""
    n, h, w, c = x.shape
    if axis == 1:
        return x.reshape(n // 2, 2 * h, w, c)
    return x.reshape(n // 2, 2, h, w, c).swapaxes(1, 2).reshape(n // 2, h, 2 * w, c)


class CALayer(nn.Module):
    """Channel attention: scales each channel by a weight computed from the means of all channels."""

    cfg: MPRNetConfig
    mean: Mean

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N H W C
        channels = x.shape[-1]
        weight = conv(self.mean(x), channels // self.cfg.reduction, 1, name="squeeze")
        weight = conv(nn.relu(weight), channels, 1, name="excite")
        return x * nn.sigmoid(weight)


class Block(nn.Module):
    """Base of the blocks that contain channel attention: what all of them share in one network."""

    cfg: MPRNetConfig
    act: Callable  # PReLU; one module, so one slope for the whole network
    mean: Mean = spatial_mean  # of the channel attention

    @property
    def shared(self) -> tuple[MPRNetConfig, Callable, Mean]:
        """The fields above, for the blocks inside this one."""
        return self.cfg, self.act, self.mean


class CAB(Block):
    """Channel attention block: two convolutions and channel attention, plus the input (paper, fig. 3b)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N H W C
        channels, k = x.shape[-1], self.cfg.kernel_size
        residual = self.act(conv(x, channels, k, name="conv1"))
        residual = conv(residual, channels, k, name="conv2")
        return x + CALayer(self.cfg, self.mean, name="ca")(residual)


class CABs(Block):
    """A sequence of CABs."""

    count: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N H W C
        for i in range(self.count):
            x = CAB(*self.shared, name=f"cab{i}")(x)
        return x


class SAM(nn.Module):
    """Supervised attention module: features for the next stage, and this stage's image (paper, fig. 4)."""

    cfg: MPRNetConfig

    @nn.compact
    def __call__(self, x: jax.Array, degraded: jax.Array) -> tuple[jax.Array, jax.Array]:  # N H W C, N H W 3
        restored = degraded + conv(x, 3, 1, name="conv2")  # float32, as the image, for any dtype of x
        attention = nn.sigmoid(conv(restored.astype(x.dtype), self.cfg.n_feat, 1, name="conv3"))
        return x + attention * conv(x, self.cfg.n_feat, 1, name="conv1"), restored


class DownSample(nn.Module):
    """Halving the size, then a 1 x 1 convolution to `features` channels."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N H/2 W/2 features
        return conv(downsample(x), self.features, 1, name="conv")


class Doubling(nn.Module):
    """upsample() as a module, so that nn.intercept_methods can replace it."""

    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N 2H 2W C
        return upsample(x)


class Concatenation(nn.Module):
    """Concatenation of channels as a module, so that nn.intercept_methods can replace it."""

    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:  # N H W C, N H W D -> N H W C+D
        return jnp.concatenate([x, y], axis=-1)


class Pointwise(nn.Module):
    """The 1 x 1 convolution of an UpSample, to `features` channels."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N H W features
        return conv(x, self.features, 1, name="conv")


class UpSample(Pointwise):
    """Doubling the size and a 1 x 1 convolution to `features` channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C -> N 2H 2W features
        # The convolution comes first, on a quarter of the pixels. The two commute: one is linear over channels, the
        # other over pixels.
        return Doubling()(super().__call__(x))


class SkipUpSample(nn.Module):
    """UpSample plus a skip connection of its output's shape."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:  # N H W C, N 2H 2W features -> N 2H 2W features
        return skip + UpSample(self.features, name="up")(x)


class Encoder(Block):
    """First half of a U-Net: two CABs at each of three levels.

    With CSFF (cross-stage feature fusion, in stage 2) each level adds 1 x 1 convolutions of stage 1's encoder and
    decoder features before it is downsampled.
    """

    @nn.compact
    def __call__(self, x: jax.Array, csff: tuple[Pyramid, Pyramid] | None = None) -> Pyramid:
        c, s = self.cfg.n_feat, self.cfg.scale_unetfeats
        levels = []
        for i in range(3):
            if i > 0:
                x = DownSample(c + i * s, name=f"down{i}{i + 1}")(x)
            x = CABs(*self.shared, name=f"level{i + 1}")(x)
            if csff is not None:
                encoder, decoder = csff
                x = x + conv(encoder[i], c + i * s, 1, name=f"csff_enc{i + 1}")
                x = x + conv(decoder[i], c + i * s, 1, name=f"csff_dec{i + 1}")
            levels.append(x)
        return tuple(levels)


class Decoder(Block):
    """Second half of a U-Net; each skip connection passes through a CAB."""

    @nn.compact
    def __call__(self, encoder: Pyramid) -> Pyramid:
        c, s = self.cfg.n_feat, self.cfg.scale_unetfeats
        cab = lambda name: CAB(*self.shared, name=name)
        cabs = lambda name: CABs(*self.shared, name=name)
        level1, level2, level3 = encoder
        level3 = cabs("level3")(level3)
        level2 = cabs("level2")(SkipUpSample(c + s, name="up32")(level3, cab("skip_attn2")(level2)))
        level1 = cabs("level1")(SkipUpSample(c, name="up21")(level2, cab("skip_attn1")(level1)))
        return level1, level2, level3


class ORB(Block):
    """Original resolution block: CABs and a convolution, plus the input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # N H W C+o -> N H W C+o
        residual = CABs(*self.shared, count=self.cfg.num_cab, name="body")(x)
        return x + conv(residual, x.shape[-1], self.cfg.kernel_size, name="conv")


class ORSNet(Block):
    """Original resolution subnetwork: three ORBs without downsampling; after each, a level of stage 2's features."""

    orb: type[nn.Module] = ORB  # or nn.remat(ORB)

    @nn.compact
    def __call__(self, x: jax.Array, encoder: Pyramid, decoder: Pyramid) -> jax.Array:  # N H W C+o
        for i in range(3):
            x = self.orb(*self.shared, name=f"orb{i + 1}")(x)
            fused = self._fuse("enc", i, encoder[i], x.shape[-1]) + self._fuse("dec", i, decoder[i], x.shape[-1])
            for _ in range(i):
                fused = Doubling()(fused)
            x = x + fused
        return x

    def _fuse(self, side: str, i: int, level: jax.Array, features: int) -> jax.Array:
        """Convolutions of a level's features for the ORBs, at its own size: N H/2^i W/2^i C+is -> N H/2^i W/2^i C+o.

        In the paper each convolution follows an upsampling. They commute (see UpSample), so here all convolutions come
        first, and the sum of both sides is upsampled once: the same result with a fraction of the operations.
        """
        for j in range(i):
            step = self.cfg.n_feat + (i - 1 - j) * self.cfg.scale_unetfeats
            level = Pointwise(step, name=f"up_{side}{i}_{j}")(level)
        return conv(level, features, 1, name=f"conv_{side}{i + 1}")


class MPRNet(nn.Module):
    """The whole network: N H W 3 in about [0, 1] -> the restored images [stage 3, stage 2, stage 1], each N H W 3.

    Outputs are float32 and not clipped. With `stages` 1 or 2, later stages are neither computed nor returned.

    Raises ValueError if H or W is not a multiple of 8.
    """

    cfg: MPRNetConfig
    dtype: Any = jnp.float32  # of features: float32 or bfloat16; images and the sums that produce them are float32
    window: int | None = None  # side of TLC's windows, pixels; None: global means, as in training
    mean: Mean | None = None  # replaces both kinds of means
    split: Callable[[jax.Array, int], jax.Array] = split  # replaceable, for images whose middle lies elsewhere
    merge: Callable[[jax.Array, int], jax.Array] = merge
    remat: bool = False  # recompute the features of encoders, decoders and ORBs for the gradient, do not store them

    @nn.compact
    def __call__(self, image: jax.Array, stages: int = 3) -> list[jax.Array]:
        cfg, (_, h, w, c) = self.cfg, image.shape
        if c != 3 or h % SIZE_MULTIPLE or w % SIZE_MULTIPLE:
            raise ValueError(
                f"MPRNet needs images N H W 3 with height and width that are multiples of {SIZE_MULTIPLE}, "
                f"got {'x'.join(map(str, image.shape))}; "
                "pad the image first (mprnet_jax.restoring.padding.pad_to_multiple)"
            )
        image = image.astype(jnp.float32)
        # One slope for all CABs, as in the official model.
        act = nn.PReLU(negative_slope_init=0.25, name="act")
        part = nn.remat if self.remat else lambda module: module
        mean = self.mean or spatial_mean
        if self.mean is None and self.window is not None:
            mean = functools.partial(local_mean, window=self.window, image_size=(h, w))

        def shallow(x: jax.Array, stage: int) -> jax.Array:
            x = conv(x.astype(self.dtype), cfg.n_feat, cfg.kernel_size, name=f"shallow_feat{stage}_conv")
            return CAB(cfg, act, mean, name=f"shallow_feat{stage}_cab")(x)

        # Stage 1 encodes four patches and decodes a top and a bottom half. Channel attention must not average over
        # several patches, so patches are stacked along the batch axis.
        halves = self.split(image, axis=1)  # 2N H/2 W 3
        quarters = self.split(halves, axis=2)  # 4N H/2 W/2 3
        encoder1 = part(Encoder)(cfg, act, mean, name="stage1_encoder")(shallow(quarters, 1))
        encoder1 = tuple(self.merge(level, axis=2) for level in encoder1)
        decoder1 = part(Decoder)(cfg, act, mean, name="stage1_decoder")(encoder1)
        features1, restored1 = SAM(cfg, name="sam12")(decoder1[0], halves)
        outputs = [self.merge(restored1, axis=1)]
        if stages == 1:
            return outputs

        # Stage 2 encodes the halves and decodes the whole image.
        joined = Concatenation()(shallow(halves, 2), features1)
        joined = conv(joined, cfg.n_feat, cfg.kernel_size, name="concat12")
        encoder2 = part(Encoder)(cfg, act, mean, name="stage2_encoder")(joined, csff=(encoder1, decoder1))
        encoder2 = tuple(self.merge(level, axis=1) for level in encoder2)
        decoder2 = part(Decoder)(cfg, act, mean, name="stage2_decoder")(encoder2)
        features2, restored2 = SAM(cfg, name="sam23")(decoder2[0], image)
        outputs = [restored2, *outputs]
        if stages == 2:
            return outputs

        # Stage 3 works at the original resolution.
        joined = Concatenation()(shallow(image, 3), features2)
        joined = conv(joined, cfg.n_feat + cfg.scale_orsnetfeats, cfg.kernel_size, name="concat23")
        features3 = ORSNet(cfg, act, mean, part(ORB), name="stage3_orsnet")(joined, encoder2, decoder2)
        restored3 = image + conv(features3, 3, cfg.kernel_size, name="tail")
        return [restored3, *outputs]


PRESETS = {
    # As published: the sizes of the three official checkpoints.
    "deblurring": MPRNetConfig(n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32),
    "denoising": MPRNetConfig(n_feat=80, scale_unetfeats=48, scale_orsnetfeats=32),
    "deraining": MPRNetConfig(n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16),
    # A common size for retraining with little memory.
    "lite": MPRNetConfig(n_feat=40, scale_unetfeats=40, scale_orsnetfeats=32),
    # Of this project, for machines without a GPU: widths are multiples of a vector register's 16 float32.
    "light": MPRNetConfig(n_feat=16, scale_unetfeats=16, scale_orsnetfeats=16, num_cab=4),
}


def abstract_params(cfg: MPRNetConfig) -> Params:
    """Shapes and dtypes of the parameters (jax.ShapeDtypeStruct leaves), without computing anything."""
    return jax.tree.map(lambda leaf: leaf, _traced_params(cfg))  # a copy: the caller may change it


@functools.cache  # tracing takes a third of a second, and commands call this repeatedly
def _traced_params(cfg: MPRNetConfig) -> Params:
    image = jax.ShapeDtypeStruct((1, SIZE_MULTIPLE, SIZE_MULTIPLE, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # also if the process is set to strict
        return jax.eval_shape(MPRNet(cfg).init, key, image)["params"]


def init_params(cfg: MPRNetConfig, seed: int) -> Params:
    """Random parameters with the distribution of MPRNet.init (other numbers), float32 NumPy leaves.

    MPRNet.init compiles a program per shape, half a minute for the full network on a CPU; NumPy takes a second.
    """
    rng = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "negative_slope":
            return np.full(leaf.shape, 0.25, leaf.dtype)
        bound = 1 / np.sqrt(np.prod(leaf.shape[:-1]))  # kernels are H W in out: 1 / sqrt(fan_in)
        return rng.uniform(-bound, bound, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(cfg))


def count_parameters(params: Params) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
