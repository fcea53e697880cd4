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
from mprnet_jax.images.formats.picture import Picture, Refusal, check_density, check_size, from_stored
from mprnet_jax.images.formats.tiff_directories import Directory, choose_page, find_mask, walk

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
XMP, ICC, KEPT = 700, 34675, (33723, 34377)  # kept as they are: IPTC, Photoshop's resources
COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}
SAMPLES = {1: "unsigned", 2: "signed", 3: "floating-point"}
# GeoTIFF: scale, tie points, transformation, keys; GDAL's notes and the value of no data.
PLACE_ON_EARTH = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
# None, LZW, JPEG, deflate (8 and 32946), PackBits, CCITT: their time goes with the size of the picture.
USUAL_COMPRESSIONS = {0, 1, 2, 3, 4, 5, 7, 8, 32773, 32946}
FEW_STRIPS = 50_000
NUMBER_SIZES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 16: 8, 17: 8}
ASSOCIATED_ALPHA, STRAIGHT_ALPHA = 1, 2  # associated: the colours are multiplied by it
INCH_AND_CM = (2, 3)

# tifffile logs what it meets in damaged files; the exceptions say all that is needed.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """The one full page of a TIFF or BigTIFF, with its mask as alpha.

    CMYK becomes sRGB; alpha that is multiplied into the colours is taken out.
    """
    pages = walk(file)
    chosen = choose_page(pages)
    check_size(chosen.width, chosen.height, max_pixels)
    mask = find_mask(pages, chosen)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _page(tiff, chosen)
        check_size(page.imagewidth, page.imagelength * page.imagedepth, max_pixels)
        check_density(page.imagewidth, page.imagelength, file)
        array = _pixels(page)
        if mask is not None:
            array = _with_mask(array, page, _page(tiff, mask))
        wanted = exif.ABOUT | {XMP, ICC, *KEPT, *PLACE_ON_EARTH}
        tags = exif.read_directory(file, page.offset, tiff.byteorder, big=tiff.is_bigtiff, only=wanted)
        orientation = page.tags.valueof(exif.ORIENTATION, 1)
        has_dpi = page.tags.valueof("XResolution") and page.tags.valueof("ResolutionUnit", 2) in INCH_AND_CM
        dpi = page.get_resolution("INCH") if has_dpi else None
    about = {tag: value for tag, value in tags.items() if tag in exif.ABOUT}
    extra = [((tag, 7), tags[tag][2]) for tag in KEPT if tag in tags]
    lost = ()
    placed = [tag for tag in PLACE_ON_EARTH if tag in tags]
    if placed and orientation == 1:
        extra += [((tag, tags[tag][0]), _little_endian(*tags[tag], tiff.byteorder)) for tag in placed]
    elif placed:
        lost = ("its place on Earth (GeoTIFF), which holds for the picture before it is turned upright",)
    notes = {
        "icc": tags[ICC][2] if ICC in tags else None,
        "xmp": tags[XMP][2] if XMP in tags else None,
        "exif": exif.block_bytes(about, tiff.byteorder) if about else None,
        "dpi": dpi if dpi and min(dpi) > 0 else None,
        "extra": tuple(extra),
        "lost": lost,
    }
    mode = {"MINISWHITE": "grey", "MINISBLACK": "grey", "SEPARATED": "cmyk"}.get(page.photometric.name, "rgb")
    if mode == "cmyk":
        array = convert(array, notes["icc"], SRGB, "CMYK", "RGB")
    return from_stored(array, mode, "TIFF", orientation, **notes)


def is_bounded(file: BinaryIO) -> bool:
    """Whether its pages have few strips or tiles, in a usual compression."""
    try:
        return all(page.compression in USUAL_COMPRESSIONS and page.strips <= FEW_STRIPS for page in walk(file))
    except Refusal:  # decode() will say it
        return True
    finally:
        file.seek(0)


def read_header(file: BinaryIO, directory: Directory) -> tuple[int, int]:
    """Bits of a channel and EXIF orientation of a page, by its tags alone."""
    with tifffile.TiffFile(file) as tiff:
        page = _page(tiff, directory)
        return page.bitspersample, page.tags.valueof(exif.ORIENTATION, 1)


def _page(tiff: tifffile.TiffFile, directory: Directory) -> tifffile.TiffPage:
    tiff.filehandle.seek(directory.offset)
    return tifffile.TiffPage(tiff, index=0)


def _with_mask(array: np.ndarray, page: tifffile.TiffPage, mask: tifffile.TiffPage) -> np.ndarray:
    if array.shape[2] not in (1, 3) or page.extrasamples or mask.bitspersample != 1:
        raise Refusal("a transparency mask beside alpha, of CMYK or of several bits; flatten it first")
    opaque = mask.asarray().reshape(array.shape[:2]).astype(array.dtype) * np.iinfo(array.dtype).max
    return np.concatenate((array, opaque[..., None]), axis=2)


def _little_endian(kind: int, _: int, value: bytes, order: str) -> bytes:
    """The bytes of a tag's value, or back; numbers of 2, 4 or 8 bytes are turned if `order` is the other one."""
    size = NUMBER_SIZES.get(kind, 1)
    return value if order == "<" else np.frombuffer(value, f"V{size}").view(f">u{size}").astype(f"<u{size}").tobytes()


def _pixels(page: tifffile.TiffPage) -> np.ndarray:
    """H W C of uint8 or uint16; CMYK stays so."""
    _refuse_odd(page)
    array = page.asarray()
    array = np.moveaxis(array, 0, 2) if page.axes == "SYX" else array.reshape(*array.shape[:2], -1)
    bits, photometric = page.bitspersample, page.photometric.name
    if photometric == "PALETTE":
        colours = np.moveaxis(page.colormap, 0, 1)
        if colours.max() > 255:  # old programs wrote 8 bits
            colours = colours >> 8
        array = np.concatenate((colours[array[..., 0]].astype(np.uint8), array[..., 1:].astype(np.uint8)), axis=2)
        if bits < 8:
            array[..., 3:] *= np.uint8(255 // (2**bits - 1))
    elif bits < 8:
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
    array: np.ndarray, mode: str, like: Picture, icc: bytes | None, extra: tuple[tuple[tuple[int, int], bytes], ...]
) -> bytes:
    """H W C of uint8 or uint16, deflated, with the notes of `like`."""
    block = like.exif or exif.EMPTY
    tags = {tag: value for tag, value in exif.read_block(block).items() if tag in exif.ABOUT}
    order = exif.byte_order(block)  # that of the tags to be added
    for (tag, kind), note in (((ICC, 7), icc), ((XMP, 1), like.xmp), *extra):  # 1: bytes, 7: without a meaning to TIFF
        if note:
            count = len(note) // exif.TYPE_SIZES[kind]
            tags[tag] = (kind, count, _little_endian(kind, count, note, order))
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
        byteorder=order,
        bigtiff=False,
        metadata=None,
        software=False,
        **options,
    )
    return exif.add_to_tiff(file.getvalue(), tags)
