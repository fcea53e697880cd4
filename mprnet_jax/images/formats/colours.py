"""Grey, RGB and CMYK through their ICC profiles, with LittleCMS (in Pillow). 8 bits a channel."""

import io

import numpy as np
from PIL import Image, ImageCms

from mprnet_jax.images.formats.picture import Refusal

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def space(icc: bytes | None) -> bytes:
    """The kind of colours that a profile is for: b"RGB ", b"CMYK", b"GRAY"..."""
    return icc[16:20] if icc else b""


def to_pillow(array: np.ndarray, mode: str | None = None) -> Image.Image:
    """H W C uint8; the mode is grey or RGB, without or with alpha, unless it is given."""
    height, width, channels = array.shape
    mode = mode or {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    return Image.frombytes(mode, (width, height), array.tobytes())


def convert(array: np.ndarray, source: bytes | None, target: bytes | None, mode: str, target_mode: str) -> np.ndarray:
    """From one profile to another, H W C uint8; CMYK that has no profile of CMYK goes by Pillow's plain formula."""
    image = to_pillow(array, mode)
    if "CMYK" in (mode, target_mode) and b"CMYK" not in (space(source), space(target)):
        return np.asarray(image.convert(target_mode))
    try:
        profiles = [ImageCms.ImageCmsProfile(io.BytesIO(icc)) for icc in (source, target)]
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return np.asarray(ImageCms.profileToProfile(image, *profiles, intent, target_mode))
    except (ImageCms.PyCMSError, OSError) as error:
        raise Refusal(f"its colour profile cannot be used ({error}); convert it to sRGB first") from error
