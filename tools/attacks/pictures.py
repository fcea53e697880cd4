"""Pictures of every format, damaged, and small ones that ask for much work or memory."""

import functools
import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from attacks.cases import Case, file_case, some
from attacks.mutations import damage

PIXELS_AT = 8 + 256
TAGS = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16), (279, 256)]


def tiff(tags: Sequence[tuple[int, int]], next_at: int, behind: bytes = b"") -> bytes:
    """A grey TIFF of 16 x 16 pixels; its first directory leads to `next_at`."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at)
    return b"II*\0" + struct.pack("<I", PIXELS_AT) + bytes(256) + directory + behind


def chain_of_pages(count: int) -> bytes:
    """A TIFF of so many directories."""
    start = PIXELS_AT + 2 + 12 * len(TAGS) + 4
    pages = (struct.pack("<HHHIII", 1, 254, 4, 1, 0, start + 18 * (i + 1)) for i in range(count - 1))
    return tiff(TAGS, start, b"".join(pages) + struct.pack("<HHHIII", 1, 254, 4, 1, 0, 0))


def jpeg(array: np.ndarray | None = None, **options: object) -> bytes:
    """A JPEG: black, of 16 x 16 pixels, unless H W C are given."""
    file = io.BytesIO()
    image = Image.fromarray(np.zeros((16, 16, 3), np.uint8) if array is None else array)
    image.save(file, "JPEG", **options)
    return file.getvalue()


def claiming(data: bytes, marker: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size."""
    start = data.index(marker) + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def many_scans() -> bytes:
    """A progressive JPEG that repeats its last scan 2000 times."""
    data = jpeg(progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 2000 + b"\xff\xd9"


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks and an end."""
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed) + bytes(4) + b"IEND\xaeB`\x82"


def png_claiming(side: int, pixels: bytes = bytes(99), *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says to be of side x side pixels, RGB in 8 bits; the chunks go before the pixels."""
    header = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return png_of(header, *chunks, (b"IDAT", zlib.compress(pixels)))


def slow_text(side: int = 4000, numbers: int = 4_000_000) -> bytes:
    """A picture in which each pixel is written out, and most are missing."""
    return b"P3 %d %d 255\n" % (side, side) + b"1 " * numbers


BUILT = {
    "TIFF, a circle of directories": lambda: tiff(TAGS, PIXELS_AT),
    "TIFF, 100,000 directories": lambda: chain_of_pages(100_000),
    "TIFF, 600,000 directories": lambda: chain_of_pages(600_000),
    "TIFF, 3,009 tags": lambda: tiff(TAGS + [(305, 1)] * 3000, 0),
    "TIFF, 60,000 tags": lambda: tiff(TAGS + [(305, 1)] * 60_000, 0),
    "TIFF, 65535 x 65535 pixels claimed": lambda: tiff([(256, 65535), (257, 65535), *TAGS[2:]], 0),
    "JPEG, 400 megapixels claimed": lambda: claiming(jpeg(), b"\xff\xc0", 20_000, 20_000),
    "JPEG, progressive, 400 megapixels claimed": lambda: claiming(jpeg(progressive=True), b"\xff\xc2", 20_000, 20_000),
    "JPEG, 2,000 scans": many_scans,
    "JPEG, 10,000 comments": lambda: jpeg()[:2] + b"\xff\xfe\0\x04ab" * 10_000 + jpeg()[2:],
    "PNG, 20,000 chunks": lambda: png_claiming(4, bytes(52), *[(b"tEXt", b"a\0")] * 20_000),
    "PNG, 400 megapixels claimed": lambda: png_claiming(20_000),
    "PNG, a bomb of 300 MB in a note": lambda: png_claiming(4, bytes(52), (b"zTXt", b"a\0\0" + _bomb())),
    "PNG, a bomb of 300 MB as its profile": lambda: png_claiming(4, bytes(52), (b"iCCP", b"a\0\0" + _bomb())),
    "PNG, a bomb of 300 MB as 4 x 4 pixels": lambda: png_claiming(4, bytes(300_000_000)),
    "PPM, text that ends early": slow_text,
    "PPM, 10^30 pixels claimed": lambda: b"P6 1%s 1%s 255\n" % (b"0" * 15, b"0" * 15),
    "PPM, a header without an end": lambda: b"P6 #" + b"x" * 20_000_000,
    "BMP, 65535 x 65535 pixels claimed": lambda: _replaced("BMP", 18, struct.pack("<ii", 65535, 65535)),
    "GIF, 65535 x 65535 pixels claimed": lambda: _replaced("GIF", 6, struct.pack("<HH", 65535, 65535)),
    "GIF, 300,000 frames": lambda: whole("GIF")[:-1] + _gif_frame() * 300_000 + b";",
    "WebP, 16384 x 16384 pixels claimed": lambda: _webp_claiming(),
}


def _bomb() -> bytes:
    return zlib.compress(bytes(300_000_000))


def _replaced(form: str, start: int, by: bytes) -> bytes:
    data = whole(form)
    return data[:start] + by + data[start + len(by) :]


def _gif_frame() -> bytes:
    data = whole("GIF")
    return data[data.index(b",\0\0\0\0") : -1]


def _webp_claiming() -> bytes:
    """The bits of a lossless picture's header, behind its signature: width - 1 and height - 1 in 14 bits each."""
    return _replaced("WebP", 21, struct.pack("<I", 16383 | 16383 << 14))


@functools.cache
def whole(form: str) -> bytes:
    """A picture of noise over a slope, 40 x 56, as a file of this format."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 200, 40 * 56 * 3).reshape(40, 56, 3)
    pixels = (slope + rng.integers(0, 50, slope.shape)).astype(np.uint8)
    file = io.BytesIO()
    if form == "TIFF":
        tifffile.imwrite(file, pixels.astype(np.uint16) * 257, photometric="rgb", compression="zlib", metadata=None)
    elif form == "PNG":
        return imagecodecs.png_encode(pixels.astype(np.uint16) * 257)
    elif form == "TIFF, 8 bits":
        exif = Image.Exif()
        exif[271], exif[274] = "Camera", 6
        Image.fromarray(pixels).save(file, "TIFF", exif=exif)
    else:
        Image.fromarray(pixels).save(file, *SAVED[form][:1], **SAVED[form][1])
    return file.getvalue()


SAVED = {  # by Pillow: its name of the format, and options
    "PNG, 8 bits": ("PNG", {}),
    "JPEG": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "WebP": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
    "GIF": ("GIF", {}),
    "AVIF": ("AVIF", {}),
}
FORMATS = ("PNG", "TIFF", "TIFF, 8 bits", *SAVED)


def cases(count: int, seed: int, made: object = None) -> Iterator[Case]:
    """So many pictures: the built ones, then damaged ones of every format in turn."""
    built = [file_case(name.split(",")[0], name, "picture", data) for name, data in BUILT.items()]
    chosen = some(built, count, seed)
    yield from chosen
    for number in range(count - len(chosen)):
        form = FORMATS[number % len(FORMATS)]
        rng = np.random.default_rng([seed, number])
        data = functools.partial(lambda form, rng: damage(whole(form), rng), form, rng)
        yield file_case(form.split(",")[0], f"{form}, damaged {number}", "picture", data)
