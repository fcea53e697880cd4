"""What phones put behind or beside the picture of a JPEG: said, and no longer promised by the metadata once it is gone.

Motion photos have a video behind the picture, Ultra HDR photos a gain map, and an MPO further views. Sources: Android's
Motion Photo format 1.0 and Ultra HDR image format 1.1, CIPA DC-007 (MPF).
"""

import re

MPF = b"MPF\0"  # begin of the APP2 segment that lists the pictures behind the first one
VIDEO = re.compile(rb"ftyp(?:mp4|isom|iso[2-9]|avc1|MSNV|qt  |hvc1|hev1)|MotionPhoto_Data")
GAIN_MAP = re.compile(rb"hdrgm:Version|urn:iso:std:iso:ts:21496|HDRGainMap")
# The XMP that promises them: attributes or elements with one value, then whole lists.
PROMISES = (
    re.compile(rb"\s[\w]+:(?:MotionPhoto|MicroVideo)\w*\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')"),
    re.compile(rb"<([\w]+:(?:MotionPhoto|MicroVideo)\w*)>[^<]*</\1>"),
    re.compile(rb"\shdrgm:\w+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')"),
    re.compile(rb"<(hdrgm:\w+)>[^<]*</\1>"),
)
LISTS = ((b"<Container:Directory", b"</Container:Directory>"), (b"<GContainer:Directory", b"</GContainer:Directory>"))


def lost_with(trailer: bytes, head: bytes) -> tuple[str, ...]:
    """What lies in the bytes behind a picture's end, in words; `head` is what lies before its pixels."""
    if not trailer.strip(b"\0\r\n ") or len(trailer) < 16:
        return ()
    found = []
    if VIDEO.search(trailer):
        found.append("the video of a motion photo")
    if GAIN_MAP.search(trailer) or GAIN_MAP.search(head):
        found.append("the gain map of an HDR photo")
    elif b"\xff\xd8\xff" in trailer:
        found.append("a second picture behind the first (a preview, view or depth map)")
    return tuple(found) or (f"{len(trailer)} bytes behind the picture",)


def without_promises(xmp: bytes) -> bytes:
    """XMP that no longer says there is a video or a gain map."""
    for pattern in PROMISES:
        xmp = pattern.sub(b"", xmp)
    for begin, end in LISTS:
        while 0 <= (start := xmp.find(begin)) < (stop := xmp.find(end, start)):
            xmp = xmp[:start] + xmp[stop + len(end) :]
    return xmp
