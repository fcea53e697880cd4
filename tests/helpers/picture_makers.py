"""Picture files for tests, made and taken apart without the code under test."""

import functools
import io
import struct
import zlib

import imagecodecs
import numpy as np
import png
from PIL import Image, ImageCms

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="%d"/>caf\xc3\xa9</x:xmpmeta>'
DPI = (300.0, 150.0)


def noise(seed, *shape, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def exif_block(orientation=1, order="<"):
    """EXIF with a camera, non-ASCII title, a maker note and a place; begins with II or MM."""
    tags = Image.Exif()
    tags.endian = order
    tags[271], tags[40091], tags[274] = "Camera Co", "Zoë\0".encode("utf-16le"), orientation
    tags._ifds[34665] = {33434: 0.008, 37500: b"\1\2maker note of odd lengt", 40965: {1: "R98"}}
    tags._ifds[34853] = {1: "N", 2: (52.0, 31.0, 12.5)}
    return tags.tobytes()[6:]


def exif_facts(path):
    """What Pillow reads in a file's EXIF."""
    with Image.open(path) as picture:
        tags = picture.getexif()
        detail, place = tags.get_ifd(34665), tags.get_ifd(34853)
        facts = (tags.get(271), tags.get(40091), float(detail.get(33434, 0)), detail.get(37500))
        return *facts, place.get(1), tuple(float(part) for part in place.get(2, ())), tags.get(274, 1)


def png_file(array, *chunks, bits=None, palette=None, interlace=False):
    """H W C (1 to 4) as PNG by pypng; the chunks go before the pixels."""
    height, width, channels = array.shape
    bits = bits or 8 * array.dtype.itemsize
    kind = {"palette": palette} if palette else {"greyscale": channels < 3, "alpha": channels in (2, 4)}
    file = io.BytesIO()
    png.Writer(width, height, bitdepth=bits, interlace=interlace, **kind).write(file, array.reshape(height, -1))
    return with_chunks(file.getvalue(), *chunks)


def with_chunks(data, *chunks):
    first, *others = png.Reader(bytes=data).chunks()
    file = io.BytesIO()
    png.write_chunks(file, [first, *chunks, *others])
    return file.getvalue()


def png_pixels(path):
    """H W C by pypng, as uint8 or uint16."""
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).asDirect()
    array = np.array([list(row) for row in rows]).reshape(height, width, info["planes"])
    return array.astype(np.uint16 if info["bitdepth"] == 16 else np.uint8)


def png_chunks(path):
    return list(png.Reader(bytes=path.read_bytes()).chunks())


def png_dict(path):
    return dict(png_chunks(path))


def pixels(path):
    """H W C of any lossless file by a decoder that the package does not use for it."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        return png_pixels(path)
    if data[:2] in (b"II", b"MM"):
        array = imagecodecs.tiff_decode(data)
    elif data.startswith(b"BM"):
        array = imagecodecs.bmp_decode(data)
        return array if array.ndim == 3 else array[..., None]
    elif data[:2] in (b"P5", b"P6"):
        kind, width, height, peak, values = _pnm(data)
        array = np.frombuffer(values, ">u2" if peak > 255 else "u1").reshape(height, width, 1 if kind == b"P5" else 3)
        return array.astype(np.uint16 if peak > 255 else np.uint8)
    else:
        array = imagecodecs.webp_decode(data)
    return array if array.ndim == 3 else array[..., None]


def _pnm(data):
    kind, size, peak, values = data.split(b"\n", 3)
    width, height = size.split()
    return kind, int(width), int(height), int(peak), values


def jpeg_segments(data):
    """Marker and contents of each segment before the pixels."""
    start, found = 2, []
    while data[start + 1] != 0xDA:
        length = int.from_bytes(data[start + 2 : start + 4], "big")
        found.append((data[start + 1], data[start + 4 : start + 2 + length]))
        start += 2 + length
    return found


@functools.cache  # a profile holds the second it was made in
def rgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@functools.cache
def grey_profile():
    return imagecodecs.cms_profile("gray", gamma=1.8)


def cmyk_profile():
    """An ICC profile of inks that differ from Pillow's formula: black is brown, and full cyan is darker."""
    cmyk = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), -1).reshape(-1, 4)
    paper = 1 - cmyk
    lightness = 100 * (0.3 * paper[:, 0] + 0.5 * paper[:, 1] + 0.2 * paper[:, 2]) * paper[:, 3] + 12 * cmyk[:, 3]
    a = 60 * (cmyk[:, 1] - cmyk[:, 0]) * paper[:, 3] + 10 * cmyk[:, 3]
    b = 60 * (cmyk[:, 2] - 0.5 * cmyk[:, 0]) * paper[:, 3] + 10 * cmyk[:, 3]
    to_lab = np.stack([lightness * 2.55, a + 128, b + 128], -1)
    axis = np.linspace(0, 1, 9)
    lab = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    a, b = lab[:, 1] * 255 - 128, lab[:, 2] * 255 - 128
    inks = np.stack([-a / 120 - b / 120, a / 60, b / 60, np.zeros_like(a)], -1).clip(0, 1)
    inks[:, 3] = (1 - lab[:, 0] * 1.2).clip(0, 1)
    tables = [_lut8(4, 3, 2, to_lab), _lut8(3, 4, 9, inks * 255)]
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    named = [(b"desc", text), (b"wtpt", white)]
    named += [(name, tables[0]) for name in (b"A2B0", b"A2B1")] + [(name, tables[1]) for name in (b"B2A0", b"B2A1")]
    start, index, body = 128 + 4 + 12 * len(named), struct.pack(">I", len(named)), b""
    for name, tag in named:
        tag = tag.ljust(-(-len(tag) // 4) * 4, b"\0")
        index += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + index + body


def _lut8(inputs, outputs, grid, table):
    head = b"mft1" + bytes(4) + bytes([inputs, outputs, grid, 0])
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    curve = bytes(range(256))
    return head + matrix + curve * inputs + np.rint(np.clip(table, 0, 255)).astype(np.uint8).tobytes() + curve * outputs


def iccp(profile):
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def itxt_xmp(xmp):
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp


def phys(dpi=DPI):
    return b"pHYs", struct.pack(">IIB", *(round(dots / 0.0254) for dots in dpi), 1)
