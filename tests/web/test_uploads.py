"""Bodies as they arrive: bounded in bytes, in time and by the room in the store; what breaks off leaves nothing."""

import asyncio
import errno
import json
import os

import pytest

from mprnet_jax.web import uploads
from mprnet_jax.web.bodies import Pace
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.store import Store

MOST = 100_000
START = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n'
END = b"\r\n--b--\r\n"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, keep_seconds=60, most_bytes=2 * MOST)


def files(store):
    return [path for path in store.home.rglob("*") if path.is_file()]


def form(name=b"a.png", data=b"picture"):
    return START % name + data + END


class Visitor:
    """Sends `parts` of a body, then what `then` is, and keeps the answer."""

    def __init__(self, parts, then=None):
        self.parts, self.then, self.sent, self.taken = list(parts), then, [], 0

    async def receive(self):
        if self.parts:
            body = self.parts.pop(0)
            self.taken += len(body)
            return {"type": "http.request", "body": body, "more_body": bool(self.parts) or self.then is not None}
        if self.then == "stalls":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def answer(self):
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return self.sent[0]["status"], json.loads(body)


async def refuse_all(scope, receive, send):
    raise AssertionError("an upload never gets to Gradio")


def guard_of(store, **options):
    return Guard(refuse_all, store, most_bytes=MOST, **options)


def scope_of(length, path="/gradio_api/upload", **more):
    headers = {
        "host": "127.0.0.1:7860",
        "content-length": str(length),
        "content-type": "multipart/form-data; boundary=b",
    }
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in (headers | more).items()]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": pairs}


def post(store, *parts, length=None, then=None, **options):
    visitor = Visitor(parts, then)
    asyncio.run(guard_of(store, **options)(scope_of(length or sum(map(len, parts))), visitor.receive, visitor.send))
    return visitor


def test_a_file_comes_whole_however_the_body_is_cut(store):
    body = form(data=bytes(range(256)) * 4)
    visitor = post(store, *(body[i : i + 7] for i in range(0, len(body), 7)))
    status, (path,) = visitor.answer
    assert status == 200
    assert path.endswith("/a.png")
    assert [file.read_bytes() for file in files(store)] == [bytes(range(256)) * 4]
    assert str(files(store)[0]) == path


def test_the_same_photo_twice_is_two_files_that_nobody_can_guess(store):
    (first,), (second,) = (post(store, form()).answer[1] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("sent_as", "kept_as"),
    [
        (b"../../evil.png", "evil.png"),
        (b"C:\\photos\\cat.png", "cat.png"),
        (b"..", "photo"),
        (b"", "photo"),
        (b"a\0b\x1b[31m.png", "a_b_[31m.png"),
        (b"\xff\xfe.png", "\ufffd\ufffd.png"),
        ("é".encode() * 200 + b".png", "é" * 73 + ".png"),
    ],
)
def test_a_files_name_has_no_folders_and_no_control_characters_and_fits_a_disk(store, sent_as, kept_as):
    status, (path,) = post(store, form(sent_as)).answer
    assert status == 200
    assert path.rsplit("/", 1)[1] == kept_as
    assert len(files(store)) == 1


def test_more_bytes_than_a_request_says_are_refused_as_they_arrive(store):
    visitor = post(store, START % b"a.png", *[bytes(10_000)] * 400, length=20_000)
    assert visitor.answer == (413, {"detail": "the request is too long"})
    assert files(store) == []


def test_each_of_several_photos_may_have_the_most_bytes_and_none_more(store):
    def several(*sizes):
        return [part for size in sizes for part in (START % b"a.png", bytes(size), b"\r\n")] + [b"--b--\r\n"]

    status, paths = post(store, *several(MOST - 50_000, 10, MOST)).answer
    assert status == 200
    assert [os.path.getsize(path) for path in paths] == [MOST - 50_000, 10, MOST]
    visitor = post(Store(store.home / "other", 60, 9 * MOST), *several(10, MOST + 1, 10))
    assert visitor.answer == (413, {"detail": "a photo may have at most 0.1 MB"})
    assert len(files(store)) == 3


def test_a_request_with_two_lengths_is_refused(store):
    guard = guard_of(store)
    both = {"content-length": "10", "transfer-encoding": "chunked"}
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        assert guard.refusal("POST", path, both)[0] == 400
    for length in ("-1", "²", "9" * 30):
        assert guard.refusal("POST", "/gradio_api/upload", {"content-length": length})[0] in (411, 413)


def test_a_call_is_bounded_as_it_arrives(store):
    visitor = Visitor([b'{"a":"', *[bytes(10_000)] * 400])
    asyncio.run(guard_of(store)(scope_of(10, "/gradio_api/queue/join"), visitor.receive, visitor.send))
    assert visitor.answer == (413, {"detail": "the request is too long"})


@pytest.mark.parametrize(
    ("grace", "parts"), [(0.05, [START % b"a.png"]), (0.0, [START % b"a.png", b"x", b"x"])], ids=["stalls", "trickles"]
)
def test_an_upload_that_is_too_slow_ends_and_leaves_nothing(store, grace, parts, monkeypatch):
    monkeypatch.setattr("mprnet_jax.web.guard.DROP_SECONDS", 0.05)
    visitor = post(store, *parts, length=1000, then="stalls", pace=Pace(grace, rate=10_000, longest=5))
    assert visitor.answer[0] == 408
    assert files(store) == []
    assert store.has_room(2 * MOST)


def test_a_slow_line_that_works_is_given_more_time_but_not_for_ever():
    pace = Pace(grace=20, rate=1000, longest=100)
    assert [pace.seconds(size) for size in (0, 10_000, 10**9)] == [20, 30, 100]


@pytest.mark.parametrize("then", [None, "leaves"])
def test_an_upload_that_is_broken_off_leaves_nothing(store, then, capsys):
    visitor = post(store, START % b"a.png", bytes(500), length=1000, then=then)
    assert visitor.sent == [] if then else visitor.answer[0] == 400
    assert files(store) == []
    assert store.has_room(2 * MOST)
    assert capsys.readouterr().err == ""


def test_uploads_under_way_count_for_the_room_there_is(store):
    with store.incoming(MOST), store.incoming(MOST - 10_000):
        assert store.has_room(10_000)
        assert not store.has_room(10_001)
        visitor = post(store, form(data=bytes(20_000)))
        assert visitor.answer == (507, {"detail": "too many photos are here at the moment; try again in some minutes"})
    assert post(store, form(data=bytes(20_000))).answer[0] == 200


def test_a_full_disk_is_a_sentence(store, monkeypatch):
    def full(form, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads.Form, "write", full)
    status, answer = post(store, form()).answer
    assert status == 507
    assert "disk" in answer["detail"]
    assert "full" in answer["detail"]
    assert files(store) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x" * 100, "multipart/form-data; boundary=b"),
        (form(), "text/plain"),
        (form(), "multipart/form-data"),
        (form(), "multipart/form-data; boundary=" + "b" * 5000),
        (form() * 12, "multipart/form-data; boundary=b"),
        ((START % b"a.png" + b"x\r\n") * 21 + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\nX: " + b"y" * 9000 + b"\r\n\r\nx" + END, "multipart/form-data; boundary=b"),
    ],
)
def test_what_is_no_form_with_a_few_files_is_refused(store, body, kind, capsys):
    visitor = Visitor([body])
    scope = scope_of(len(body))
    scope["headers"][2] = (b"content-type", kind.encode())
    asyncio.run(guard_of(store)(scope, visitor.receive, visitor.send))
    status, answer = visitor.answer
    if status == 200:  # what stands behind the end of a form does not count
        assert len(answer) == 1
    else:
        assert status == 400
        assert files(store) == []
    assert capsys.readouterr().err == ""


def test_progress_is_told_while_an_upload_lasts():
    async def follow():
        progress, told = uploads.Progress(), []
        with progress.of("x") as arrived:
            arrived["a.png"] = 10
            async for event in progress.follow("x"):
                told.append(json.loads(event.removeprefix(b"data: ")))
                if len(told) == 1:
                    arrived["a.png"] = 25
                if len(told) == 2:
                    del progress._arrived["x"]
        return told

    sizes = [event.get("chunk_size") for event in asyncio.run(follow())]
    assert sizes == [10, 15, None]
