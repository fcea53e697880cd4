"""All restored photos of a run as one zip: stored as they are, written while it is sent, for who knows its address."""

import asyncio
import io
import zipfile

import pytest

from mprnet_jax.web import archive
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.store import RESTORED, Store

PHOTOS = {"b_restored.png": bytes(range(256)) * 9, "a_restored.jpg": b"x" * 3_000_000, "\u00e9_restored.tif": b""}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, keep_seconds=60, most_bytes=1000)


@pytest.fixture
def run(store):
    """The folder of a run with results, beside what the page shows of them."""
    with store.visit("visitor").run() as (folder, _):
        for name, data in PHOTOS.items():
            (folder / RESTORED / name).write_bytes(data)
        (folder / "before0.jpg").touch()
    return folder


def get(store, path, method="GET"):
    """Status, headers and body of what the guard answers."""
    sent = []

    async def receive():
        if not sent or sent[-1].get("more_body", True):
            await asyncio.sleep(60)  # the browser stays
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def gradio(*_):
        raise AssertionError("Gradio does not know of it")

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(gradio, store, 1000)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def address(store, folder):
    return f"/{folder.relative_to(store.home).as_posix()}/restored_photos.zip"


def test_the_zip_has_the_results_and_nothing_else_as_they_are(store, run):
    status, headers, body = get(store, address(store, run))
    assert status == 200
    assert headers[b"content-disposition"] == b'attachment; filename="restored_photos.zip"'
    assert headers[b"cache-control"] == b"no-store"
    with zipfile.ZipFile(io.BytesIO(body)) as zipped:
        assert zipped.testzip() is None
        assert {name: zipped.read(name) for name in zipped.namelist()} == PHOTOS
        assert {entry.compress_type for entry in zipped.infolist()} == {zipfile.ZIP_STORED}
    assert len(body) < sum(map(len, PHOTOS.values())) + 1000


def test_a_zip_is_never_in_memory_as_a_whole(run):
    assert max(map(len, archive.stream(run / RESTORED))) < 1_100_000


def test_the_head_of_a_zip_costs_nothing(store, run):
    status, _, body = get(store, address(store, run), "HEAD")
    assert (status, body) == (200, b"")


def test_only_runs_have_zips(store, run):
    where = address(store, run)
    visit, name = where.split("/")[2:4]
    others = [
        where.replace(name, "0" * 16),
        where.replace(visit, "0" * 32),
        where.replace(name, ".."),
        where.replace(f"/{name}", ""),
        where.replace("results", "samples"),
        where + "/x",
        where.replace("restored_photos", RESTORED),
    ]
    for path in others:
        assert get(store, path)[0] == 404, path
    assert get(store, where, "POST")[0] == 404
    store.end("visitor")
    assert get(store, where)[0] == 404


def test_a_photo_that_goes_while_it_is_sent_leaves_a_zip_that_does_not_look_whole(store, run, capsys):
    parts = archive.stream(run / RESTORED)
    next(parts)
    (run / RESTORED / "b_restored.png").unlink()
    with pytest.raises(OSError, match="No such file"):
        list(parts)


def test_names_that_some_system_takes_for_one_get_numbers():
    taken = set()
    names = ["a.png", "A.PNG", "a.png", "a_2.png", "e\u0301.png", "\u00e9.png", "none"]
    assert [archive.unlike(name, taken) for name in names] == [
        "a.png",
        "A_2.PNG",
        "a_3.png",
        "a_2_2.png",
        "e\u0301.png",
        "\u00e9_2.png",
        "none",
    ]
