"""Camera raw: developed as shot, upright, in 16 bits, with the camera's EXIF; bad files are one line."""

import struct
import sys

import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images import headers
from mprnet_jax.images.formats import codec, picture
from mprnet_jax.images.formats.camera_raw import metadata, signatures
from mprnet_jax.support.errors import UserError
from tests.helpers import dng
from tests.helpers import picture_makers as make

pytest.importorskip("rawpy")

XYZ_OF_SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
PATCHES = np.array(
    [[0.4, 0.4, 0.4], [0.05, 0.05, 0.05], [0.5, 0.1, 0.1], [0.1, 0.4, 0.2], [0.1, 0.15, 0.5], [0.6, 0.5, 0.1]]
)
SIDE = 24  # pixels of a patch


def srgb(linear):
    """The curve of IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def camera_colours(linear, neutral):
    """Linear sRGB -> what the camera sees in a light in which white is `neutral`."""
    to_camera = dng.MATRIX @ XYZ_OF_SRGB
    balanced = linear @ (to_camera / to_camera.sum(axis=1, keepdims=True)).T  # white is 1, 1, 1
    return balanced * neutral


def chart(linear):
    """Patches side by side, two rows of three."""
    return np.kron(np.asarray(linear).reshape(2, 3, 3), np.ones((SIDE, SIDE, 1)))


def middles(picture):
    return np.array(
        [[picture[SIDE * y + SIDE // 2, SIDE * x + SIDE // 2] for x in range(3)] for y in range(2)]
    ).reshape(6, 3)


def write_raw(path, orientation=1, neutral=(0.5, 1, 0.7), **options):
    raw = dng.mosaic(camera_colours(chart(PATCHES), np.array(neutral)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(dng.dng(raw, neutral, orientation, **options))
    return path


@pytest.mark.parametrize("neutral", [(0.5, 1, 0.7), (0.8, 1, 0.4)], ids=["daylight", "lamp"])
def test_colours_are_white_balance_times_matrix_under_the_curve_of_srgb(tmp_path, neutral):
    picture = images.open_picture(write_raw(tmp_path / "a.dng", neutral=neutral))
    assert picture.pixels.dtype == np.uint16
    found, expected = middles(picture.pixels) / 65535, srgb(PATCHES)
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(found[0] / expected[0] - 1).max() < 0.01  # a grey that is neutral, and as bright as it was


def test_what_is_brighter_in_one_file_does_not_change_the_others_brightness(tmp_path):
    bright = camera_colours(chart(PATCHES), np.array((0.5, 1, 0.7)))
    bright[:SIDE, :SIDE] = 0.95  # near white, which is where LibRaw would take the brightest for white
    (tmp_path / "b.dng").write_bytes(dng.dng(dng.mosaic(bright)))
    plain = middles(images.open_picture(write_raw(tmp_path / "a.dng")).pixels)[1:].astype(int)
    assert np.abs(middles(images.open_picture(tmp_path / "b.dng").pixels)[1:] - plain).max() < 65


TURNS = {1: lambda a: a, 3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, -1), 8: lambda a: np.rot90(a)}


@pytest.mark.parametrize("orientation", TURNS)
def test_it_is_turned_upright_and_the_header_says_so_before(tmp_path, orientation):
    path = write_raw(tmp_path / "a.dng", orientation)
    picture, header = images.open_picture(path), headers.header_of(path)
    straight = images.open_picture(write_raw(tmp_path / "b.dng")).pixels
    np.testing.assert_array_equal(picture.pixels, TURNS[orientation](straight))
    assert (header.height, header.width, header.mode) == (*picture.pixels.shape[:2], "camera raw of 16 bits")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_result_has_16_bits_and_the_cameras_exif_and_is_not_turned_twice(tmp_path, ending, order):
    picture = images.open_picture(write_raw(tmp_path / "a.dng", 6, order=order))
    result = tmp_path / f"a{ending}"
    images.save_picture(result, picture.pixels, picture)
    again = images.open_picture(result)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert again.pixels.dtype == np.uint16
    np.testing.assert_array_equal(make.pixels(result), picture.pixels)
    with Image.open(result) as image:
        tags = image.getexif()
        detail = tags.get_ifd(34665)
    assert (tags[271], tags[272], tags.get(274, 1)) == ("Mirror Works", "Mirror One", 1)
    assert (float(detail[33434]), detail[34855], detail[36867]) == (1 / 125, 800, "2026:05:01 12:00:00")
    assert 37500 not in detail  # a maker note points into the raw file


def test_broken_files_are_one_line(tmp_path):
    data = write_raw(tmp_path / "a.dng").read_bytes()
    broken = {
        "cut.dng": data[: len(data) // 2],
        "head.dng": data[:300],
        "text.nef": b"II*\0" + b"not a photo" * 20,
        "fuji.raf": b"FUJIFILMCCD-RAW " + bytes(300),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: .*; ") as error:
            images.open_picture(tmp_path / name)
        assert "\n" not in str(error.value)
        assert "LibRaw: " in str(error.value) or "it ends within its list of tags" in str(error.value)


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    path = write_raw(tmp_path / "a.dng")
    with pytest.raises(UserError, match=r"a\.dng: 72x48 is more than 0\.002 megapixels"):
        images.open_picture(path, max_pixels=2000)


def test_without_rawpy_the_line_says_what_to_install(tmp_path, monkeypatch):
    path = write_raw(tmp_path / "a.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with (  # decoded here, where the module is missing, and not in the reading process
        path.open("rb") as file,
        pytest.raises(picture.Refusal, match=r"camera raw: this needs rawpy.*pip install 'mprnet_jax\[raw\]'"),
    ):
        codec.decode(file, 10**6)


def test_a_plain_tiff_is_no_raw_and_makers_files_are(tmp_path):
    images.write(tmp_path / "a.tif", make.noise(0, 8, 8, 3))
    beginnings = {
        "a.tif": (None, False),
        "a.nef": (b"MM\0*\0\0\0\x08" + bytes(30), True),
        "plain.dng": ((tmp_path / "a.tif").read_bytes(), False),
        "a.orf": (b"IIRO\x08\0\0\0" + bytes(30), True),
        "a.rw2": (b"IIU\0\x08\0\0\0" + bytes(30), True),
        "a.raf": (b"FUJIFILMCCD-RAW 0201", True),
        "a.cr2": (b"II*\0\x10\0\0\0CR\2\0", True),
        "a.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1", True),
        "a.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", False),
    }
    for name, (data, expected) in beginnings.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with (tmp_path / name).open("rb") as file:
            assert signatures.is_raw(file) is expected, name


def test_exif_is_found_where_canon_and_fujifilm_put_it(tmp_path):
    """Their containers with nothing else in them; the pictures themselves are LibRaw's."""
    block = make.exif_block(6)
    box = lambda kind, content: struct.pack(">I4s", len(content) + 8, kind) + content
    exif_alone = Image.Exif()
    exif_alone.endian, exif_alone[33434] = "<", 0.008
    boxes = box(b"CMT1", block) + box(b"CMT2", exif_alone.tobytes()[6:])
    (tmp_path / "a.cr3").write_bytes(box(b"ftyp", b"crx \0\0\0\1") + box(b"moov", boxes))
    Image.new("RGB", (8, 8)).save(tmp_path / "p.jpg", exif=b"Exif\0\0" + block)
    jpeg = (tmp_path / "p.jpg").read_bytes()
    head = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 200, len(jpeg))
    (tmp_path / "a.raf").write_bytes(head.ljust(200, b"\0") + jpeg)
    for name in ("a.cr3", "a.raf"):
        with (tmp_path / name).open("rb") as file:
            found = Image.Exif()
            found.load(b"Exif\0\0" + metadata.read_exif(file))
        assert (found[271], found[274], float(found.get_ifd(34665)[33434])) == ("Camera Co", 6, 0.008)
