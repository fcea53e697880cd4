"""What a file holds beside one plain picture: pages, masks, thumbnails, trailers, facts that depend on the pixels."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images.headers import header_of
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

PHOTO = make.noise(0, 16, 24, 3)


def same(path, out):
    picture = images.open_picture(path)
    images.save_picture(out, picture.pixels, picture)
    return picture


@pytest.mark.parametrize("inside", [True, False], ids=["SubIFD", "next page"])
def test_the_full_picture_is_read_not_its_smaller_copy(tmp_path, inside):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(PHOTO[::4, ::4], photometric="rgb", subfiletype=1, subifds=int(inside), metadata=None)
        file.write(PHOTO, photometric="rgb", subfiletype=0, metadata=None)
    np.testing.assert_array_equal(images.read(path), PHOTO)
    assert header_of(path).size == "24x16"


def palette_tiff(path, scale, alpha=None):
    """Indices with a colour map of 0..255 times `scale`, written by hand."""
    index, colours = make.noise(1, 4, 6) % 4, make.noise(2, 256, 3)
    data = index if alpha is None else np.dstack([index, alpha])
    map_at = 8 + data.size
    tags = [(256, 4, 1, 6), (257, 4, 1, 4), (258, 3, data.ndim - 1, 8 if alpha is None else 8 | 8 << 16)]
    tags += [(259, 3, 1, 1), (262, 3, 1, 3), (273, 4, 1, 8), (277, 3, 1, data.ndim - 1), (278, 4, 1, 4)]
    tags += [(279, 4, 1, data.size), (320, 3, 768, map_at)] + [(338, 3, 1, 2)] * (alpha is not None)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    body = data.tobytes() + (colours.T.astype("<u2") * scale).tobytes()
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return colours[index]


@pytest.mark.parametrize("scale", [1, 257])
def test_colour_maps_of_8_and_16_bits_give_the_same_colours(tmp_path, scale):
    expected = palette_tiff(tmp_path / "a.tif", scale)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), expected)


def test_alpha_beside_a_palette_and_a_mask_page_become_alpha(tmp_path):
    alpha = np.where(make.noise(3, 4, 6) > 127, 255, 0).astype(np.uint8)
    palette_tiff(tmp_path / "a.tif", 257, alpha)
    np.testing.assert_array_equal(images.open_picture(tmp_path / "a.tif").alpha, alpha)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(PHOTO[:4, :6], photometric="rgb", metadata=None)
        file.write(alpha > 0, photometric=4, subfiletype=4, metadata=None)
    np.testing.assert_array_equal(images.open_picture(tmp_path / "b.tif").alpha, alpha)


@pytest.mark.parametrize("order", ["<", ">"])
def test_geotiff_tags_stay(tmp_path, order):
    tags = [
        (33550, "d", 3, (1.0, 2.0, 0.0), True),
        (34735, "H", 4, (1, 1, 0, 513), True),
        (42113, "s", 0, "0", True),
        (305, "s", 0, "by hand", True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", PHOTO, photometric="rgb", extratags=tags, byteorder=order, software=False)
    same(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        for tag, *_ in tags:
            assert after.pages[0].tags[tag].value == before.pages[0].tags[tag].value


def test_exif_facts_about_the_pixels_are_those_of_the_result(tmp_path):
    file = io.BytesIO()
    Image.fromarray(PHOTO[::2, ::2]).save(file, "JPEG")
    thumbnail = file.getvalue()
    entries = [
        struct.pack("<HHIHH", 274, 3, 1, 6, 0),
        struct.pack("<HHII", 34665, 4, 1, 38),
        struct.pack("<I", 68),  # the second directory
        struct.pack("<H", 2),
        struct.pack("<HHII", 40962, 4, 1, 24),
        struct.pack("<HHIHH", 40963, 3, 1, 16, 0),
        bytes(4),
        struct.pack("<H", 3),
        struct.pack("<HHIHH", 259, 3, 1, 6, 0),
        struct.pack("<HHII", 513, 4, 1, 110),
        struct.pack("<HHII", 514, 4, 1, len(thumbnail)),
        bytes(4),
    ]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + b"".join(entries) + thumbnail
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    same(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        tags = image.getexif()
        details = tags.get_ifd(34665)
        assert (tags[274], details[40962], details[40963]) == (1, *image.size)
        assert 513 not in tags.get_ifd(1)
    assert thumbnail[-60:] not in (tmp_path / "b.jpg").read_bytes()


def test_the_video_of_a_motion_photo_is_named_and_no_longer_promised(tmp_path):
    xmp = b'<x:xmpmeta><rdf:D GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="99" dc:title="sea"/></x:xmpmeta>'
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", xmp=xmp)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(99))
    assert same(tmp_path / "a.jpg", tmp_path / "b.jpg").lost == ("the video of a motion photo",)
    data = (tmp_path / "b.jpg").read_bytes()
    assert b"MotionPhoto" not in data
    assert b"MicroVideo" not in data
    assert b'dc:title="sea"' in data


def test_headers_are_turned_as_the_picture_is(tmp_path):
    for suffix in (".png", ".jpg", ".webp"):
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(PHOTO).save(tmp_path / f"a{suffix}", exif=exif)
        assert header_of(tmp_path / f"a{suffix}").size == "16x24"
        assert images.read(tmp_path / f"a{suffix}").shape[:2] == (24, 16)


def test_a_note_with_a_wrong_checksum_is_left_out_and_apples_png_is_named(tmp_path):
    data = bytearray(make.png_file(PHOTO, (b"tEXt", b"Comment\0hello")))
    data[data.index(b"hello")] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), PHOTO)
    data = make.png_file(PHOTO)
    (tmp_path / "b.png").write_bytes(data[:8] + b"\0\0\0\4CgBIP\0 \2" + bytes(4) + data[8:])
    with pytest.raises(UserError, match="CgBI"):
        images.open_picture(tmp_path / "b.png")
