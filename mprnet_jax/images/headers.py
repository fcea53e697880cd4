"""What a picture file says about itself before anything is decoded: cheap enough for tens of thousands of files."""

import dataclasses
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from mprnet_jax.images import reading_process
from mprnet_jax.images.formats import exif, gif, isobmff, pillow, png, tiff, tiff_directories
from mprnet_jax.images.formats.camera_raw import signatures
from mprnet_jax.images.formats.jpeg_xl import codec as jpeg_xl
from mprnet_jax.images.formats.picture import MAX_PIXELS, Refusal, check_size, refuse_frames
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
    "I": ("grey", 16),
}
TIFF_KINDS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK"}  # by photometric interpretation
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
        """Width x height, for people."""
        return f"{self.width}x{self.height}"

    @property
    def mode(self) -> str:
        """Colours and depth, for people: "RGB, 8 bits"."""
        return self.kind if self.bits <= 8 else f"{self.kind} of {self.bits} bits"


def read_header(file: BinaryIO) -> Header:
    """Header of an open picture file that is not camera raw.

    Raises Refusal, or whatever Pillow or struct raise on what is no picture.
    """
    head = file.read(64)
    file.seek(0)
    if head.startswith(png.SIGNATURE):  # by hand, because Pillow hides 16 bits
        found = png.read_header(file, MAX_PIXELS)
        orientation, frames = png.orientation_and_frames(file)
        refuse_frames(frames)
        return _upright(found.width, found.height, PNG_KINDS[found.colour], found.bits, orientation)
    if head.startswith(tiff.SIGNATURES):
        pages = tiff_directories.walk(file)
        page = tiff_directories.choose_page(pages)
        check_size(page.width, page.height, MAX_PIXELS)
        file.seek(0)
        bits, orientation = tiff.read_header(file, page)
        has_mask = tiff_directories.find_mask(pages, page) is not None
        kind = TIFF_KINDS.get(page.photometric, "RGB") + (" with a mask" if has_mask else "")
        return _upright(page.width, page.height, kind, bits, orientation)
    if jpeg_xl.is_jpeg_xl(head):
        found = jpeg_xl.read_header(file, MAX_PIXELS)
        kind = {(True, 0): "grey", (True, 1): "grey with alpha", (False, 0): "RGB"}.get(
            (found.is_grey, found.alphas), "RGBA"
        )
        return _upright(found.width, found.height, kind, found.bits, found.orientation)
    if isobmff.is_heic(head):
        isobmff.provide_heic()
    gif.check_blocks(file)
    with pillow.quiet_opening(), Image.open(file, formats=pillow.readable()) as picture:
        check_size(*picture.size, MAX_PIXELS)
        pillow.refuse_several(picture)
        kind, bits = PILLOW_KINDS.get(picture.mode, (picture.mode, 8))
        orientation = exif.orientation_of(pillow.EXIF_PREFIX.sub(b"", picture.info.get("exif") or b""))
        if picture.format in pillow.TURNED:
            orientation = 1
        return _upright(*picture.size, kind, bits, orientation)


def _upright(width: int, height: int, kind: str, bits: int, orientation: int) -> Header:
    if orientation in LYING:
        width, height = height, width
    return Header(height, width, kind, bits)


def header_of(path: Path) -> Header:
    """Header of a file (a path, or one in a zip archive). Raises UserError that names it if it is no picture."""
    try:
        with path.open("rb") as file:
            if not signatures.is_raw(file):
                return read_header(file)
        if not isinstance(path, Path):
            raise Refusal("camera raw in an archive; unpack it first")
        height, width = reading_process.raw_size(path, MAX_PIXELS)
        return Header(height, width, "camera raw", 16)
    except Refusal as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the disk or the link") from None
        raise UserError(f"{path}: cannot be read (not a picture); export or download it again") from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise UserError(f"{path}: cannot be read (damaged header: {error}); export or download it again") from None
