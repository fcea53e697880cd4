"""Headers say what decoding will give."""

import struct
import time
import zlib

import pytest
from PIL import Image

from mprnet_jax import images
from mprnet_jax.images.files import open_picture
from mprnet_jax.images.headers import header_of
from mprnet_jax.support.errors import UserError


def jpeg_that_claims(path, width, height):
    """A small JPEG with the size of another one in its header, and turned by its EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (16, 8)).save(path, "JPEG", exif=exif)
    path.write_bytes(path.read_bytes().replace(struct.pack(">HH", 8, 16), struct.pack(">HH", height, width), 1))
    return path


def test_a_phones_200_megapixels_have_a_size(tmp_path):
    header = header_of(jpeg_that_claims(tmp_path / "a.jpg", 16320, 12240))
    assert (header.height, header.width) == (16320, 12240)


def test_more_pixels_than_can_be_opened_are_refused_by_the_header_too(tmp_path):
    with pytest.raises(UserError, match=r"a\.jpg: 60000x60000 is more than \d+ megapixels"):
        header_of(jpeg_that_claims(tmp_path / "a.jpg", 60000, 60000))


def test_what_is_no_picture_is_said_where_pillow_knows_not_all_formats(tmp_path, monkeypatch):
    """Pillow raises KeyError for a format that no plugin provides, HEIF without its extra."""
    Image.init()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="not a picture"):
        header_of(tmp_path / "a.png")
    with pytest.raises(UserError, match="not a picture"):
        images.read(tmp_path / "a.png")


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "avif"])
def test_several_frames_are_refused_by_the_header_as_by_decoding(tmp_path, ending):
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / f"a.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for read in (header_of, open_picture):
        with pytest.raises(UserError, match=r"a\.\w+: 3 frames or pages, .*; split it first"):
            read(path)
    frames[0].save(path, save_all=True)
    assert header_of(path).size == "16x8"


def test_the_turn_of_a_png_is_found_behind_its_count_of_frames(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=True, exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    counts = data.index(b"acTL")  # one frame that is shown, beside the picture for readers of plain PNG
    chunk = b"acTL" + struct.pack(">II", 1, 0)
    data = data[:counts] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[counts + 16 :]
    (tmp_path / "a.png").write_bytes(data)
    assert header_of(tmp_path / "a.png").size == "8x16"


def test_a_link_to_itself_gets_the_remedy_of_a_link(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(UserError, match=r"a\.png: cannot be read \(.*\); check the disk or the link"):
        header_of(tmp_path / "a.png")


@pytest.mark.parametrize("blocks", [100, 16_000])
def test_a_gif_of_endless_notes_is_refused_before_it_takes_long(tmp_path, blocks):
    """Pillow's time goes with the square of a comment: half a minute for 4 MB."""
    path = tmp_path / "a.gif"
    Image.new("P", (16, 8)).save(path)
    data = path.read_bytes()
    comment = b"!\xfe" + blocks * (b"\xff" + 255 * b"x") + b"\0"
    at = data.index(b",", 13 + 3 * 2)
    path.write_bytes(data[:at] + comment + data[at:])
    before = time.process_time()
    for read in (header_of, open_picture):
        if blocks == 100:
            read(path)
            continue
        with pytest.raises(UserError, match="a GIF with over 1,000,000 bytes of notes: damaged, or unsafe"):
            read(path)
    assert time.process_time() - before < 10
