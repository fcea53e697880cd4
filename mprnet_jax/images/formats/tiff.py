"""TIFF through tifffile: every compression, layout and depth of grey, palette, RGB and CMYK that whole numbers hold.

Page: one picture of a TIFF, with a directory of tags. Source: TIFF 6.0.
"""

import io
import logging
from typing import BinaryIO

import numpy as np
import tifffile

from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.colours import SRGB, convert
from mprnet_jax.images.formats.picture import Picture, Refusal, check_size, from_stored, refuse_frames

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
XMP, ICC, KEPT = 700, 34675, (33723, 34377)  # kept as they are: IPTC, Photoshop's resources
COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}
SAMPLES = {1: "unsigned", 2: "signed", 3: "floating-point"}
SMALLER_COPY_OR_MASK = 1 | 4  # bits of a page's subfile type
ASSOCIATED_ALPHA, STRAIGHT_ALPHA = 1, 2  # associated: the colours are multiplied by it
INCH_AND_CM = (2, 3)

# tifffile logs what it meets in damaged files; the exceptions say all that is needed.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """The one page of a TIFF or BigTIFF. CMYK becomes sRGB; alpha that is multiplied into the colours is taken out."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength * page.imagedepth, max_pixels)
        refuse_frames(sum(not (int(other.subfiletype or 0) & SMALLER_COPY_OR_MASK) for other in tiff.pages))
        array = _pixels(page)
        wanted = exif.ABOUT | {XMP, ICC, *KEPT}
        tags = exif.read_directory(file, page.offset, tiff.byteorder, big=tiff.is_bigtiff, only=wanted)
        orientation = page.tags.valueof(exif.ORIENTATION, 1)
        has_dpi = page.tags.valueof("XResolution") and page.tags.valueof("ResolutionUnit", 2) in INCH_AND_CM
        dpi = page.get_resolution("INCH") if has_dpi else None
    about = {tag: value for tag, value in tags.items() if tag in exif.ABOUT}
    notes = {
        "icc": tags[ICC][2] if ICC in tags else None,
        "xmp": tags[XMP][2] if XMP in tags else None,
        "exif": exif.block_bytes(about, tiff.byteorder) if about else None,
        "dpi": dpi if dpi and min(dpi) > 0 else None,
        "extra": tuple((tag, tags[tag][2]) for tag in KEPT if tag in tags),
    }
    mode = {"MINISWHITE": "grey", "MINISBLACK": "grey", "SEPARATED": "cmyk"}.get(page.photometric.name, "rgb")
    if mode == "cmyk":
        array = convert(array, notes["icc"], SRGB, "CMYK", "RGB")
    return from_stored(array, mode, "TIFF", orientation, **notes)


def _pixels(page: tifffile.TiffPage) -> np.ndarray:
    """H W C of uint8 or uint16; CMYK stays so."""
    _refuse_odd(page)
    array = page.asarray()
    array = np.moveaxis(array, 0, 2) if page.axes == "SYX" else array.reshape(*array.shape[:2], -1)
    bits, photometric = page.bitspersample, page.photometric.name
    if photometric == "PALETTE":
        return (np.moveaxis(page.colormap, 0, 1)[array[..., 0]] >> 8).astype(np.uint8)
    if bits < 8:
        array = array.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if photometric == "MINISWHITE":
        array = np.concatenate((~array[..., :1], array[..., 1:]), axis=2)
    if page.extrasamples and int(page.extrasamples[0]) == ASSOCIATED_ALPHA:
        full = np.iinfo(array.dtype).max
        straight = array[..., :-1].astype(np.float64) * full / np.maximum(array[..., -1:], 1)
        array = np.concatenate((np.rint(straight.clip(0, full)).astype(array.dtype), array[..., -1:]), axis=2)
    return array


def _refuse_odd(page: tifffile.TiffPage) -> None:
    bits, photometric = page.bitspersample, getattr(page.photometric, "name", str(page.photometric))
    samples = SAMPLES.get(page.sampleformat, "unknown")
    deep_enough = (1, 2, 4, 8) if photometric in ("PALETTE", "SEPARATED") else (1, 2, 4, 8, 16)
    if photometric not in COLOURS or (photometric == "YCBCR" and page.compression.name not in ("JPEG", "OJPEG")):
        raise Refusal(f"{photometric} colours cannot be read; save it as RGB")
    if samples != "unsigned" or bits not in deep_enough:
        raise Refusal(f"{bits}-bit {samples} {photometric} cannot be read; save it as RGB or grey of 8 or 16 bits")
    extra = tuple(int(meaning) for meaning in page.extrasamples)
    known = extra == () or (extra in ((ASSOCIATED_ALPHA,), (STRAIGHT_ALPHA,)) and COLOURS[photometric] in (1, 3))
    if not known or page.samplesperpixel != COLOURS[photometric] + len(extra):
        channels = f"{page.samplesperpixel} channels, not {photometric} with at most one declared as alpha"
        raise Refusal(f"{channels}; save it as RGB or RGBA")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise Refusal(f"an array of axes {page.axes}; save it as a single flat picture")


def encode(
    array: np.ndarray, mode: str, like: Picture, icc: bytes | None, extra: tuple[tuple[int, bytes], ...]
) -> bytes:
    """H W C of uint8 or uint16, deflated, with the notes of `like`."""
    block = like.exif or exif.EMPTY
    tags = {tag: value for tag, value in exif.read_block(block).items() if tag in exif.ABOUT}
    for tag, note in ((ICC, icc), (XMP, like.xmp), *extra):
        if note:
            tags[tag] = (1 if tag == XMP else 7, len(note), note)  # bytes; bytes without a meaning to TIFF
    options = {"resolution": like.dpi, "resolutionunit": "INCH"} if like.dpi else {}
    if array.shape[2] > 1:
        options["planarconfig"] = "contig"
    if mode != "cmyk" and array.shape[2] in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array if array.shape[2] > 1 else array[..., 0],
        photometric={"grey": "minisblack", "rgb": "rgb", "cmyk": "separated"}[mode],
        compression="zlib",
        predictor=True,
        byteorder=exif.byte_order(block),  # that of the tags to be added
        bigtiff=False,
        metadata=None,
        software=False,
        **options,
    )
    return exif.add_to_tiff(file.getvalue(), tags)
