"""From a camera's raw file to a picture: white balance of the camera, its matrix, sRGB's curve, and nothing else.

LibRaw does it (rawpy). No brightening and no tone curve beside sRGB's: what the network takes out is noise, and what a
photographer does to light and colour comes after it.
"""

from typing import BinaryIO

from mprnet_jax.images.formats import exif
from mprnet_jax.images.formats.camera_raw.metadata import read_exif
from mprnet_jax.images.formats.picture import Picture, Refusal, check_density, check_size, from_stored
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

FORMAT = "RAW"  # of the Picture
SRGB_CURVE = (2.4, 12.92)  # power, slope at black
LYING = 4  # bit of LibRaw's flip: width and height are exchanged
DNG_VERSION = 50706


def decode(file: BinaryIO, max_pixels: int) -> Picture:
    """The developed picture, upright: H W 3 of uint16, sRGB.

    Raises Refusal without rawpy, for a file that LibRaw cannot read, and for too many pixels before they are decoded.
    """
    rawpy, raw = _open(file, max_pixels)
    with raw:
        # LibRaw takes the brightest pixel for white where it is near the white of its table, which for many cameras
        # is higher than what the sensor gives. A DNG says its own white.
        white = {"adjust_maximum_thr": 0.0} if _is_dng(file) else {}
        try:
            array = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=SRGB_CURVE,
                **white,
            )
        except rawpy.LibRawError as error:
            raise _not_read(error) from error
    block = read_exif(file)
    notes = {"exif": block} if block else {}
    mode = "grey" if array.ndim == 2 or array.shape[2] == 1 else "rgb"
    return from_stored(array, mode, FORMAT, orientation=1, **notes)


def read_size(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Height and width of the upright picture, by the header alone. Raises Refusal."""
    _, raw = _open(file, max_pixels)
    with raw:
        height, width = raw.sizes.iheight, raw.sizes.iwidth
        return (width, height) if raw.sizes.flip & LYING else (height, width)


def _open(file: BinaryIO, max_pixels: int) -> tuple:
    """rawpy, and the file with its header read and nothing decoded."""
    try:
        rawpy = import_extra("rawpy", "rawpy", "raw")
    except UserError as error:
        raise Refusal(f"camera raw: {error}") from None
    raw = rawpy.RawPy()
    file.seek(0)
    try:
        raw.open_buffer(file)
        sizes = raw.sizes
        check_size(sizes.raw_width, sizes.raw_height, max_pixels)
        check_size(sizes.iwidth, sizes.iheight, max_pixels)
        check_density(sizes.raw_width, sizes.raw_height, file)
    except rawpy.LibRawError as error:
        raw.close()
        raise _not_read(error) from error
    except BaseException:
        raw.close()
        raise
    return rawpy, raw


def _not_read(error: Exception) -> Refusal:
    reason = error.args[0] if error.args else error
    text = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
    return Refusal(
        f"camera raw that cannot be developed (LibRaw: {text}); copy it from the camera again, or convert it to DNG"
    )


def _is_dng(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(8)
    order = exif.byte_order(head)
    if not head.startswith((b"II*\0", b"MM\0*")):
        return False
    start = int.from_bytes(head[4:], "little" if order == "<" else "big")
    return DNG_VERSION in exif.read_directory(file, start, order, only=frozenset({DNG_VERSION}))
