"""The blocks of a GIF, looked at before Pillow reads them: it takes time in the square of a comment's length."""

import os
from typing import BinaryIO

from mprnet_jax.images.formats.picture import Refusal

SIGNATURE = b"GIF8"
MOST_NOTES = 1_000_000  # bytes of comments and other extensions; an XMP packet has a few thousand
EXTENSION, IMAGE = b"!", b","


def check_blocks(file: BinaryIO) -> None:
    """Raise Refusal for a GIF with more notes than any program writes; other files are left to their readers.

    The file's position is left at its beginning.
    """
    file.seek(0)
    head = file.read(13)
    if head.startswith(SIGNATURE) and len(head) == 13:
        _skip_colours(file, head[10])
        notes = 0
        while (kind := file.read(1)) in (EXTENSION, IMAGE):
            if kind == EXTENSION:
                file.seek(1, os.SEEK_CUR)  # its label
                notes += _skip_blocks(file)
                if notes > MOST_NOTES:
                    raise Refusal(
                        f"a GIF with over {MOST_NOTES:,} bytes of notes: damaged, or unsafe; export it as PNG"
                    )
            else:
                description = file.read(9)
                _skip_colours(file, description[8] if len(description) == 9 else 0)
                file.seek(1, os.SEEK_CUR)  # code size
                _skip_blocks(file)
    file.seek(0)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), os.SEEK_CUR)


def _skip_blocks(file: BinaryIO) -> int:
    """Skip blocks of up to 255 bytes until an empty one; how many bytes they hold."""
    total = 0
    while (size := file.read(1)) not in (b"", b"\0"):
        total += size[0]
        file.seek(size[0], os.SEEK_CUR)
    return total
