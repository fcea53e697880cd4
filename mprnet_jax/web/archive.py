"""All restored photos of a run as one zip, written while it is sent: nothing of it lies on the disk or in memory."""

import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

NAME = "restored_photos.zip"
ADDRESS = re.compile(rf"/(results/[0-9a-f]{{32}}/[0-9a-f]{{16}})/{re.escape(NAME)}")
PART = 1 << 20  # bytes that are read at once


def unlike(name: str, taken: set[str]) -> str:
    """A file's name, with a number behind its stem if one of `taken` is the same to any system; added to `taken`.

    Systems differ in whether A.png and a.png, or two ways to write an accent, are one name.
    """
    path, number, chosen = Path(name), 1, name
    while (key := unicodedata.normalize("NFC", chosen).casefold()) in taken:
        number += 1
        chosen = f"{path.stem}_{number}{path.suffix}"
    taken.add(key)
    return chosen


class _Sent(io.RawIOBase):
    """What a zip is written to: keeps the bytes until they are taken. As on a connection, nothing goes back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def stream(folder: Path) -> Iterator[bytes]:
    """A zip of a folder's files in the order of their names, in parts. Raises OSError if one has gone meanwhile.

    They are stored as they are: pictures are compressed already.
    """
    sent = _Sent()
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo.from_file(path, path.name, strict_timestamps=False)
            with path.open("rb") as file, archive.open(entry, "w") as written:
                while data := file.read(PART):
                    written.write(data)
                    yield sent.take()
    yield sent.take()
