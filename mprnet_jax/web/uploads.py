"""Uploads: the files of a form go to disk as they arrive, and into the store when they are whole.

In place of Gradio's own, which counts nothing but what is finished, leaves the parts of an upload that was broken off,
and names files by their contents, so that two visitors share one.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mprnet_jax.web.bodies import Refused
from mprnet_jax.web.store import Full, Store

MOST_FILES = 20  # in one form, and photos that a visitor may choose at once
NAME_BYTES = 150  # of a file's name; longer ones are cut, so that room stays for "_restored"
FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "the disk of the machine that serves this page is full; try again later, or tell who runs it"
NO_ROOM = "too many photos are here at the moment; try again in some minutes"
FOLLOW_SECONDS = 0.1  # between two looks at an upload's progress
BEGIN_SECONDS = 3.0  # that its upload may begin after progress was asked for


class Progress:
    """What has arrived of the uploads under way, for who asks for it by an upload's id."""

    def __init__(self) -> None:
        self._arrived: dict[str, dict[str, int]] = {}  # bytes by file name, by id

    @contextlib.contextmanager
    def of(self, upload_id: str) -> Iterator[dict[str, int]]:
        """The counts of one upload, while it lasts."""
        arrived = self._arrived[upload_id] = {}
        try:
            yield arrived
        finally:
            if self._arrived.get(upload_id) is arrived:
                del self._arrived[upload_id]

    async def follow(self, upload_id: str) -> AsyncIterator[bytes]:
        """Server-sent events as Gradio's page reads them, until the upload is done."""
        told: dict[str, int] = {}
        for _ in range(round(BEGIN_SECONDS / FOLLOW_SECONDS)):
            if upload_id in self._arrived:
                break
            await asyncio.sleep(FOLLOW_SECONDS)
        while (arrived := self._arrived.get(upload_id)) is not None:
            for name, size in arrived.items():
                if size > told.get(name, 0):
                    yield _event({"msg": "update", "orig_name": name, "chunk_size": size - told.get(name, 0)})
                    told[name] = size
            await asyncio.sleep(FOLLOW_SECONDS)
        yield _event({"msg": "done"})


def _event(message: dict[str, object]) -> bytes:
    return f"data: {json.dumps(message)}\n\n".encode()


class Form:
    """A form under way: its files of at most `most` bytes each, below `folder`. Raises Refused for any other form."""

    def __init__(self, content_type: str, folder: Path, most: int, arrived: dict[str, int]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refused(400, "an upload must be a form with files (multipart/form-data)")
        self.files: list[Path] = []
        self._folder = folder
        self._most = most
        self._size = 0  # of the file under way
        self._arrived = arrived
        self._name, self._value, self._header = b"", b"", b""
        self._part: BinaryIO | None = None
        self._sent_as = ""  # the name of the file under way, as its browser knows it
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "headers_finished")}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as error:
            raise Refused(400, f"not a form that can be read ({error})") from error

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises Refused, OSError."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Refused(400, f"not a form that can be read ({error})") from error

    def finish(self) -> list[Path]:
        """The files, whole. Raises Refused if the form ends within one."""
        if self._part is not None:
            raise Refused(400, "the form ends within a file; send it again")
        return self.files

    def close(self) -> None:
        """Close the uploaded files."""
        if self._part is not None:
            self._part.close()

    def _part_begin(self) -> None:
        self._header = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._header = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._header)
        if b"filename" not in options:  # a field, which nothing here needs
            return
        if len(self.files) == MOST_FILES:
            raise Refused(400, f"at most {MOST_FILES} photos may come at once")
        folder = self._folder / str(len(self.files))
        folder.mkdir()
        self._sent_as = options[b"filename"].decode("utf-8", "replace")
        self.files.append(folder / safe_name(self._sent_as))
        self._part, self._size = self.files[-1].open("xb"), 0

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._size += end - start
            if self._size > self._most:
                raise Refused(413, too_large(self._most))
            self._part.write(data[start:end])
            self._arrived[self._sent_as] = self._arrived.get(self._sent_as, 0) + end - start

    def _part_end(self) -> None:
        if self._part is not None:
            part, self._part = self._part, None
            part.close()


def too_large(most: int) -> str:
    """The sentence for a file of more than `most` bytes."""
    return f"a photo may have at most {most / 1e6:g} MB"


def safe_name(name: str) -> str:
    """A file's name without folders, control characters and what some systems forbid; never empty, never too long."""
    text = name.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(c if c.isprintable() and c not in ':*?"<>|' else "_" for c in text).strip(" ")
    stem, ending = Path(text).stem, Path(text).suffix
    if not stem.strip("."):
        stem, ending = "photo", ""
    ending = ending if len(ending.encode()) <= NAME_BYTES // 2 else ""
    return stem.encode()[: NAME_BYTES - len(ending.encode())].decode("utf-8", "ignore") + ending


async def receive_files(
    content_type: str, body: AsyncIterator[bytes], size: int, most: int, store: Store, arrived: dict[str, int]
) -> list[Path]:
    """The files of a form, in the store, each in a folder whose name nobody can guess.

    `size` is what the form may have in bytes: that much room is reserved while it arrives; `most` is what each file may
    have. `arrived` counts bytes by file name. Raises Refused (the store or the disk is full, a file is too large, or it
    is no form), and what `body` raises; then nothing of it stays.
    """
    try:
        with store.incoming(size) as folder:
            form = Form(content_type, folder, most, arrived)
            try:
                async for data in body:
                    await asyncio.to_thread(form.write, data)  # the disk may make it wait
                return [store.keep(file) for file in form.finish()]
            finally:
                form.close()
    except Full:
        raise Refused(507, NO_ROOM) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Refused(507, DISK_FULL) from error
