"""TFDS builders of the sets that MPRNet is trained and tested on, from what a user has downloaded.

The files' bytes are stored as they are, in array_record, in the order of their names, and are read without TensorFlow
(tfds.TfdsPairs). Build with `python -m mprnet_jax.data.build`: the command line of TFDS needs TensorFlow.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from mprnet_jax.data.sources.pairs import Pair, match_by_stem, require_partners
from mprnet_jax.images.headers import read_header
from mprnet_jax.support.errors import UserError

INSTRUCTIONS = """\
{title}: download it from {homepage}, or in the layout of the MPRNet release, and put it into the manual folder,
unpacked or as zip archives. Expected below that folder, {folder}/ being optional:
{layout}"""


class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the sets share. A set is a folder with input/ and target/ for each split."""

    VERSION = tfds.core.Version("1.0.0")
    TITLE: ClassVar[str]
    HOMEPAGE: ClassVar[str]
    FOLDER: ClassVar[str]  # where the set lies below a root with several sets
    SPLITS: ClassVar[dict[str, tuple[str, int]]]  # name -> folder, pairs in the whole set

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        layout = [f"  {cls.FOLDER}/{folder}/input, target: {count} pairs" for folder, count in cls.SPLITS.values()]
        cls.MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS.format(
            title=cls.TITLE, homepage=cls.HOMEPAGE, folder=cls.FOLDER, layout="\n".join(layout)
        )

    def __init__(self, *, file_format: str = "array_record", any_count: bool = False, **kwargs: Any) -> None:
        """`any_count` accepts splits that are not whole."""
        self._any_count = any_count
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, 3))
        return self.dataset_info_from_configs(
            description=f"{self.TITLE}: pairs of degraded and clean pictures, in the order of their names.",
            homepage=self.HOMEPAGE,
            features=tfds.features.FeaturesDict({"name": tfds.features.Text(), "input": image, "target": image}),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),  # split -> names of the pairs
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        manual = Path(dl_manager.manual_dir)
        generators = {}
        for split, (folder, expected) in self.SPLITS.items():
            found = find_split(manual, self.FOLDER, folder)
            if found is None:
                continue  # many people have the test set only
            matched = match_by_stem(found)
            require_partners(found, matched)
            if len(matched.pairs) != expected and not self._any_count:
                raise UserError(
                    f"{found}: {len(matched.pairs)} pairs, but {self.TITLE} has {expected} in {split}; complete the "
                    "download, or build what is there with --any-count"
                )
            self.info.metadata[split] = [pair.name for pair in matched.pairs]
            generators[split] = self._generate_examples(matched.pairs)
        if not generators:
            raise UserError(f"{manual}: nothing of {self.TITLE} in it\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        return generators

    def _generate_examples(self, pairs: list[Pair]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, pair in enumerate(pairs):
            sides = {"input": pair.input.read_bytes(), "target": pair.target.read_bytes()}
            sizes = [_size(data, getattr(pair, side)) for side, data in sides.items()]
            if sizes[0] != sizes[1]:
                raise UserError(f"{pair.input}: input is {sizes[0]}, target {sizes[1]}; both must be of one size")
            yield index, {"name": pair.name, **sides}


def _size(data: bytes, path: Path) -> str:
    try:
        return read_header(io.BytesIO(data)).size
    except Exception as error:  # Pillow raises nearly anything on damaged headers
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None


def find_split(manual: Path, folder: str, split: str) -> Path | None:
    """The folder with input/ and target/ of a split, in a folder or in a zip archive in it, or None.

    `split` is "train" or "test/Rain100H". Found as FOLDER/split, split or split/FOLDER, for the latter two also by the
    last part of `split` alone, below `manual`, the root of an archive or a folder in that; or as an archive that is
    named after the split and holds input/ and target/ themselves.
    """
    last = split.rsplit("/", 1)[-1]
    places = [f"{folder}/{split}", f"{split}/{folder}", split, f"{folder}/{last}", last]
    candidates = [manual / place for place in places]
    for archive in sorted(manual.glob("*.zip")):
        try:
            root = zipfile.Path(archive)
        except zipfile.BadZipFile:
            raise UserError(f"{archive}: not a whole zip archive; download it again") from None
        for base in (root, *(path for path in root.iterdir() if path.is_dir())):
            candidates += [base.joinpath(*place.split("/")) for place in places]
            if archive.stem.lower() in {last.lower(), f"{folder}_{last}".lower()}:
                candidates.append(base)
    return next((path for path in candidates if (path / "input").is_dir() and (path / "target").is_dir()), None)


class GoPro(PairsBuilder):
    name = "gopro"
    TITLE, FOLDER = "GoPro (motion deblurring)", "GoPro"
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/gopro"
    SPLITS: ClassVar = {"train": ("train", 2103), "test": ("test", 1111)}


class HIDE(PairsBuilder):
    name = "hide"
    TITLE, FOLDER = "HIDE (motion deblurring of people)", "HIDE"
    HOMEPAGE = "https://github.com/joanshen0508/HA_deblur"
    SPLITS: ClassVar = {"test": ("test", 2025)}


class RealBlurJ(PairsBuilder):
    name = "realblur_j"
    TITLE, FOLDER = "RealBlur-J (blur of real cameras, JPEG)", "RealBlur_J"
    HOMEPAGE = "https://github.com/rimchang/RealBlur"
    SPLITS: ClassVar = {"train": ("train", 3758), "test": ("test", 980)}


class RealBlurR(PairsBuilder):
    name = "realblur_r"
    TITLE, FOLDER = "RealBlur-R (blur of real cameras, raw)", "RealBlur_R"
    HOMEPAGE = "https://github.com/rimchang/RealBlur"
    SPLITS: ClassVar = {"train": ("train", 3758), "test": ("test", 980)}


class SIDD(PairsBuilder):
    """The training patches are those of tools/prepare_sidd.py: whole photos of 16 megapixels would be decoded for
    every crop."""

    name = "sidd"
    TITLE, FOLDER = "SIDD (noise of real phones; patches by tools/prepare_sidd.py)", "SIDD"
    HOMEPAGE = "https://abdokamel.github.io/sidd"
    SPLITS: ClassVar = {"train": ("train", 320 * 300), "val": ("val", 1280)}


class Rain13K(PairsBuilder):
    name = "rain13k"
    TITLE, FOLDER = "Rain13K (rain streaks) and its five test sets", "Rain13K"
    HOMEPAGE = "https://github.com/swz30/MPRNet"
    SPLITS: ClassVar = {
        "train": ("train", 13712),
        "test100": ("test/Test100", 100),
        "rain100h": ("test/Rain100H", 100),
        "rain100l": ("test/Rain100L", 100),
        "test1200": ("test/Test1200", 1200),
        "test2800": ("test/Test2800", 2800),
    }


BUILDERS = {builder.name: builder for builder in (GoPro, HIDE, RealBlurJ, RealBlurR, SIDD, Rain13K)}
