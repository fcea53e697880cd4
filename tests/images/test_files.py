"""Pictures in and out of files; decoded by libraries that the package does not use for that format."""

import errno
import functools
import os
import struct
import threading
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

DEPTHS = [np.uint8, np.uint16]
needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


def restored(path, picture, **options):
    images.save_picture(path, picture.pixels, picture, **options)
    return path


def same(path, out):
    """Open, save with the same pixels, and return the path written."""
    return restored(out, images.open_picture(path))


# --- pixels ---


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_depth_and_channel_count_comes_back_exactly(tmp_path, suffix, dtype, channels):
    array = make.noise(channels, 5, 7, channels, dtype=dtype)
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(array))
    picture = images.open_picture(path)
    assert picture.mode == ("grey" if channels < 3 else "rgb")
    expected = np.repeat(array[..., :1], 3, axis=2) if channels < 3 else array[..., :3]
    np.testing.assert_array_equal(picture.pixels, expected)
    out = make.pixels(restored(tmp_path / f"out{suffix}", picture))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, array)


@pytest.mark.parametrize("dtype", DEPTHS)
def test_float_form_of_every_value_is_written_as_that_value(tmp_path, dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    array = np.repeat(values[..., None], 3, axis=2)
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(array))
    images.save_picture(tmp_path / "out.png", images.to_float(array), images.open_picture(path))
    np.testing.assert_array_equal(make.pixels(tmp_path / "out.png"), array)


def test_one_bit_two_bit_and_palette_pngs_have_their_true_values(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(np.array([[[0], [1], [1]]], np.uint8), bits=1))
    np.testing.assert_array_equal(images.read(path)[0, :, 0], [0, 255, 255])
    path.write_bytes(make.png_file(np.array([[[0], [1], [2], [3]]], np.uint8), bits=2))
    np.testing.assert_array_equal(images.read(path)[0, :, 0], [0, 85, 170, 255])
    colours = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    path.write_bytes(make.png_file(np.array([[[2], [0], [1]]], np.uint8), palette=colours))
    np.testing.assert_array_equal(images.read(path)[0], [colours[2], colours[0], colours[1]])
    np.testing.assert_array_equal(make.pixels(same(path, tmp_path / "out.png"))[0], images.read(path)[0])


def test_transparent_colour_of_a_two_bit_png_becomes_alpha(tmp_path):
    path = tmp_path / "in.png"
    array = np.array([[[0], [1], [2], [3]]], np.uint8)
    path.write_bytes(make.png_file(array, (b"tRNS", b"\0\2"), bits=2))
    np.testing.assert_array_equal(images.open_picture(path).alpha, [[255, 255, 0, 255]])


def test_restored_grey_is_the_mean_of_the_three_channels(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(make.noise(0, 4, 4, 1)))
    pixels = np.full((4, 4, 3), [10, 20, 60], np.uint8)
    images.save_picture(tmp_path / "out.png", pixels, images.open_picture(path))
    np.testing.assert_array_equal(make.pixels(tmp_path / "out.png"), np.full((4, 4, 1), 30))


def test_16_bits_are_rounded_to_8_where_the_format_has_no_more(tmp_path):
    array = np.array([[[0, 128, 129], [257, 65535, 65407]]], np.uint16)  # 128/257 is below a half, 129/257 above
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(array))
    expected = [[[0, 0, 1], [1, 255, 255]]]
    np.testing.assert_array_equal(images.read(path), expected)
    np.testing.assert_array_equal(make.pixels(same(path, tmp_path / "out.webp")), expected)


def test_16_bit_ppm_goes_both_ways(tmp_path):
    array = make.noise(1, 3, 5, 3, dtype=np.uint16)
    path = tmp_path / "in.ppm"
    path.write_bytes(b"P6 # a comment\n5 3\n65535\n" + array.astype(">u2").tobytes())
    np.testing.assert_array_equal(images.open_picture(path).pixels, array)
    np.testing.assert_array_equal(make.pixels(same(path, tmp_path / "out.ppm")), array)


def test_pixels_without_a_model_picture_are_plain_rgb_of_their_own_depth(tmp_path):
    for dtype in DEPTHS:
        array = make.noise(2, 4, 6, 3, dtype=dtype)
        for suffix in (".png", ".tif", ".ppm"):
            images.write(tmp_path / f"out{suffix}", array)
            np.testing.assert_array_equal(make.pixels(tmp_path / f"out{suffix}"), array)
    images.write(tmp_path / "out.png", np.full((1, 1, 3), [-0.5, 0.5, 1.5]))
    np.testing.assert_array_equal(make.pixels(tmp_path / "out.png"), [[[0, 128, 255]]])


def test_a_single_row_turned_into_a_column_is_written(tmp_path):
    column = make.noise(30, 1, 6, 3).swapaxes(0, 1)  # contiguous to NumPy, but with strides that a codec may refuse
    for suffix in (".png", ".tif", ".webp", ".bmp", ".ppm"):
        images.write(tmp_path / f"a{suffix}", column)
        np.testing.assert_array_equal(make.pixels(tmp_path / f"a{suffix}"), column)


def test_jpeg_quality_is_what_was_asked_for(tmp_path):
    array = make.noise(3, 64, 64, 3)
    sizes = []
    for quality in (30, 95, 100):
        images.save_picture(tmp_path / "a.jpg", array, quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
        errors = np.abs(imagecodecs.jpeg_decode((tmp_path / "a.jpg").read_bytes()).astype(int) - array)
    assert sizes == sorted(sizes)
    assert errors.mean() < 1


def test_grey_jpeg_stays_grey(tmp_path):
    Image.fromarray(make.noise(4, 8, 8)).save(tmp_path / "in.jpg")
    assert imagecodecs.jpeg_decode(same(tmp_path / "in.jpg", tmp_path / "out.jpg").read_bytes()).ndim == 2


def test_cmyk_goes_through_its_profile_both_ways(tmp_path):
    profile = make.cmyk_profile()
    stored = make.noise(5, 16, 16, 4)
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="separated", planarconfig="contig", iccprofile=profile)
    picture = images.open_picture(tmp_path / "in.tif")
    transform = functools.partial(imagecodecs.cms_transform, intent=1)  # relative colorimetric
    srgb = make.rgb_profile()
    expected = transform(stored, profile, srgb, colorspace="cmyk", outcolorspace="rgb")
    np.testing.assert_allclose(picture.pixels, expected, atol=1)
    out = restored(tmp_path / "out.tif", picture)
    with tifffile.TiffFile(out) as file:
        assert file.pages[0].photometric.name == "SEPARATED"
        assert file.pages[0].tags["InterColorProfile"].value == profile
    inks = transform(picture.pixels, srgb, profile, colorspace="rgb", outcolorspace="cmyk")
    with Image.open(out) as written:
        np.testing.assert_allclose(np.asarray(written).astype(int), inks, atol=1)
    with Image.open(restored(tmp_path / "out.jpg", picture)) as jpeg:
        assert (jpeg.mode, jpeg.info["icc_profile"]) == ("CMYK", profile)
    assert b"iCCP" not in make.png_dict(restored(tmp_path / "out.png", picture))  # sRGB pixels, no ink profile


def test_cmyk_without_profile_keeps_its_look(tmp_path):
    stored = Image.fromarray(make.noise(6, 8, 8, 3)).convert("CMYK")
    stored.save(tmp_path / "in.jpg", quality=100)
    out = same(tmp_path / "in.jpg", tmp_path / "out.tif")
    with Image.open(out) as after, Image.open(tmp_path / "in.jpg") as before:
        assert after.mode == "CMYK"
        np.testing.assert_array_equal(after.convert("RGB"), before.convert("RGB"))


def test_grey_profile_is_converted_where_grey_cannot_be_stored(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(make.noise(7, 4, 4, 1), make.iccp(make.grey_profile())))
    out = same(path, tmp_path / "out.webp")
    with Image.open(out) as webp:
        assert "icc_profile" not in webp.info
    grey = make.png_pixels(path)[..., 0]
    expected = imagecodecs.cms_transform(
        grey, make.grey_profile(), make.rgb_profile(), colorspace="gray", outcolorspace="rgb"
    )
    np.testing.assert_allclose(make.pixels(out).astype(int), expected, atol=1)


def test_odd_tiffs_are_read_exactly(tmp_path):
    rgb = make.noise(8, 33, 40, 3, dtype=np.uint16)
    path = tmp_path / "in.tif"
    for options in (
        {"tile": (16, 16), "compression": "lzw", "predictor": True},
        {"compression": "zstd", "byteorder": ">"},
        {"bigtiff": True, "rowsperstrip": 5, "compression": "packbits"},
    ):
        tifffile.imwrite(path, rgb, photometric="rgb", **options)
        np.testing.assert_array_equal(images.open_picture(path).pixels, rgb)
    tifffile.imwrite(path, np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(images.open_picture(path).pixels, rgb)
    tifffile.imwrite(path, rgb[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(images.open_picture(path).pixels[..., 0], 65535 - rgb[..., 0])
    photo = np.repeat(np.repeat(make.noise(9, 4, 5, 3), 16, axis=0), 16, axis=1)
    Image.fromarray(photo).convert("YCbCr").save(path, compression="jpeg", quality=95)
    with Image.open(path) as picture:
        np.testing.assert_allclose(images.read(path).astype(int), np.asarray(picture.convert("RGB")), atol=3)
    for compression in ("group4", "raw"):
        Image.fromarray(rgb[..., 0] > 30000).save(path, compression=compression)
        np.testing.assert_array_equal(images.read(path)[..., 1], (rgb[..., 0] > 30000) * 255)
    palette = Image.fromarray(photo).quantize(16)
    palette.save(path)
    np.testing.assert_array_equal(images.read(path), palette.convert("RGB"))


def test_tiff_colours_multiplied_by_alpha_are_divided_again(tmp_path):
    stored = np.array([[[100, 50, 0, 200], [0, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = images.open_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, [[[128, 64, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(picture.alpha, [[200, 0]])


def test_colours_under_full_transparency_survive_in_webp(tmp_path):
    array = make.noise(10, 8, 8, 4)
    array[:4, :, 3] = 0
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(array))
    np.testing.assert_array_equal(make.pixels(same(path, tmp_path / "out.webp")), array)


def test_a_jpeg_named_png_is_read(tmp_path):
    Image.fromarray(make.noise(11, 8, 8, 3)).save(tmp_path / "a.png", "JPEG")
    assert images.open_picture(tmp_path / "a.png").format == "JPEG"


def test_first_picture_of_a_phones_mpo_is_read(tmp_path):
    first, second = (Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (200, 10))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert images.read(tmp_path / "a.jpg").mean() == pytest.approx(200, abs=2)


# --- orientation and notes ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_orientation_is_applied_once_and_its_tag_reset(tmp_path, suffix, orientation):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255, 0, 0
    stored[8:, :8] = 0, 255, 0
    path = tmp_path / f"in{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    notes = {"tiffinfo": {274: orientation}} if suffix == ".tif" else {"exif": exif}
    Image.fromarray(stored).save(path, **notes, **options)
    # The turns in words, by the EXIF standard: where the stored first row and first column are seen.
    upright = {
        1: stored,
        2: stored[:, ::-1],  # top, right
        3: stored[::-1, ::-1],  # bottom, right
        4: stored[::-1],  # bottom, left
        5: stored.transpose(1, 0, 2),  # left, top
        6: stored.transpose(1, 0, 2)[:, ::-1],  # right, top
        7: stored.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: stored.transpose(1, 0, 2)[::-1],  # left, bottom
    }[orientation]
    np.testing.assert_allclose(images.read(path).astype(int), upright, atol=60 if suffix == ".jpg" else 0)
    for out_suffix in (".png", ".tif", ".webp", ".jpg"):
        out = same(path, tmp_path / f"out{out_suffix}")
        assert make.exif_facts(out)[-1] == 1
        assert images.read(out).shape == upright.shape
        with Image.open(out) as picture:
            assert picture.size == upright.shape[1::-1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_exif_profile_xmp_and_dpi_go_from_jpeg_to_every_format_and_back(tmp_path, suffix, order):
    profile = make.rgb_profile()
    Image.fromarray(make.noise(12, 8, 16, 3)).save(
        tmp_path / "in.jpg",
        exif=b"Exif\0\0" + make.exif_block(6, order),
        icc_profile=profile,
        xmp=make.XMP % 6,
        dpi=make.DPI,
    )
    first = same(tmp_path / "in.jpg", tmp_path / f"first{suffix}")
    for out in (first, same(first, tmp_path / "last.jpg")):
        facts = make.exif_facts(out)
        assert facts == (*make.exif_facts(tmp_path / "in.jpg")[:-1], 1)
        assert None not in facts
        with Image.open(out) as picture:
            assert picture.info["icc_profile"] == profile
            assert picture.info["xmp"] == make.XMP % 1
            if suffix != ".webp":  # WebP has no DPI of its own
                assert picture.info["dpi"] == pytest.approx(make.DPI[::-1], abs=0.02)  # turned


def test_exif_of_a_tiff_is_kept(tmp_path):
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + make.exif_block())
    Image.fromarray(make.noise(13, 4, 4)).save(
        tmp_path / "in.tif", exif=exif, dpi=make.DPI, icc_profile=make.grey_profile()
    )
    for suffix in (".tif", ".jpg", ".png"):
        out = same(tmp_path / "in.tif", tmp_path / f"out{suffix}")
        assert make.exif_facts(out) == make.exif_facts(tmp_path / "in.tif")
        with Image.open(out) as picture:
            assert picture.info["icc_profile"] == make.grey_profile()
            assert picture.info["dpi"] == pytest.approx(make.DPI, abs=0.02)


def test_interoperability_directory_survives_in_tiff(tmp_path):
    Image.fromarray(make.noise(14, 4, 4)).save(tmp_path / "in.jpg", exif=b"Exif\0\0" + make.exif_block())
    with Image.open(same(tmp_path / "in.jpg", tmp_path / "out.tif")) as picture:
        assert picture.getexif().get_ifd(40965)[1] == "R98"


def test_png_keeps_its_texts_colours_and_resolution(tmp_path):
    texts = [
        (b"tEXt", b"Author\0Ada"),
        (b"tEXt", b"Author\0Grace"),
        (b"zTXt", b"Long\0\0" + zlib.compress(b"x" * 99)),
        (b"iTXt", b"Title\0\0\0de\0Titel\0Gr\xc3\xbc\xc3\x9fe"),
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cICP", bytes([9, 16, 0, 1])),
    ]
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(make.noise(15, 4, 4, 3, dtype=np.uint16), *texts, make.phys()))
    chunks = make.png_chunks(same(path, tmp_path / "out.png"))
    assert [chunk for chunk in chunks if chunk[0] in dict(texts)] == texts
    assert dict(chunks)[b"pHYs"] == make.phys()[1]


def test_png_text_behind_the_pixels_is_kept(tmp_path):
    data = make.png_file(make.noise(16, 4, 4, 3))
    chunk = struct.pack(">I", 4) + b"tEXta\0bc" + struct.pack(">I", zlib.crc32(b"tEXta\0bc"))
    (tmp_path / "in.png").write_bytes(data[:-12] + chunk + data[-12:])
    assert make.png_dict(same(tmp_path / "in.png", tmp_path / "out.png"))[b"tEXt"] == b"a\0bc"


def test_jpeg_keeps_its_comment_and_iptc(tmp_path):
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05hello"
    segment = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    Image.fromarray(make.noise(17, 8, 8, 3)).save(tmp_path / "in.jpg", comment=b"by hand", extra=segment)
    segments = make.jpeg_segments(same(tmp_path / "in.jpg", tmp_path / "out.jpg").read_bytes())
    assert (0xFE, b"by hand") in segments
    assert (0xED, iptc) in segments


def test_profile_of_several_jpeg_segments_is_kept(tmp_path):
    profile = make.rgb_profile() + make.noise(18, 150_000).tobytes()
    Image.fromarray(make.noise(19, 8, 8, 3)).save(tmp_path / "in.jpg", icc_profile=profile)
    with Image.open(same(tmp_path / "in.jpg", tmp_path / "out.jpg")) as picture:
        assert picture.info["icc_profile"] == profile


# --- refusals ---


def refused(text, function, *arguments):
    """The function raises a UserError: one line that begins with the path and contains the text."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert text in message
    assert message.startswith(f"{arguments[0]}: ")
    assert "; " in message  # a remedy
    assert "\n" not in message


def test_files_that_are_no_pictures_are_refused(tmp_path):
    path = tmp_path / "a.png"
    refused("no such file", images.open_picture, path)
    path.write_bytes(b"")
    refused("empty file", images.open_picture, path)
    path.write_text("hello")
    refused("not a picture in a format that can be read (PNG, TIFF,", images.open_picture, path)
    (tmp_path / "b.png").mkdir()
    refused("a folder, not a picture", images.open_picture, tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("c.png")
    refused("symbolic links", images.open_picture, tmp_path / "c.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refused("a pipe or device", images.open_picture, tmp_path / "a.png")
    refused("neither a file nor a folder", images.find, tmp_path / "a.png")
    refused("exists and is not a file", images.write, tmp_path / "a.png", make.noise(0, 2, 2, 3))


@needs_permissions
def test_missing_permissions_are_named(tmp_path):
    path = tmp_path / "a.png"
    images.write(path, make.noise(0, 2, 2, 3))
    path.chmod(0)
    refused("not readable", images.open_picture, path)
    tmp_path.chmod(0o500)
    refused("Permission denied", images.write, path, make.noise(0, 2, 2, 3))
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp", ".ppm"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    images.write(path, make.noise(20, 32, 32, 3))
    data = path.read_bytes()
    for length in (30, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"export it|download it"):
            images.open_picture(path)


def test_more_than_one_frame_is_refused(tmp_path):
    frames = [Image.fromarray(make.noise(i, 8, 8, 3)) for i in range(3)]
    for suffix in (".gif", ".webp", ".png", ".tif"):
        path = tmp_path / f"a{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        refused("3 frames or pages", images.open_picture, path)


def test_size_is_checked_before_anything_is_decoded(tmp_path):
    side = 30_000
    ihdr = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    (tmp_path / "a.ppm").write_bytes(b"P6 30000 30000 255\n")
    (tmp_path / "b.ppm").write_bytes(b"P6 30000 30000 65535\n")
    (tmp_path / "a.bmp").write_bytes(b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, side, side, 1, 24) + bytes(24))
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4))
    for name in ("a.png", "a.tif", "a.ppm", "b.ppm", "a.bmp"):
        refused("30000x30000 is more than 500 megapixels", images.open_picture, tmp_path / name)


def test_a_100_megapixel_picture_opens(tmp_path):
    Image.new("1", (12_000, 9_000)).save(tmp_path / "a.ppm")
    before = Image.MAX_IMAGE_PIXELS
    assert images.open_picture(tmp_path / "a.ppm").pixels.shape == (9_000, 12_000, 3)
    assert before == Image.MAX_IMAGE_PIXELS


def test_tiffs_that_cannot_be_exact_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    rgb = make.noise(21, 8, 8, 3, dtype=np.uint16)
    tifffile.imwrite(path, rgb.astype(np.float32), photometric="rgb")
    refused("32-bit floating-point RGB cannot be read; save it as", images.open_picture, path)
    tifffile.imwrite(path, rgb[..., 0].astype(np.int32))
    refused("32-bit signed MINISBLACK", images.open_picture, path)
    tifffile.imwrite(path, rgb[..., 0] >> 4, bitspersample=12)
    refused("12-bit unsigned MINISBLACK", images.open_picture, path)
    tifffile.imwrite(path, make.noise(22, 8, 8, 4, dtype=np.uint16), photometric="separated", planarconfig="contig")
    refused("16-bit unsigned SEPARATED", images.open_picture, path)
    tifffile.imwrite(path, make.noise(22, 8, 8, 5), photometric="rgb", planarconfig="contig")
    refused("5 channels", images.open_picture, path)
    tifffile.imwrite(path, make.noise(22, 8, 8, 4), photometric="rgb", extrasamples=["unspecified"])
    refused("4 channels, not RGB with at most one declared as alpha", images.open_picture, path)
    Image.fromarray(make.noise(23, 8, 8, 3)).convert("LAB").save(path)
    refused("CIELAB colours", images.open_picture, path)


def test_transparency_is_refused_rather_than_dropped(tmp_path):
    array = make.noise(24, 4, 4, 4)
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(array))
    refused("transparent pixels", images.read, path)
    picture = images.open_picture(path)
    for suffix in (".jpg", ".bmp", ".ppm"):
        refused("holds no transparency", images.save_picture, tmp_path / f"a{suffix}", picture.pixels, picture)
        refused("holds no transparency", images.check_savable, tmp_path / f"a{suffix}", picture)
    array[..., 3] = 255
    path.write_bytes(make.png_file(array))
    np.testing.assert_array_equal(images.read(path), array[..., :3])
    assert same(path, tmp_path / "a.jpg").exists()


def test_unfit_pixels_and_names_are_refused(tmp_path):
    for value in (np.nan, np.inf):
        refused("not finite", images.write, tmp_path / "a.png", np.full((2, 2, 3), value, np.float32))
    refused("unknown picture format '.xyz'; use one of .png,", images.write, tmp_path / "a.xyz", make.noise(0, 2, 2, 3))
    wide = np.zeros((1, 16384, 3), np.uint8)
    refused("WEBP ends at 16383 pixels a side; write .tif", images.write, tmp_path / "a.webp", wide)
    with pytest.raises(UserError, match="must be uint8, uint16, or float"):
        images.to_float(np.zeros((2, 2, 3), np.int64))
    with pytest.raises(ValueError, match=r"must be H W 3; got \(2, 2\)"):
        images.write(tmp_path / "a.png", np.zeros((2, 2)))
    assert list(tmp_path.iterdir()) == []


def test_notes_too_long_for_jpeg_are_refused_not_dropped(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(make.png_file(make.noise(25, 4, 4, 3), make.itxt_xmp(b"x" * 70_000)))
    picture = images.open_picture(path)
    refused("XMP data is too long", images.save_picture, tmp_path / "a.jpg", picture.pixels, picture)


# --- writing safely ---


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write(path, make.noise(0, 4, 4, 3))
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused("No space left on device", images.write, path, make.noise(1, 4, 4, 3))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        images.write(tmp_path / "a.png", make.noise(0, 2, 2, 3))
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_names_of_greatest_length_and_any_script_work(tmp_path):
    for stem in ("x" * 251, "фото ü 写真", "a\nb"):
        images.write(tmp_path / f"{stem}.png", make.noise(0, 2, 2, 3))
        assert images.read(tmp_path / f"{stem}.png").shape == (2, 2, 3)


def test_pictures_can_be_read_in_many_threads_without_warnings(tmp_path):
    Image.fromarray(make.noise(26, 64, 64, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0damaged")
    failures = []

    def read():
        try:
            for _ in range(20):
                images.read(tmp_path / "a.jpg")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- finding ---


def test_find_lists_pictures_sorted_and_goes_below_only_when_asked(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.tif", ".hidden.png", ".cache/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert images.find(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]
    assert images.find(tmp_path, recursive=True) == [tmp_path / "a.jpg", tmp_path / "b.PNG", tmp_path / "sub/c.tif"]
    assert images.find(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    refused("no such file or folder", images.find, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("no pictures in this folder or below", images.find, tmp_path / "empty", True)


def test_a_link_to_nothing_is_found_and_then_named(tmp_path):
    for name, to in (("gone.png", "nowhere.png"), ("loop.png", "loop.png"), ("notes.txt", "nowhere")):
        (tmp_path / name).symlink_to(to)
    assert images.find(tmp_path) == [tmp_path / "gone.png", tmp_path / "loop.png"]
    assert images.find(tmp_path / "gone.png") == [tmp_path / "gone.png"]
    refused("gone.png: a link to nowhere.png, which is not there", images.open_picture, tmp_path / "gone.png")
    refused("loop.png: cannot be read", images.open_picture, tmp_path / "loop.png")
