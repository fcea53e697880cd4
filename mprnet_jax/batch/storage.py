"""Where pictures come from and go to when many machines restore them: folders that all of them see, and buckets."""

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from mprnet_jax import images
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra
from mprnet_jax.support.paths import as_path, is_address


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder, on a file system that every machine mounts at the same path."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def names(self) -> list[str]:
        """The pictures in it and below, relative to it. Raises UserError if there is none."""
        if self.root.is_file():
            raise UserError(f"{self.root}: a file; name the folder that it is in")
        return [path.relative_to(self.root).as_posix() for path in images.find(self.root, True, images.to_restore())]

    def existing(self, names: Iterable[str]) -> set[str]:
        """Those of the names that exist."""
        return {name for name in names if (self.root / name).exists()}

    def source(self, name: str, _scratch: Path) -> Path:
        """A file to read the picture from."""
        return self.root / name

    def target(self, name: str, _scratch: Path) -> Path:
        """A file to write the result to."""
        return self.root / name

    def deliver(self, _path: Path, _name: str, _replace: bool) -> None:
        """Nothing is to be done: `target` is in the folder itself."""


@dataclasses.dataclass(frozen=True)
class Bucket:
    """What pyarrow reaches by a URI: s3://bucket/prefix, gs://bucket/prefix, file:///folder ..."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    def names(self) -> list[str]:
        """The pictures below the URI, relative to it, without hidden ones. Raises UserError if there is none."""
        found = sorted(name for name in self._files(missing_ok=False) if _is_picture(name))
        if not found:
            raise UserError(
                f"{self.uri}: no pictures below it; it needs files that end in {', '.join(images.to_restore())}"
            )
        return found

    def existing(self, names: Iterable[str]) -> set[str]:
        """Those of the names that exist. Raises UserError if the URI cannot be listed."""
        return self._files(missing_ok=True).intersection(names)  # one listing instead of a question for each

    def source(self, name: str, scratch: Path) -> Path:
        """A copy of the picture in the folder `scratch`. Raises OSError."""
        system, base = self._open()
        path = scratch / "source" / PurePosixPath(name).name
        path.parent.mkdir(parents=True)
        with system.open_input_stream(f"{base}/{name}") as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file)
        return path

    def target(self, name: str, scratch: Path) -> Path:
        """A file in the folder `scratch` to write the result to, for `deliver`."""
        return scratch / "target" / PurePosixPath(name).name

    def deliver(self, path: Path, name: str, replace: bool) -> None:
        """Copy a result to its place, under another name until it is whole. Raises OSError, and without `replace`
        UserError if something is there: buckets know no rename that fails then, so it is looked for just before."""
        system, base = self._open()
        place = PurePosixPath(base) / name
        temporary = str(place.with_name(f".{place.name}.{path.stat().st_ino}.part"))
        system.create_dir(str(place.parent), recursive=True)
        try:
            with path.open("rb") as file, system.open_output_stream(temporary) as stream:
                shutil.copyfileobj(file, stream)
            if not replace and system.get_file_info(str(place)).is_file:
                raise UserError(
                    f"{self.uri}/{name}: another program wrote it meanwhile, and it stays; restore into another place"
                )
            system.move(temporary, str(place))
        except (OSError, UserError):
            if system.get_file_info(temporary).is_file:
                system.delete_file(temporary)
            raise

    def _open(self) -> tuple[Any, str]:
        """pyarrow's file system, and the path in it."""
        fs = import_extra("pyarrow.fs", "pyarrow", "ray")
        try:
            system, base = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.uri}: cannot be opened ({error}); check the address and the credentials") from error
        return system, base.rstrip("/")

    def _files(self, missing_ok: bool) -> set[str]:
        system, base = self._open()
        fs = import_extra("pyarrow.fs", "pyarrow", "ray")
        try:
            infos = system.get_file_info(fs.FileSelector(base, allow_not_found=missing_ok, recursive=True))
        except OSError as error:
            raise UserError(f"{self.uri}: cannot be listed ({error}); check the address and the credentials") from error
        return {info.path.removeprefix(base).lstrip("/") for info in infos if info.is_file}


Storage = Folder | Bucket


def open_storage(text: str) -> Storage:
    """A URI is a bucket, anything else a folder. Raises UserError for an empty name."""
    return Bucket(text.rstrip("/")) if is_address(text) else Folder(as_path(text).absolute())


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in images.to_restore() and not any(part.startswith(".") for part in path.parts)
