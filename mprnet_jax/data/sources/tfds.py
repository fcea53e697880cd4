"""Pairs of a dataset that mprnet_jax.data.build has written, by random access and without TensorFlow."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from mprnet_jax import images
from mprnet_jax.data.sources.built_sets import BUILD, choose_split, find_dataset
from mprnet_jax.data.sources.source import Example, of_one_size
from mprnet_jax.images.formats import codec as picture_files
from mprnet_jax.support.errors import UserError


class TfdsPairs:
    """Pairs of one split; `pictures` chooses some of them by index."""

    paired = True

    def __init__(
        self, directory: str | Path, split: str = "train", pictures: Sequence[int] | None = None, crops: int = 1
    ) -> None:
        found = find_dataset(directory)
        if found is None:
            raise UserError(f"{directory}: no dataset in it; build one with {BUILD}")
        self.directory = found
        self.split = split
        self.crops = crops
        choose_split(found, [split])
        self._all_names = self._require_whole()
        self.pictures = list(range(len(self._all_names)) if pictures is None else pictures)

    def _require_whole(self) -> list[str]:
        """The names of all pairs. Raises UserError if a file of the split is missing, cut off, or from elsewhere."""
        try:
            names = list(self._builder.info.metadata[self.split])
            shards = self._builder.info.splits[self.split].filepaths
            stored = sum(_records_in(Path(shard)) for shard in shards)
        except Exception as error:  # TFDS and its readers raise nearly anything on damaged files
            raise UserError(self._not_whole(str(error).splitlines()[0] if str(error) else repr(error))) from error
        if len(names) != stored:
            raise UserError(self._not_whole(f"{stored} of {len(names)} pairs are in its files"))
        return names

    def _not_whole(self, reason: str) -> str:
        return f"{self.directory}: split {self.split} is not whole ({reason}); build it again with {BUILD}"

    @functools.cached_property
    def _builder(self) -> tfds.core.DatasetBuilder:
        return tfds.builder_from_directory(self.directory)

    @functools.cached_property
    def _records(self) -> Sequence[dict[str, Any]]:
        # Not decoded by TFDS: it would cut 16 bits, and other files of ours are read by other rules.
        skip = tfds.decode.SkipDecoding()
        return self._builder.as_data_source(self.split, decoders={"input": skip, "target": skip})

    @property
    def names(self) -> list[str]:
        """Names of the pairs, as the data set was built with."""
        return [self._all_names[i] for i in self.pictures]

    def read(self, picture: int) -> Example:
        """{"input", "target"}: H W 3 uint8 of one size. Raises UserError that names the pair."""
        index = self.pictures[picture]
        name = f"{self.directory.parent.name}, {self.split}, {self._all_names[index]}"
        record = self._records[index]
        return of_one_size({side: _decode(record[side], f"{name}, {side}") for side in ("input", "target")}, name)

    def subset(self, pictures: Sequence[int]) -> "TfdsPairs":
        """Some of the pairs, by their numbers."""
        return TfdsPairs(self.directory, self.split, [self.pictures[i] for i in pictures], self.crops)

    def __repr__(self) -> str:
        return f"TfdsPairs({self.directory}, {self.split}: {len(self.pictures)} pairs, {self.crops} crops each)"

    def __getstate__(self) -> dict[str, Any]:
        # Each process opens the files for itself.
        return {key: value for key, value in self.__dict__.items() if key not in ("_builder", "_records")}


def _records_in(shard: Path) -> int:
    """Records of an array_record file; 0 if it is missing or cut off."""
    reader = ArrayRecordReader(str(shard))
    return reader.num_records() if reader.ok() else 0


def _decode(data: bytes, name: str) -> np.ndarray:
    """H W 3 uint8, as images.read gives it for a file."""
    try:
        pixels = picture_files.decode(io.BytesIO(data)).pixels
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise UserError(f"{name}: not a whole picture ({error}); download it and build the dataset again") from error
    return pixels if pixels.dtype == np.uint8 else images.to_uint8(images.to_float(pixels))
