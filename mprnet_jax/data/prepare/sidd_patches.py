"""Training patches of SIDD: random squares of the full-size photos, so that an epoch need not decode 16 megapixels
for each crop of 128 pixels."""

import dataclasses
import json
import re
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mprnet_jax import images
from mprnet_jax.images.headers import header_of
from mprnet_jax.support.atomic_files import whole_file
from mprnet_jax.support.errors import UserError

GT = re.compile(r"(?P<scene>.+)_GT_SRGB_(?P<number>.+)\.png", re.IGNORECASE)
SETTINGS_FILE = "patches.json"


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How the patches are cut: as for the official models."""

    patches: int = 300  # of each photo
    size: int = 256  # pixels
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Photo:
    """A pair of SIDD: a noisy photo and its ground truth."""

    name: str  # 0001_010: scene first, which the split by scene relies on
    noisy: Path
    clean: Path


def find_photos(folder: Path) -> list[Photo]:
    """The pairs anywhere below a folder, sorted by name. Raises UserError for none, or one without partner."""
    photos: dict[str, Photo] = {}
    for clean in sorted(folder.rglob("*")):
        match = GT.fullmatch(clean.name)
        if not match:
            continue
        noisy = clean.with_name(re.sub("_GT_", "_NOISY_", clean.name, flags=re.IGNORECASE))
        name = f"{match['scene']}_{match['number']}"
        if not noisy.is_file():
            raise UserError(f"{clean}: has no partner {noisy.name} beside it; complete the download")
        if name in photos:
            raise UserError(f"{clean} and {photos[name].clean} have the same name; remove one of the copies")
        photos[name] = Photo(name, noisy, clean)
    if not photos:
        raise UserError(f"{folder}: no *_GT_SRGB_*.PNG in it or below; give the folder of SIDD Medium sRGB, unpacked")
    return sorted(photos.values(), key=lambda photo: photo.name)


def positions(photo: Photo, cutting: Cutting) -> list[tuple[int, int]]:
    """Top and left of the patches: they depend on the seed, the photo's name and its size, and on nothing else."""
    header = header_of(photo.clean)
    if min(header.height, header.width) < cutting.size:
        raise UserError(f"{photo.clean}: {header.size} is smaller than a patch of {cutting.size}; choose a smaller one")
    rng = np.random.default_rng([cutting.seed, zlib.crc32(photo.name.encode())])
    tops = rng.integers(header.height - cutting.size + 1, size=cutting.patches)
    lefts = rng.integers(header.width - cutting.size + 1, size=cutting.patches)
    return list(zip(tops.tolist(), lefts.tolist(), strict=True))


def cut_photo(photo: Photo, output: Path, cutting: Cutting) -> int:
    """Write the patches of one photo that are not there yet, and return their number."""
    digits = len(str(cutting.patches - 1))
    missing = []
    for number, position in enumerate(positions(photo, cutting)):
        name = f"{photo.name}-{number:0{digits}d}.png"
        paths = {side: output / side / name for side in ("target", "input")}
        missing += [(side, path, position) for side, path in paths.items() if not path.exists()]
    if not missing:
        return 0
    pictures = {"target": images.read(photo.clean), "input": images.read(photo.noisy)}
    if pictures["target"].shape != pictures["input"].shape:
        raise UserError(f"{photo.noisy}: of another size than {photo.clean.name}; download both again")
    for side, path, (top, left) in missing:
        images.write(path, pictures[side][top : top + cutting.size, left : left + cutting.size])
    return len({path.name for _, path, _ in missing})


def cut_patches(folder: Path, output: Path, cutting: Cutting) -> tuple[int, int]:
    """Cut all photos below a folder into output/input/ and output/target/; files that are there stay as they are.

    Returns the number of patches written now, and in all. Raises UserError if the output was cut in another way.
    """
    photos = find_photos(folder)
    _claim(output, cutting)
    bar = tqdm(photos, unit="photo", desc="cutting")
    written = sum(cut_photo(photo, output, cutting) for photo in bar)
    return written, len(photos) * cutting.patches


def _claim(output: Path, cutting: Cutting) -> None:
    """Write down how the patches of a folder are cut, or compare with what is written there."""
    path, new = output / SETTINGS_FILE, dataclasses.asdict(cutting)
    if path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: damaged ({error}); choose another --output, or remove it") from error
        if old != new:
            raise UserError(f"{output}: its patches are cut with {old}, not {new}; choose another --output")
        return
    if any((output / side).exists() for side in ("input", "target")):
        raise UserError(f"{output}: has input/ or target/ of another origin; choose another --output")
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(new) + "\n", encoding="utf-8")
