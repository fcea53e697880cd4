"""What the colours of a PNG mean without a profile (gAMA, cHRM, cICP), as an ICC profile for formats that have no such
chunks.

Sources: PNG specification, third edition; ICC.1:2001-04 for the profile; ITU-T H.273 for the numbers of cICP.
"""

import struct

import numpy as np

from mprnet_jax.images.formats.picture import Refusal

SRGB_GAMMA = 45455  # 1/2.2 in units of 1/100000
# Chromaticities (x, y) of red, green, blue and white by cICP's number; 1 is that of sRGB.
D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
SRGB_CURVE, LINEAR, GAMMA_22, GAMMA_28 = 13, 8, 4, 5  # transfer characteristics of cICP
BT709_CURVES, HDR = (1, 6, 14, 15), {16: "PQ", 18: "HLG"}
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile(chunks: dict[bytes, bytes], grey: bool) -> bytes | None:
    """The profile of a PNG with these chunks and no iCCP; None for sRGB. Raises Refusal for what no profile can say."""
    points, curve = PRIMARIES[1], None
    if len(chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, _, _ = chunks[b"cICP"]
        if transfer in HDR:
            raise Refusal(f"its colours are HDR ({HDR[transfer]}), which only PNG holds; write .png")
        known = transfer in (SRGB_CURVE, LINEAR, GAMMA_22, GAMMA_28, *BT709_CURVES)
        if primaries not in PRIMARIES or not known:
            raise Refusal(f"its colours (cICP {primaries}, {transfer}) are held by PNG alone; write .png")
        if (primaries, transfer) == (1, SRGB_CURVE):
            return None
        points, curve = PRIMARIES[primaries], _curve(transfer)
    elif b"sRGB" in chunks or b"gAMA" not in chunks or len(chunks[b"gAMA"]) != 4:
        return None
    else:
        (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
        if len(chunks.get(b"cHRM", b"")) == 32:
            numbers = np.array(struct.unpack(">8I", chunks[b"cHRM"])).reshape(4, 2) / 100_000
            points = (*map(tuple, numbers[1:]), tuple(numbers[0]))
        plain = np.abs(np.subtract(points, PRIMARIES[1])).max() < 0.001
        if gamma == 0 or (abs(gamma - SRGB_GAMMA) < 500 and plain):
            return None
        curve = struct.pack(">4sIIH", b"curv", 0, 1, min(round(256 * 100_000 / gamma), 65_535))
    if min(y for _, y in points) <= 0:
        return None
    if grey:
        return _profile([(b"kTRC", curve)], b"GRAY")
    try:
        return _profile(_rgb_tags(points, curve), b"RGB ")
    except (np.linalg.LinAlgError, struct.error):  # primaries on one line: no colours
        return None


def _curve(transfer: int) -> bytes:
    values = np.linspace(0, 1, 1024)
    if transfer == SRGB_CURVE:
        values = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    elif transfer in BT709_CURVES:
        values = np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    else:
        values = values ** {LINEAR: 1.0, GAMMA_22: 2.2, GAMMA_28: 2.8}[transfer]
    return struct.pack(">4sII", b"curv", 0, len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def _rgb_tags(points: tuple, curve: bytes) -> list[tuple[bytes, bytes]]:
    """Columns of RGB -> XYZ, adapted to the white of profiles by Bradford's matrix."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
    matrix, white = xyz[:, :3], xyz[:, 3]
    matrix = matrix * np.linalg.solve(matrix, white)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
    tags = [(name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), (adapt @ matrix).T, strict=True)]
    return tags + [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *np.rint(values * 65536).astype(int))


def _profile(tags: list[tuple[bytes, bytes]], kind: bytes) -> bytes:
    text = b"desc" + bytes(4) + struct.pack(">I", 11) + b"PNG colours\0"[:11] + bytes(78)
    tags = [(b"desc", text), (b"cprt", b"text" + bytes(4) + b"none\0"), (b"wtpt", _xyz(D50)), *tags]
    index, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags:
        index += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", kind, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp").ljust(32, b"\0") + struct.pack(">I", 0)
    head = head[:68] + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + index + body
