"""The directories of a TIFF file, walked within limits before a decoder follows them.

They are linked in a chain, and tags may point to further ones (SubIFDs): a small file can make a chain that is a
circle, hundreds of thousands of directories, or thousands of tags that share one long value. Source: TIFF 6.0 and its
supplement 1.
"""

import struct
from typing import BinaryIO, NamedTuple

from mprnet_jax.images.formats.exif import TYPE_SIZES
from mprnet_jax.images.formats.picture import MAX_FRAMES, Refusal

MAX_TAGS = 512  # of a directory; raw photos have about 100
MAX_SUBDIRECTORIES = 100
MAX_SHARED_VALUES = 4  # times the bytes of the file that the values of a directory's tags may take together
SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SUBDIRECTORIES = 254, 256, 257, 259, 262, 330
WANTED = {SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SUBDIRECTORIES}
STRIP_OFFSETS, TILE_OFFSETS = 273, 324
SMALLER_COPY, MASK = 1, 4  # bits of the subfile type


class Directory(NamedTuple):
    """What one page says about itself; 0 for what it does not say."""

    offset: int
    kind: int  # the subfile type
    width: int
    height: int
    photometric: int
    compression: int
    strips: int  # or tiles
    subdirectories: tuple[int, ...]

    @property
    def is_mask(self) -> bool:
        """Whether it is a transparency mask of another image."""
        return bool(self.kind & MASK) or self.photometric == 4

    @property
    def is_smaller_copy(self) -> bool:
        """Whether it is a reduced version of another image, as thumbnails are."""
        return bool(self.kind & SMALLER_COPY)


def walk(file: BinaryIO) -> list[Directory]:
    """Every directory of the chain, then those that smaller copies point to.

    Raises Refusal beyond the limits, and for a file that ends within one.
    """
    try:
        return _walk(file)
    except struct.error:
        raise Refusal("not a whole picture (it ends within its list of tags); export or download it again") from None


def _walk(file: BinaryIO) -> list[Directory]:
    head = file.read(16)
    order = ">" if head.startswith(b"MM") else "<"
    big = head[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    size = file.seek(0, 2)
    seen: set[int] = set()
    chain: list[Directory] = []
    while start:
        if len(chain) == MAX_FRAMES:
            raise Refusal(f"more than {MAX_FRAMES} pages, and only single pictures can be restored; split it first")
        directory, start = _read(file, start, order, big, size, seen)
        chain.append(directory)
    below: list[Directory] = []
    for directory in chain:
        if directory.is_smaller_copy:
            for offset in directory.subdirectories:
                if len(below) == MAX_SUBDIRECTORIES:
                    raise Refusal(f"more than {MAX_SUBDIRECTORIES} pictures inside; export it as a single one")
                below.append(_read(file, offset, order, big, size, seen)[0])
    return chain + below


def _read(file: BinaryIO, start: int, order: str, big: bool, size: int, seen: set[int]) -> tuple[Directory, int]:
    """The directory at `start`, and where the next of its chain is, 0 for none."""
    if start in seen:
        raise Refusal("its chain of pages is a circle, which is damage; export it again")
    seen.add(start)
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    number = struct.Struct(order + ("Q" if big else "I"))
    count = struct.Struct(order + ("Q" if big else "H"))
    file.seek(start)
    (tags,) = count.unpack(file.read(count.size))
    if tags > MAX_TAGS:
        raise Refusal(f"{tags} tags on a page, more than {MAX_TAGS}: damaged, or unsafe; export it again")
    entries = file.read(tags * entry.size)
    link = file.read(number.size)
    values: dict[int, tuple[int, ...]] = {}
    total = strips = 0
    for tag, kind, length, stored in entry.iter_unpack(entries):
        nbytes = TYPE_SIZES.get(kind, 0) * length
        if nbytes <= size:  # a longer one is damage, which the decoder passes over
            total += nbytes
        if tag in (STRIP_OFFSETS, TILE_OFFSETS):
            strips = max(strips, length)
        if tag in WANTED and 0 < length <= MAX_SUBDIRECTORIES:
            values.setdefault(tag, _numbers(file, kind, length, nbytes, stored, order, number))
    if total > MAX_SHARED_VALUES * size + (1 << 16):
        raise Refusal("tags that take more bytes than the file has: damaged, or unsafe; export it again")
    one = lambda tag: (values.get(tag) or (0,))[0]
    subdirectories = tuple(offset for offset in values.get(SUBDIRECTORIES, ()) if offset)
    facts = [one(tag) for tag in (SUBFILE_TYPE, WIDTH, HEIGHT, PHOTOMETRIC, COMPRESSION)]
    found = Directory(start, *facts, strips, subdirectories)
    return found, number.unpack(link)[0] if len(link) == number.size else 0


def _numbers(
    file: BinaryIO, kind: int, length: int, nbytes: int, stored: bytes, order: str, number: struct.Struct
) -> tuple[int, ...]:
    form = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
    if form is None:
        return ()
    if nbytes > len(stored):
        file.seek(number.unpack(stored)[0])
        stored = file.read(nbytes)
    return struct.unpack(f"{order}{length}{form}", stored[:nbytes]) if len(stored) >= nbytes else ()


def choose_page(pages: list[Directory]) -> Directory:
    """The full picture among smaller copies of it, which a DNG has first. Raises Refusal if there are several."""
    full = [page for page in pages if not page.is_smaller_copy and not page.is_mask]
    if len(full) > 1:
        raise Refusal(f"{len(full)} frames or pages, and only single pictures can be restored; split it first")
    if full or pages:
        return (full or pages)[0]
    raise Refusal("not a whole picture (a TIFF without pages); export or download it again")


def find_mask(pages: list[Directory], page: Directory) -> Directory | None:
    """The page that says which pixels of `page` are opaque, if there is one of its size."""
    masks = [each for each in pages if each.is_mask and not each.is_smaller_copy and each is not page]
    if not masks:
        return None
    if len(masks) > 1 or (masks[0].width, masks[0].height) != (page.width, page.height):
        raise Refusal("a transparency mask of another size or several of them; flatten it first")
    return masks[0]
