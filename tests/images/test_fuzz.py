"""Hundreds of pictures of every kind through open_picture and save_picture, and hundreds of damaged ones."""

import io

import numpy as np
import pytest
import tifffile
from attacks.mutations import damage
from PIL import Image

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from tests.helpers import picture_makers as make

CASES, DAMAGED = 500, 400
SIDES = (1, 2, 3, 4, 5, 7, 8, 16, 31, 33)
OUTPUTS = (".png", ".tif", ".webp", ".bmp", ".ppm")
WITH_ALPHA, WITH_16_BITS, WITH_GREY = (
    (".png", ".tif", ".webp"),
    (".png", ".tif", ".ppm"),
    (".png", ".tif", ".bmp", ".ppm"),
)
TURNS = (  # EXIF orientations 1 to 8, as Pillow's operations
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def turned(array, orientation):
    """H W C turned upright by Pillow, channel by channel; mode I holds 16 bits."""
    if orientation == 1:
        return array
    planes = [Image.fromarray(plane.astype(np.int32)) for plane in np.moveaxis(array, 2, 0)]
    return np.stack([np.asarray(plane.transpose(TURNS[orientation - 1])) for plane in planes], 2).astype(array.dtype)


class Case:
    """A random picture file: its bytes, what it shows, and what it carries."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.suffix = rng.choice([".png", ".tif", ".webp", ".bmp", ".ppm"], p=[0.4, 0.3, 0.14, 0.06, 0.1])
        height, width = rng.choice(SIDES, 2)
        dtype = np.uint16 if self.suffix in WITH_16_BITS and rng.random() < 0.5 else np.uint8
        channels = {".png": (1, 2, 3, 4), ".tif": (1, 2, 3, 4), ".webp": (3, 4)}.get(self.suffix, (1, 3))
        self.stored = make.noise(seed, height, width, int(rng.choice(channels)), dtype=dtype)
        if self.stored.shape[2] in (2, 4):
            self.stored[0, 0, -1] = 0
        notes = {".png": "exif icc xmp dpi text", ".tif": "exif icc xmp dpi", ".webp": "exif icc xmp", ".bmp": "dpi"}
        self.notes = {note for note in notes.get(self.suffix, "").split() if rng.random() < 0.5}
        self.orientation = int(rng.integers(1, 9)) if "exif" in self.notes else 1
        self.icc = make.rgb_profile() if self.stored.shape[2] > 2 else make.grey_profile()
        self.exif = make.exif_block(self.orientation, rng.choice(["<", ">"]))
        self.shown = turned(self.stored, self.orientation)
        self.data = getattr(self, self.suffix[1:])(rng)

    def png(self, rng):
        chunks = {
            "exif": (b"eXIf", self.exif),
            "icc": make.iccp(self.icc),
            "xmp": make.itxt_xmp(make.XMP % self.orientation),
            "dpi": make.phys(),
            "text": (b"tEXt", b"Author\0Ada"),
        }
        chosen = [chunks[note] for note in sorted(self.notes)]
        channels, interlace = self.stored.shape[2], bool(rng.random() < 0.3)
        if self.stored.dtype == np.uint8 and channels in (1, 3) and rng.random() < 0.5:
            bits = int(rng.choice([1, 2, 4, 8] if channels == 3 else [1, 2, 4]))
            values = rng.integers(0, 2**bits, (*self.stored.shape[:2], 1)).astype(np.uint8)
            palette = [tuple(colour) for colour in make.noise(0, 2**bits, 3).tolist()] if channels == 3 else None
            self.stored = np.array(palette, np.uint8)[values[..., 0]] if palette else values * (255 // (2**bits - 1))
            self.stored = self.stored.astype(np.uint8)
            self.shown = turned(self.stored, self.orientation)
            return make.png_file(values, *chosen, bits=bits, palette=palette, interlace=interlace)
        return make.png_file(self.stored, *chosen, interlace=interlace)

    def tif(self, rng):
        file, channels = io.BytesIO(), self.stored.shape[2]
        if self.stored.dtype == np.uint8 and rng.random() < 0.7:
            options = {"dpi": make.DPI} if "dpi" in self.notes else {}
            if "icc" in self.notes:
                options["icc_profile"] = self.icc
            tags = Image.Exif()
            if "exif" in self.notes:
                tags.load(b"Exif\0\0" + self.exif)
            if "xmp" in self.notes:
                tags[700] = make.XMP % self.orientation
            if tags:
                options["exif"] = tags
            compression = "raw" if tags else rng.choice(["raw", "tiff_lzw", "packbits"])  # Pillow fails to write both
            self.image().save(file, "TIFF", compression=compression, **options)
            return file.getvalue()
        self.notes -= {"exif"}
        self.orientation, self.shown = 1, self.stored
        options = {"resolution": make.DPI, "resolutionunit": "INCH"} if "dpi" in self.notes else {}
        if "xmp" in self.notes:
            options["extratags"] = [(700, 1, None, make.XMP % 1, True)]
        if channels > 1:
            options["planarconfig"] = "contig"
        if channels in (2, 4):
            options["extrasamples"] = ["unassalpha"]
        if rng.random() < 0.3:
            options["tile"] = (16, 16)
        tifffile.imwrite(
            file,
            self.stored if channels > 1 else self.stored[..., 0],
            photometric="minisblack" if channels < 3 else "rgb",
            compression=rng.choice(["zlib", "lzw", "zstd"]),
            byteorder=rng.choice(["<", ">"]),
            bigtiff=bool(rng.random() < 0.3),
            iccprofile=self.icc if "icc" in self.notes else None,
            metadata=None,
            **options,
        )
        return file.getvalue()

    def webp(self, rng):
        file = io.BytesIO()
        notes = {"exif": self.exif, "icc_profile": self.icc, "xmp": make.XMP % self.orientation}
        chosen = {name: note for name, note in notes.items() if name.split("_")[0] in self.notes}
        self.image().save(file, "WEBP", lossless=True, exact=True, **chosen)
        return file.getvalue()

    def bmp(self, rng):
        file = io.BytesIO()
        self.image().save(file, "BMP", **({"dpi": make.DPI} if "dpi" in self.notes else {}))
        return file.getvalue()

    def ppm(self, rng):
        height, width, channels = self.stored.shape
        peak = np.iinfo(self.stored.dtype).max
        header = f"P{5 if channels == 1 else 6} # made\n{width}\t{height}\n{peak}\n"
        return header.encode() + self.stored.astype(self.stored.dtype.newbyteorder(">")).tobytes()

    def image(self):
        array = self.stored
        return Image.fromarray(array if array.shape[2] > 1 else array[..., 0])


@pytest.mark.parametrize("seed", range(CASES))
def test_everything_comes_back(tmp_path, seed):
    case = Case(seed)
    path = tmp_path / f"in{case.suffix}"
    path.write_bytes(case.data)
    picture = images.open_picture(path)
    shown = case.shown
    channels, dtype = shown.shape[2], shown.dtype
    assert picture.pixels.dtype == dtype
    assert picture.mode == ("grey" if channels < 3 else "rgb")

    suffix = OUTPUTS[seed % len(OUTPUTS)]
    out = tmp_path / f"out{suffix}"
    if channels in (2, 4) and suffix not in WITH_ALPHA:
        with pytest.raises(UserError, match="holds no transparency"):
            images.save_picture(out, picture.pixels, picture)
        assert not out.exists()
        return
    # Floats, as a restoration gives them, or the whole numbers themselves.
    images.save_picture(out, images.to_float(picture.pixels) if seed % 3 else picture.pixels, picture)

    expected = shown
    if suffix not in WITH_16_BITS and dtype == np.uint16:
        expected = ((shown.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if suffix not in WITH_GREY and channels < 3:
        if "icc" in case.notes:
            expected = None  # converted to sRGB; test_files.py
        else:
            expected = np.concatenate([expected[..., :1]] * 3 + [expected[..., 1:]], axis=2)
    if expected is not None:
        written = make.pixels(out)
        assert written.dtype == expected.dtype
        np.testing.assert_array_equal(written, expected)

    if suffix == ".tif" and channels == 2 and dtype == np.uint16:
        return  # Pillow, which reads the notes, cannot open it
    with Image.open(out) as written:
        info = written.info
        assert written.size == shown.shape[1::-1]
    if suffix in WITH_ALPHA:
        if "exif" in case.notes:
            assert make.exif_facts(out) == (*make.exif_facts(path)[:-1], 1)
            assert None not in make.exif_facts(out)
        if "icc" in case.notes and expected is not None:
            assert info["icc_profile"] == case.icc
        if "xmp" in case.notes:
            assert info["xmp"] == make.XMP % 1
    if suffix in (".png", ".tif", ".bmp") and "dpi" in case.notes:
        assert info["dpi"] == pytest.approx(make.DPI if case.orientation < 5 else make.DPI[::-1], abs=0.03)
    if suffix == case.suffix == ".png" and "text" in case.notes:
        assert (b"tEXt", b"Author\0Ada") in make.png_chunks(out)


@pytest.mark.parametrize("seed", range(DAMAGED))
def test_damaged_files_open_or_are_refused_by_name_in_one_line(tmp_path, capfd, seed):
    rng = np.random.default_rng(10_000 + seed)
    data = Case(seed % CASES).data
    if seed % 4 == 0:
        file = io.BytesIO()
        exif = b"Exif\0\0" + make.exif_block()
        Image.fromarray(make.noise(seed, 20, 30, 3)).save(file, "JPEG", exif=exif, icc_profile=make.rgb_profile())
        data = file.getvalue()
    path = tmp_path / "a.png"
    path.write_bytes(damage(data, rng))
    complaint = f"{path}: "
    try:
        picture = images.open_picture(path)
        images.save_picture(tmp_path / "out.tif", picture.pixels, picture)
        images.save_picture(tmp_path / "out.png", picture.pixels, picture)
        assert images.open_picture(tmp_path / "out.tif").pixels.shape == picture.pixels.shape
    except UserError as error:
        complaint = str(error)
    assert complaint.startswith((f"{path}: ", f"{tmp_path}/out."))
    assert "\n" not in complaint
    assert capfd.readouterr() == ("", "")
