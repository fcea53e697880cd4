"""The smallest network that has every part."""

from mprnet_jax.model import MPRNetConfig

# Reduction 1: at such widths a dead ReLU in the channel attention would look like a missing gradient.
TINY = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=4, num_cab=1, reduction=1)
