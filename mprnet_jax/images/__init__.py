"""Picture and video files read and written with nothing lost.

From outside: `from mprnet_jax import images`, then images.read, images.find, images.to_float and so on.
"""

from mprnet_jax.images.files import check_savable, open_picture, read, save_picture, write
from mprnet_jax.images.find import FORMATS, RAW, SUFFIXES, find, result_suffix, to_restore
from mprnet_jax.images.formats.picture import Picture
from mprnet_jax.images.from_pil import from_pil, to_pil
from mprnet_jax.images.pixels import to_float, to_uint8, to_uint16

__all__ = [
    "FORMATS",
    "RAW",
    "SUFFIXES",
    "Picture",
    "check_savable",
    "find",
    "from_pil",
    "open_picture",
    "read",
    "result_suffix",
    "save_picture",
    "to_float",
    "to_pil",
    "to_restore",
    "to_uint8",
    "to_uint16",
    "write",
]
