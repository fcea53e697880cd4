"""What a picture file says about itself before anything is decoded: cheap enough for tens of thousands of files."""

import dataclasses
import struct
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from mprnet_jax.images.formats import pillow, png
from mprnet_jax.images.formats.picture import MAX_PIXELS, Refusal, check_size
from mprnet_jax.support.errors import UserError

PNG_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}  # colour type of the IHDR chunk
PILLOW_KINDS = {
    "1": ("grey", 1),
    "L": ("grey", 8),
    "LA": ("grey with alpha", 8),
    "P": ("palette", 8),
    "RGB": ("RGB", 8),
    "RGBA": ("RGBA", 8),
    "CMYK": ("CMYK", 8),
    "I;16": ("grey", 16),
    "I;16B": ("grey", 16),
    "F": ("float", 32),
}
EXIF_ORIENTATION = 0x0112
LYING = (5, 6, 7, 8)  # orientations that exchange width and height


@dataclasses.dataclass(frozen=True)
class Header:
    """Size as the picture is seen, that is, turned upright."""

    height: int  # pixels
    width: int
    kind: str  # RGB, grey, palette ...
    bits: int  # of a channel

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def mode(self) -> str:
        return self.kind if self.bits <= 8 else f"{self.kind} of {self.bits} bits"


def read_header(file: BinaryIO) -> Header:
    """Header of an open picture file. Raises whatever Pillow or struct raise on what is not one."""
    head = file.read(33)
    file.seek(0)
    if head.startswith(png.SIGNATURE):  # by hand, because Pillow hides 16 bits
        width, height, bits, colour = struct.unpack_from(">IIBB", head, 16)
        return Header(height, width, PNG_KINDS[colour], bits)
    with pillow.own_limit(), Image.open(file) as picture:
        width, height = picture.size
        check_size(width, height, MAX_PIXELS)
        kind, bits = PILLOW_KINDS.get(picture.mode, (picture.mode, 8))
        if picture.format == "TIFF":
            bits = max(_tiff_bits(picture.tag_v2))
        if picture.getexif().get(EXIF_ORIENTATION) in LYING:
            width, height = height, width
    return Header(height, width, kind, bits)


def _tiff_bits(tags: Any) -> tuple[int, ...]:
    bits = tags.get(258, (1,))  # BitsPerSample
    return bits if isinstance(bits, tuple) else (bits,)


def header_of(path: Path) -> Header:
    """Header of a file (a path, or one in a zip archive). Raises UserError that names it if it is no picture."""
    try:
        with path.open("rb") as file:
            return read_header(file)
    except Refusal as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        reason = error.strerror if error.errno is not None else "not a picture"
        raise UserError(f"{path}: cannot be read ({reason}); export or download it again") from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise UserError(f"{path}: cannot be read (damaged header: {error}); export or download it again") from None
