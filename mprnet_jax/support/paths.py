"""Paths as users write them."""

import os
from pathlib import Path

from mprnet_jax.support.errors import UserError


def as_path(text: str | os.PathLike) -> Path:
    """A path as it is written, with `..` kept, and ~ at its begin for a home folder, which a shell leaves alone in
    --option=~/x.

    Raises UserError for no name at all and for an address such as https://x.
    """
    text = os.fspath(text)
    if not text:
        raise UserError("an empty name was given; name a file or a folder")
    if "\0" in text:
        raise UserError("a name with a zero byte in it was given, which no file has")
    if is_address(text) and not os.path.lexists(text):
        raise UserError(f"{text}: an address, not a file; download it and name the file")
    return Path(os.path.expanduser(text))


def is_address(text: str) -> bool:
    """Whether a text is a URI: https://x, s3://bucket/x."""
    scheme, found, _ = text.partition("://")
    return bool(found) and scheme.replace("+", "").isalnum()


def check_storable(path: Path) -> None:
    """Raise UserError for a path that array stores (TensorStore, Orbax) cannot write to.

    They take a backslash for a slash, and would write somewhere else without a word.
    """
    if "\\" in str(path):
        raise UserError(f"{path}: checkpoints cannot be written to a path with a backslash in it; choose another name")


def real(path: str | os.PathLike) -> Path:
    """Where a path leads, links and `..` resolved. A loop of links leads to itself: who opens it will say so."""
    return Path(os.path.realpath(path))
