"""AVIF, HEIC, JPEG XL, single GIFs, and endings of formats that are known by other names."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images import headers
from mprnet_jax.images.formats.jpeg_xl import header as jpeg_xl
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

PHOTO = np.kron(make.noise(0, 4, 6, 4) // 2 + 60, np.ones((8, 8, 1), np.uint8))


def test_avif_goes_both_ways_with_alpha_and_notes(tmp_path):
    profile = make.rgb_profile()
    exif = b"Exif\0\0" + make.exif_block()
    Image.fromarray(PHOTO).save(tmp_path / "a.avif", quality=95, exif=exif, icc_profile=profile, xmp=make.XMP % 1)
    picture = images.open_picture(tmp_path / "a.avif")
    images.save_picture(tmp_path / "b.avif", picture.pixels, picture)
    for path in (tmp_path / "a.avif", tmp_path / "b.avif"):
        decoded = imagecodecs.avif_decode(path.read_bytes()).astype(int)
        assert np.abs(decoded - PHOTO).mean() < 8
        with Image.open(path) as image:
            assert image.info["icc_profile"] == profile
            assert image.info["xmp"] == make.XMP % 1
    assert make.exif_facts(tmp_path / "b.avif") == make.exif_facts(tmp_path / "a.avif")
    assert np.abs(picture.pixels.astype(int) - PHOTO[..., :3]).mean() < 8


@pytest.mark.parametrize("bits", [10, 12])
def test_a_deep_avif_keeps_its_depth(tmp_path, bits):
    stored = make.noise(1, 16, 24, 3, dtype=np.uint16) >> (16 - bits)
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits, pixelformat="444", speed=9)
    (tmp_path / "a.avif").write_bytes(data)
    picture = images.open_picture(tmp_path / "a.avif")
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, np.rint(stored * (65535 / (2**bits - 1))))


def test_heic_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(PHOTO[..., :3])).save(tmp_path / "a.heic", quality=90)
    assert np.abs(images.read(tmp_path / "a.heic").astype(int) - PHOTO[..., :3]).mean() < 12


def test_single_gif_is_read_and_its_result_is_png(tmp_path):
    Image.fromarray(PHOTO[..., 0]).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(images.read(tmp_path / "a.gif")[..., 0], PHOTO[..., 0])
    assert images.find(tmp_path) == [tmp_path / "a.gif"]
    assert images.result_suffix(".gif") == ".png"
    with pytest.raises(UserError, match="unknown picture format"):
        images.write(tmp_path / "b.gif", PHOTO[..., :3])


def test_deep_ppm_keeps_its_depth_as_text_and_with_any_maximum(tmp_path):
    for header, body in ((b"P3\n2 1\n1023\n", b"0 1 1023 512 3 4"), (b"P2 1 6 1023 ", b"0 1 1023 512 3 4")):
        (tmp_path / "a.ppm").write_bytes(header + body)
        pixels = images.open_picture(tmp_path / "a.ppm").pixels
        expected = np.rint(np.array([0, 1, 1023, 512, 3, 4]) * (65535 / 1023))
        stored = pixels if header[1:2] == b"3" else pixels[..., 0]
        np.testing.assert_array_equal(stored.ravel(), expected)
    (tmp_path / "b.pgm").write_bytes(b"P5\n2 1\n4095\n" + np.array([5, 4095], ">u2").tobytes())
    assert images.open_picture(tmp_path / "b.pgm").pixels[0, :, 0].tolist() == [80, 65535]
    for data in (b"P3 2 1 1023 0 1 2 3", b"P2 1 1 1000 1001", b"P5 1 1 70000 \0\0", b"P2 1 1 1000 x"):
        (tmp_path / "c.ppm").write_bytes(data)
        with pytest.raises(UserError, match=r"c\.ppm: .*; "):
            images.open_picture(tmp_path / "c.ppm")


def test_a_black_and_white_picture_is_read_and_its_result_holds_greys(tmp_path):
    drawn = make.noise(3, 9, 13) > 127
    Image.fromarray(drawn).save(tmp_path / "a.pbm", "PPM")
    np.testing.assert_array_equal(images.read(tmp_path / "a.pbm")[..., 0], drawn * 255)
    assert images.find(tmp_path) == [tmp_path / "a.pbm"]
    assert images.result_suffix(".pbm") == ".png"


def test_other_endings_of_jpeg_and_pnm_are_written_as_what_they_name(tmp_path):
    for suffix, name in ((".jfif", "JPEG"), (".jpe", "JPEG"), (".pgm", "PPM"), (".pnm", "PPM")):
        images.write(tmp_path / f"a{suffix}", PHOTO[..., :3])
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert image.format == name


# --- JPEG XL ---

HUGE = 3 << 1 | (2**30 - 1) << 3 | 1 << 33  # a header of 2**30 rows and as many columns, bit by bit


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_jpeg_xl_goes_both_ways_bit_for_bit_with_exif_and_xmp(tmp_path, dtype, channels):
    stored = make.noise(2, 33, 21, channels, dtype=dtype)
    colours = np.repeat(stored[..., :1], 3, axis=2) if channels < 3 else stored[..., :3]
    alpha = stored[..., -1] if channels in (2, 4) else None
    mode = "grey" if channels < 3 else "rgb"
    source = images.Picture(colours, alpha, mode, "PNG", exif=make.exif_block(), xmp=make.XMP % 1)
    images.save_picture(tmp_path / "a.jxl", colours, source)
    decoded = imagecodecs.jpegxl_decode((tmp_path / "a.jxl").read_bytes())
    np.testing.assert_array_equal(decoded.reshape(stored.shape), stored)
    picture = images.open_picture(tmp_path / "a.jxl")
    np.testing.assert_array_equal(picture.pixels, colours)
    assert (picture.mode, picture.format, picture.xmp) == (mode, "JXL", make.XMP % 1)
    np.testing.assert_array_equal(picture.alpha, alpha)
    images.save_picture(tmp_path / "b.png", picture.pixels, picture)
    assert make.exif_facts(tmp_path / "b.png")[::2] == ("Camera Co", 0.008, "N", 1)
    header = headers.header_of(tmp_path / "a.jxl")
    assert (header.height, header.width, header.bits) == (33, 21, 8 * stored.itemsize)


def test_a_jpeg_xl_of_ten_bits_is_spread_over_sixteen(tmp_path):
    stored = make.noise(1, 16, 24, 3, dtype=np.uint16) >> 6
    data = imagecodecs.jpegxl_encode(stored, lossless=True, bitspersample=10)
    (tmp_path / "a.jxl").write_bytes(jpeg_xl.with_srgb_curve(data[data.find(jpeg_xl.CODESTREAM) :]))
    pixels = images.open_picture(tmp_path / "a.jxl").pixels
    np.testing.assert_array_equal(pixels, np.rint(stored * (65535 / 1023)))


def test_a_lossy_jpeg_xl_is_read(tmp_path):
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PHOTO[..., :3], lossless=False, distance=0.5))
    assert np.abs(images.read(tmp_path / "a.jxl").astype(int) - PHOTO[..., :3]).mean() < 8


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lambda: imagecodecs.jpegxl_encode(np.stack([PHOTO[..., :3]] * 3), lossless=True), "several frames"),
        (lambda: imagecodecs.jpegxl_encode(PHOTO[..., 0] / np.float32(255)), "not sRGB"),
        (lambda: imagecodecs.jpegxl_encode(make.noise(0, 8, 8, 3, dtype=np.uint16), lossless=True), "not sRGB"),
        (lambda: imagecodecs.jpegxl_encode(PHOTO, lossless=True)[:40], "not a whole picture"),
        (lambda: b"\xff\x0a\x01", "not a whole picture"),
        (lambda: b"\xff\x0a" + HUGE.to_bytes(40, "little"), "more than 500 megapixels"),
    ],
    ids=["animated", "float", "linear", "cut", "short", "huge"],
)
def test_what_jpeg_xl_cannot_be_read_is_one_line(tmp_path, data, text):
    (tmp_path / "a.jxl").write_bytes(data())
    with pytest.raises(UserError, match=rf"a\.jxl: .*{text}.*; ") as error:
        images.open_picture(tmp_path / "a.jxl")
    assert "\n" not in str(error.value)


def test_a_profile_is_refused_by_jpeg_xl_before_the_work(tmp_path):
    picture = images.Picture(PHOTO[..., :3], None, "rgb", "JPEG", icc=make.rgb_profile())
    with pytest.raises(UserError, match=r"a\.jxl: a colour profile cannot be written into JPEG XL"):
        images.check_savable(tmp_path / "a.jxl", picture)


def test_a_jpeg_ls_picture_is_named_and_not_called_damaged(tmp_path):
    frame = bytes.fromhex("fff7 000b 08 0030 0040 01 01 11 00")  # ITU-T T.87: 64 x 48, grey
    scan = bytes.fromhex("ffda 0008 01 01 00 00 00 00")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + frame + scan + bytes(90) + b"\xff\xd9")
    with pytest.raises(UserError, match=r"a\.jpg: a JPEG-LS picture cannot be read; convert it to PNG or TIFF"):
        images.open_picture(tmp_path / "a.jpg")
