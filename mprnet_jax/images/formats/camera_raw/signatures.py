"""Which files are camera raw, by their contents: most are TIFF files whose picture is the sensor's mosaic.

Sources: DNG 1.7; TIFF/EP; LibRaw's list of cameras.
"""

from pathlib import Path
from typing import BinaryIO

from mprnet_jax.images.formats import tiff_directories
from mprnet_jax.images.formats.picture import Refusal

SUFFIXES = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".ori", ".rw2", ".rwl"),
    *(".pef", ".srw", ".3fr", ".fff", ".iiq", ".mos", ".mef", ".erf", ".dcr", ".kdc", ".mrw", ".x3f", ".gpr"),
)
DNG = ".dng"
TIFF = (b"II*\0", b"MM\0*")
TIFF_OF_MAKERS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Olympus, Panasonic: directories as TIFF has them
BEGINNINGS = (*TIFF_OF_MAKERS, b"FUJIFILMCCD-RAW", b"II\x1a\0\0\0HEAPCCDR", b"FOVb", b"\0MRM")
CANON_CR2, CANON_CR3 = b"CR\2", b"ftypcrx "  # from bytes 8 and 4 on
MOSAIC, LINEAR = 32803, 34892  # photometric interpretations: colour filter array, linear raw


def is_raw(file: BinaryIO) -> bool:
    """Whether an open file is camera raw; the file stays at its begin.

    Makers hide the mosaic of some TIFF files in tags of their own: of a TIFF file the ending of its name counts, too,
    but for DNG, which always says what it holds.
    """
    head = file.read(16)
    file.seek(0)
    if head.startswith(BEGINNINGS) or head[4:12] == CANON_CR3:
        return True
    if not head.startswith(TIFF):
        return False
    name = getattr(file, "name", "")
    ending = Path(name).suffix.lower() if isinstance(name, str) else ""
    if head[8:11] == CANON_CR2 or (ending in SUFFIXES and ending != DNG):
        return True
    try:
        return any(page.photometric in (MOSAIC, LINEAR) for page in tiff_directories.walk(file))
    except Refusal:  # the reader of TIFF will say it
        return False
    finally:
        file.seek(0)
