"""The header of a JPEG XL codestream, read bit by bit: size, depth, channels, colours, whether it is animated.

imagecodecs gives pixels alone, and these decide how they are to be taken. Source: ISO/IEC 18181-1, annex D.
"""

from fractions import Fraction
from typing import NamedTuple

from mprnet_jax.images.formats.picture import Refusal

CODESTREAM = b"\xff\x0a"
RATIOS = (None, *(Fraction(*ratio) for ratio in ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))))
SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))  # offset, and bits that are added to it
ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
GREY, SRGB, D65 = 1, 1, 1
SRGB_CURVE = 13
ALPHA = 0  # of the kinds of extra channels
MOST_CHANNELS = 16


class Header(NamedTuple):
    """As the picture is stored, before it is turned."""

    width: int  # pixels
    height: int
    orientation: int  # as in EXIF
    bits: int
    is_float: bool
    is_animated: bool
    is_grey: bool
    is_srgb: bool  # or its grey
    alphas: int
    others: int  # extra channels that are no alpha
    is_associated: bool  # the colours are multiplied by alpha
    curve_at: int | None  # bit of the codestream where the number of the curve stands, less 2, in 4 bits


class _Bits:
    """Numbers from bytes, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left, self.taken = int.from_bytes(data, "little"), 8 * len(data), 0

    def take(self, count: int) -> int:
        if count > self.left:
            raise Refusal("not a whole picture (its header ends too early); export or download it again")
        taken = self.value & ((1 << count) - 1)
        self.value, self.left, self.taken = self.value >> count, self.left - count, self.taken + count
        return taken

    def choice(self, options: tuple[tuple[int, int], ...]) -> int:
        offset, bits = options[self.take(2)]
        return offset + self.take(bits)


def read(codestream: bytes) -> Header:
    """The header at the begin of a codestream; some 1000 bytes suffice. Raises Refusal if it ends early."""
    bits = _Bits(codestream[len(CODESTREAM) : 4096])
    width, height = _size(bits)
    orientation, animated = 1, False
    if bits.take(1):  # all as usual
        return Header(width, height, 1, 8, False, False, False, True, 0, 0, False, None)
    if bits.take(1):
        orientation = 1 + bits.take(3)
        if bits.take(1):
            _size(bits)  # at which it is meant to be shown
        if bits.take(1):
            raise Refusal("a JPEG XL with a preview inside cannot be read; export it as PNG")
        animated = bool(bits.take(1))
        if animated:
            for options in (((100, 0), (1000, 0), (1, 10), (1, 30)), ((1, 0), (1001, 0), (1, 8), (1, 10))):
                bits.choice(options)  # the clock
            bits.choice(((0, 0), (0, 3), (0, 16), (0, 32)))
            bits.take(1)
    depth, is_float = _depth(bits)
    bits.take(1)  # whether 16-bit buffers suffice
    channels = bits.choice(((0, 0), (1, 0), (2, 4), (1, 12)))
    if channels > MOST_CHANNELS:
        raise Refusal(f"a JPEG XL of {channels} extra channels cannot be read; export it as PNG")
    kinds = [_extra_channel(bits) for _ in range(channels)]
    bits.take(1)  # whether it is stored as XYB
    grey, srgb, curve_at = _colours(bits)
    alphas = [associated for kind, associated in kinds if kind == ALPHA]
    others = len(kinds) - len(alphas)
    associated = any(alphas)
    return Header(
        width, height, orientation, depth, is_float, animated, grey, srgb, len(alphas), others, associated, curve_at
    )


def with_srgb_curve(codestream: bytes) -> bytes:
    """The same pixels, said to have the curve of sRGB. imagecodecs says of deep ones that they are linear."""
    found = read(codestream)
    if found.is_srgb or found.curve_at is None:
        return codestream
    number = int.from_bytes(codestream[:64], "little")
    number &= ~(0b1111 << found.curve_at)
    number |= (SRGB_CURVE - ENUM[2][0]) << found.curve_at
    return number.to_bytes(len(codestream[:64]), "little") + codestream[64:]


def _size(bits: _Bits) -> tuple[int, int]:
    side = (lambda: 8 * (1 + bits.take(5))) if bits.take(1) else (lambda: bits.choice(SIDES))
    height = side()
    ratio = RATIOS[bits.take(3)]
    return (side() if ratio is None else int(height * ratio)), height


def _depth(bits: _Bits) -> tuple[int, bool]:
    if bits.take(1):
        depth = bits.choice(((32, 0), (16, 0), (24, 0), (1, 6)))
        bits.take(4)  # of the exponent
        return depth, True
    return bits.choice(((8, 0), (10, 0), (12, 0), (1, 6))), False


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Kind, and whether it is alpha that the colours are multiplied by."""
    if bits.take(1):
        return ALPHA, False
    kind = bits.choice(ENUM)
    _depth(bits)
    bits.choice(((0, 0), (3, 0), (4, 0), (1, 3)))  # how much smaller it is
    bits.take(8 * bits.choice(((0, 0), (0, 4), (16, 5), (48, 10))))  # its name
    associated = bool(bits.take(1)) if kind == ALPHA else False
    if kind == 2:  # a spot colour
        bits.take(64)
    elif kind == 5:  # part of a sensor's mosaic
        bits.choice(((1, 0), (0, 2), (3, 4), (19, 8)))
    return kind, associated


def _colours(bits: _Bits) -> tuple[bool, bool, int | None]:
    """Whether they are grey, whether they are those of sRGB, and where the curve stands if all else is."""
    if bits.take(1):
        return False, True, None
    by_profile, space = bits.take(1), bits.choice(ENUM)
    grey = space == GREY
    if by_profile or space > GREY or bits.choice(ENUM) != D65:
        return grey, False, None
    if (not grey and bits.choice(ENUM) != SRGB) or bits.take(1):
        return grey, False, None
    place = 8 * len(CODESTREAM) + bits.taken + 2  # behind the choice of the number's length
    curve = bits.choice(ENUM)
    return grey, curve == SRGB_CURVE, place if ENUM[2][0] <= curve < ENUM[3][0] else None
