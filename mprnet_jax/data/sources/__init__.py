"""Where pictures to train on lie: folders of pairs, of clean photos, built data sets."""

from mprnet_jax.data.sources.source import (
    CleanPhotos,
    Example,
    Pairs,
    Source,
    length,
    of_one_size,
    read_names,
)

__all__ = ["CleanPhotos", "Example", "Pairs", "Source", "length", "of_one_size", "read_names"]
