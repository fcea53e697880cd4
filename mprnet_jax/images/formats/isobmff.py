"""AVIF and HEIC: files of boxes, as in MP4. AVIF through Pillow, deeper than 8 bits through imagecodecs; HEIC through
pillow-heif, the extra `heic`.

Source: ISO/IEC 23008-12 (HEIF), AV1 Image File Format 1.1.
"""

import dataclasses
import re
from typing import BinaryIO

import imagecodecs
import numpy as np

from mprnet_jax.images.formats import pillow
from mprnet_jax.images.formats.picture import Picture, Refusal, read_all
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

AVIF_BRANDS, HEIC_BRANDS = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AV1_SETTINGS = re.compile(rb"av1C\x81.(.)", re.DOTALL)  # third byte: bits for more than 8, and for 12, of a channel
HIGH_BITDEPTH, TWELVE_BIT = 0x40, 0x20


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    length = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[i : i + 4] for i in range(16, length - 3, 4))}


def is_avif(head: bytes) -> bool:
    """Whether a file that begins so is AVIF."""
    return not _brands(head).isdisjoint(AVIF_BRANDS)


def is_heic(head: bytes) -> bool:
    """Whether a file that begins so is HEIC, and not AVIF, which may call itself mif1 too."""
    return not is_avif(head) and not _brands(head).isdisjoint(HEIC_BRANDS)


def provide_heic() -> None:
    """Make Pillow know HEIC. Raises Refusal if the extra is not installed."""
    try:
        import_extra("pillow_heif", "pillow-heif", "heic").register_heif_opener()
    except UserError as error:
        raise Refusal(f"HEIC: {error}") from None


def decode_avif(file: BinaryIO, max_pixels: int) -> Picture:
    """A single picture, as uint16 if it has 10 or 12 bits a channel; gain maps are not read."""
    picture = pillow.decode(file, max_pixels)
    file.seek(0)
    data = read_all(file, max_pixels)
    settings = AV1_SETTINGS.search(data, 0, 1 << 16)
    if settings is None or not settings[1][0] & HIGH_BITDEPTH:
        return picture
    array = imagecodecs.avif_decode(data, numthreads=1)
    if array.dtype != np.uint16 or array.shape[:2] != picture.pixels.shape[:2]:
        raise Refusal("an AVIF of more than 8 bits that is turned or cropped cannot be read; export it as PNG")
    peak = (1 << (12 if settings[1][0] & TWELVE_BIT else 10)) - 1
    array = np.rint(array * (65535 / peak)).astype(np.uint16)
    if array.ndim == 2:
        array = array[..., None]
    pixels = np.repeat(array[..., :1], 3, axis=2) if array.shape[2] < 3 else np.ascontiguousarray(array[..., :3])
    alpha = np.ascontiguousarray(array[..., -1]) if array.shape[2] in (2, 4) else None
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)
