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

from mprnet_jax.data.sources import layouts
from mprnet_jax.data.sources.pairs import Pair, require_partners, sizes_differ
from mprnet_jax.images.headers import read_header
from mprnet_jax.support.errors import UserError

INSTRUCTIONS = """\
{title}: download it from {homepage}, or in the layout of the MPRNet release, and put it into the manual folder,
unpacked or as zip archives. Expected below that folder, {folder}/ being optional:
{layout}{authors}"""


class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the sets share. A set is a folder with input/ and target/ for each split."""

    VERSION = tfds.core.Version("1.0.0")
    TITLE: ClassVar[str]
    HOMEPAGE: ClassVar[str]
    FOLDER: ClassVar[str]  # where the set lies below a root with several sets
    AUTHORS: ClassVar[str] = ""  # how the authors lay it out, if otherwise
    SPLITS: ClassVar[dict[str, tuple[str, int]]]  # name -> folder, pairs in the whole set

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        layout = [f"  {cls.FOLDER}/{folder}/input, target: {count} pairs" for folder, count in cls.SPLITS.values()]
        cls.MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS.format(
            title=cls.TITLE,
            homepage=cls.HOMEPAGE,
            folder=cls.FOLDER,
            layout="\n".join(layout),
            authors=f"\nor as its authors lay it out: {cls.AUTHORS}" if cls.AUTHORS else "",
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

    @classmethod
    def find_splits(cls, manual: Path, any_count: bool = False) -> dict[str, list[Pair]]:
        """The pairs of each split that the downloads have, sorted by name; {} if they have none.

        Raises UserError for a split with pictures without a partner, or with fewer pairs than the set has.
        """
        found = {}
        for split, (folder, expected) in cls.SPLITS.items():
            layout = find_split(manual, cls.name, folder)
            if layout is None:
                continue  # many people have the test set only
            matched = layout.match()
            require_partners(layout.folder, matched)
            if len(matched.pairs) != expected and not any_count:
                raise UserError(
                    f"{layout.folder}: {len(matched.pairs)} pairs, but {cls.TITLE} has {expected} in {split}; "
                    "complete the download, or build what is there with --any-count"
                )
            found[split] = matched.pairs
        return found

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        found = self.find_splits(Path(dl_manager.manual_dir), self._any_count)
        for split, pairs in found.items():
            self.info.metadata[split] = [pair.name for pair in pairs]
        return {split: self._generate_examples(pairs) for split, pairs in found.items()}

    def _generate_examples(self, pairs: list[Pair]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, pair in enumerate(pairs):
            sides = {"input": _read(pair.input), "target": _read(pair.target)}
            sizes = [_size(data, getattr(pair, side)) for side, data in sides.items()]
            if sizes[0] != sizes[1]:
                raise UserError(f"{pair.input}: {sizes_differ(*sizes)}")
            yield index, {"name": pair.name, **sides}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except Exception as error:  # zipfile raises nearly anything on damaged archives
        raise UserError(f"{path}: cannot be read ({error}); download it again") from error


def _size(data: bytes, path: Path) -> str:
    try:
        return read_header(io.BytesIO(data)).size
    except Exception as error:  # Pillow raises nearly anything on damaged headers
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None


def find_split(manual: Path, name: str, split: str) -> layouts.Layout | None:
    """The pairs of a split ("train", "test/Rain100H") of a set, in a folder or in a zip archive in it, or None.

    Looked for below `manual`, the root of an archive or a folder in that; or as an archive that is named after the
    split and holds input/ and target/ themselves. Raises UserError for an archive that is damaged.
    """
    if found := layouts.find_set(manual, name, split):
        return found
    last = split.rsplit("/", 1)[-1].lower()
    named_so = {last, *(f"{title.lower()}_{last}" for title in layouts.SETS[name])}
    for archive in sorted(manual.glob("*.zip")):
        try:
            root = zipfile.Path(archive)
        except (zipfile.BadZipFile, OSError):
            raise UserError(f"{archive}: not a whole zip archive; download it again") from None
        for base in (root, *(path for path in root.iterdir() if path.is_dir())):
            if found := layouts.find_set(base, name, split):
                return found
            if archive.stem.lower() in named_so and (found := layouts.find_layouts(base).get(layouts.WHOLE)):
                return found
    return None


class GoPro(PairsBuilder):
    """Motion blur: GoPro (Nah et al., CVPR 2017)."""

    name = "gopro"
    TITLE, FOLDER = "GoPro (motion deblurring)", "GoPro"
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/gopro"
    AUTHORS = "GOPRO_Large/{train,test}/SCENE/{blur,sharp}; blur_gamma is not used, as in the MPRNet release"
    SPLITS: ClassVar = {"train": ("train", 2103), "test": ("test", 1111)}


class HIDE(PairsBuilder):
    """Motion blur of people: HIDE (Shen et al., ICCV 2019)."""

    name = "hide"
    TITLE, FOLDER = "HIDE (motion deblurring of people)", "HIDE"
    HOMEPAGE = "https://github.com/joanshen0508/HA_deblur"
    AUTHORS = "HIDE_dataset/test/{test-close-ups,test-long-shot} and HIDE_dataset/GT"
    SPLITS: ClassVar = {"test": ("test", 2025)}


class RealBlurJ(PairsBuilder):
    """Real blur, JPEGs of the camera: RealBlur (Rim et al., ECCV 2020)."""

    name = "realblur_j"
    AUTHORS = "RealBlur/RealBlur_J_train_list.txt and RealBlur_J_test_list.txt, beside the folders that they name"
    TITLE, FOLDER = "RealBlur-J (blur of real cameras, JPEG)", "RealBlur_J"
    HOMEPAGE = "https://github.com/rimchang/RealBlur"
    SPLITS: ClassVar = {"train": ("train", 3758), "test": ("test", 980)}


class RealBlurR(PairsBuilder):
    """Real blur, from the camera's raw files: RealBlur (Rim et al., ECCV 2020)."""

    name = "realblur_r"
    AUTHORS = "RealBlur/RealBlur_R_train_list.txt and RealBlur_R_test_list.txt, beside the folders that they name"
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
    """Rain: the 13,712 training pairs of MSPFN (CVPR 2020) and the five test sets."""

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
