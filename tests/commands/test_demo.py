"""The page over HTTP: results equal the command's, limits, nothing but its own folder is read, nothing stays."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from mprnet_jax import demo, images
from mprnet_jax.checkpoints.pretrained import PRETRAINED
from mprnet_jax.restoring import Restorer
from mprnet_jax.support.errors import UserError
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.models import choose, load_models, tasks
from mprnet_jax.web.store import Store
from tests.helpers.demo_server import serving, tiny_bundle, upload, wait_until
from tests.helpers.picture_makers import exif_block, exif_facts, iccp, png_dict, png_file, png_pixels, rgb_profile

MEGABYTES, MEGAPIXELS, QUEUE = 2, 20, 24


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    limits = ("--max-megabytes", MEGABYTES, "--max-megapixels", MEGAPIXELS, "--queue", QUEUE, "--tile", 32)
    with serving(tmp_path_factory.mktemp("demo"), *map(str, limits)) as running:
        yield running
        # It has to end cleanly, which `serving` sees to, in the middle of the work, too.
        join(running, upload(running, "last.png", png_file(np.zeros((480, 480, 3), np.uint8))), self_ensemble=True)
        wait_until(lambda: any(folder.is_dir() for folder in running.home.glob("results/*/*")))
        time.sleep(0.5)


@pytest.fixture(scope="module")
def client(server):
    client = Client(server.url, verbose=False)
    yield client
    client.close()


def restore(client, photo, **options):
    """The restored file's path."""
    options = {"task": "other", "model": "tiny", "stage": 1} | options
    return Path(client.predict(handle_file(photo), api_name="/restore", **options)[0])


def join(server, photo, **options):
    """Join the queue as a program without Gradio does."""
    options = {"task": "other", "model": "tiny", "stage": 1} | options
    body = {"photo": {"path": str(photo), "meta": {"_type": "gradio.FileData"}}} | options
    return httpx.post(f"{server.url}/gradio_api/call/v2/restore", json=body, timeout=60)


def ask(server, photo, **options):
    """Join the queue and wait for the answer: its event and data."""
    joined = join(server, photo, **options)
    if joined.status_code != 200:
        return joined.status_code, joined.json()["detail"]
    text = httpx.get(f"{server.url}/gradio_api/call/restore/{joined.json()['event_id']}", timeout=120).text
    event, data = (line.split(": ", 1)[1] for line in text.strip().splitlines()[-2:])
    return event, json.loads(data)


def by_command(server, photo, folder, *options):
    """In a process of its own, as the page is: this one has other devices, for which XLA takes other kernels."""
    where = ("--checkpoint", str(server.checkpoint), "--input", str(photo), "--output", str(folder))
    command = [sys.executable, "-m", "mprnet_jax.infer", *where, "--tile", "32", *options]
    subprocess.run(command, check=True, capture_output=True)
    return folder / photo.name


def deep_png(photo):
    alpha = np.linspace(0, 65535, 32 * 40).astype(np.uint16).reshape(32, 40, 1)
    pixels = np.concatenate((photo[:32, :40].astype(np.uint16) * 257, alpha), axis=2)
    return png_file(pixels, iccp(rgb_profile()), (b"eXIf", exif_block()))


def jpeg(photo):
    file = io.BytesIO()
    exif = b"Exif\0\0" + exif_block()
    Image.fromarray(photo[:32, :40]).save(file, "JPEG", exif=exif, icc_profile=rgb_profile(), quality=90)
    return file.getvalue()


def tiff(photo):
    file = io.BytesIO()
    Image.fromarray(photo[:32, :40]).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(("name", "make"), [("deep.png", deep_png), ("party.JPG", jpeg), ("scan.tif", tiff)])
def test_the_download_equals_the_commands_result_byte_for_byte(server, client, photo, tmp_path, name, make):
    (tmp_path / name).write_bytes(make(photo))
    result = restore(client, tmp_path / name)
    assert result.name == name.replace(".", "_restored.")
    assert result.read_bytes() == by_command(server, tmp_path / name, tmp_path / "out", "--stage", "1").read_bytes()
    if name != "scan.tif":
        assert exif_facts(result)[0] == "Camera Co"
        assert exif_facts(result) == exif_facts(tmp_path / name)
    if name == "deep.png":
        assert png_pixels(result).dtype == np.uint16
        np.testing.assert_array_equal(png_pixels(result)[..., 3], png_pixels(tmp_path / name)[..., 3])
        before, after = (png_dict(path)[b"iCCP"].split(b"\0\0", 1)[1] for path in (tmp_path / name, result))
        assert zlib.decompress(before) == zlib.decompress(after)


def test_every_option_reaches_the_network(server, client, photo, tmp_path):
    images.write(tmp_path / "a.png", photo[:32, :32])
    seen = {restore(client, tmp_path / "a.png").read_bytes()}
    for option in ("tlc", "self_ensemble"):
        result = restore(client, tmp_path / "a.png", **{option: True}).read_bytes()
        flags = ("--stage", "1", f"--{option.replace('_', '-')}")
        assert result == by_command(server, tmp_path / "a.png", tmp_path / option, *flags).read_bytes()
        assert result not in seen
        seen.add(result)


def test_strength_blends_with_the_photo_as_it_came(server, client, photo, tmp_path):
    pixels = photo[:32, :40]
    images.write(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(images.read(restore(client, tmp_path / "a.png", strength=0)), pixels)
    full = images.read(restore(client, tmp_path / "a.png")).astype(float)
    quarter = images.read(restore(client, tmp_path / "a.png", strength=0.25))
    assert np.abs(full - pixels).max() > 8
    np.testing.assert_allclose(quarter, pixels + 0.25 * (full - pixels), atol=1)


def jpeg_header(width, height, photo):
    """A small JPEG that claims to be large."""
    data = bytearray(jpeg(photo))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_bomb(width, height):
    """Half a megabyte that unpacks to 500 MB of black."""

    def chunk(kind, contents):
        return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))

    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(10**7)) for _ in range(50)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("huge.jpg", lambda photo: jpeg_header(20_000, 10_000, photo), "20000x10000 is more than 20 megapixels"),
        ("bomb.png", lambda photo: png_bomb(50_000, 50_000), "50000x50000 is more than 20 megapixels"),
        ("small_bomb.png", lambda photo: png_bomb(10, 10), None),  # 500 MB behind 100 pixels: they are not unpacked
        ("text.png", lambda photo: b"not a picture", "text.png: not a picture in a format that can be read"),
        ("text.txt", lambda photo: b"not a picture", "text.txt: not a picture in a format that can be read"),
        ("empty.png", lambda photo: b"", "empty.png: empty file"),
        ("cut.jpg", lambda photo: jpeg(photo)[:-300], "cut.jpg: not a whole picture"),
    ],
)
def test_what_is_no_photo_or_too_large_is_refused_with_a_sentence_before_it_costs_memory(
    server, photo, name, make, message
):
    path, before = upload(server, name, make(photo)), server.peak_memory()
    event, data = ask(server, path)
    if message is None:
        assert event in ("complete", "error")
    else:
        assert event == "error"
        assert message in data["error"]
        assert str(server.home) not in data["error"]  # the server's folders are nobody's business
        assert data["error"].startswith(name)
        assert ";" in data["error"]  # the remedy stands behind it
    assert server.peak_memory() - before < 100e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "denoising"}, "no model tiny for denoising here; choose from denoising_light (denoising),"),
        ({"model": "../tiny"}, "no model ../tiny for other here"),
        ({"model": [{}]}, "no model"),
        ({"stage": 7}, "stages must be 1, 2 or 3, got 7"),
        ({"strength": 7}, "strength must be a number in 0..1, got 7"),
        ({"strength": "full"}, "strength must be a number in 0..1, got 'full'"),
    ],
)
def test_options_that_cannot_be_are_refused_over_http(server, photo, options, message, tmp_path):
    images.write(tmp_path / "a.png", photo[:32, :40])
    event, data = ask(server, upload(server, "a.png", (tmp_path / "a.png").read_bytes()), **options)
    assert event == "error"
    assert message in data["error"]


def test_a_program_that_names_a_task_alone_gets_the_weights_of_that_task(server, client, photo, tmp_path):
    images.write(tmp_path / "a.png", photo[:32, :40])
    named = restore(client, tmp_path / "a.png").read_bytes()
    alone = client.predict(handle_file(tmp_path / "a.png"), task="other", stage=1, api_name="/restore")[0]
    assert Path(alone).read_bytes() == named
    body = {"photo": {"path": upload(server, "a.png", (tmp_path / "a.png").read_bytes())}, "task": "other", "stage": 1}
    body["photo"]["meta"] = {"_type": "gradio.FileData"}
    joined = httpx.post(f"{server.url}/gradio_api/call/v2/restore", json=body, timeout=60).json()
    text = httpx.get(f"{server.url}/gradio_api/call/restore/{joined['event_id']}", timeout=120).text
    event, data = (line.split(": ", 1)[1] for line in text.strip().splitlines()[-2:])
    assert event == "complete", data
    assert httpx.get(json.loads(data)[0]["url"], timeout=60).content == named


def raw(server, target, method="GET"):
    """Status and body for an address that no library has tidied up."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc, timeout=30)
    connection.request(method, target)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_no_file_outside_the_pages_folder_can_be_read(server, photo):
    secret = server.temporary / "secret.txt"
    secret.write_text("root: a secret")
    link = server.home / "link.txt"
    link.symlink_to(secret)
    data = jpeg(photo)
    inside = upload(server, "a.png", data)
    assert raw(server, f"/gradio_api/file={inside}") == (200, data)
    dots = f"{inside}/../../../secret.txt"
    outside = [str(secret), str(link), dots, dots.replace("..", "%2e%2e"), dots.replace("/", "%2f"), "/etc/passwd"]
    outside += [f"../../../../../..{secret}", f"file://{secret}", f"/{secret}", "~/.bashrc", "http://127.0.0.1:9/x", ""]
    for path in outside:
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/static/", "/assets/"):
            for method in ("GET", "HEAD", "POST"):
                status, body = raw(server, route + path, method)
                assert status in (403, 404, 405), (method, route + path)
                assert b"root:" not in body
    for path in (secret, dots, "/etc/passwd", "http://127.0.0.1:9/x.png"):
        assert ask(server, path) == (403, "a photo must be uploaded here first; other files and addresses are not read")
    link.unlink()
    secret.unlink()


@pytest.mark.parametrize(
    "path",
    [
        "monitoring",
        "monitoring/summary",
        "docs",
        "openapi.json",
        "gradio_api/run/restore",
        "gradio_api/deep_link?session_hash=a",
        "gradio_api/component_server",
        "gradio_api/run-history/buckets",
        "gradio_api/vibe-code/",
        "gradio_api/process_recording",
    ],
)
def test_what_the_page_does_not_need_is_not_there(server, path):
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert raw(server, f"/{path}", method)[0] == 404


def test_an_upload_keeps_to_the_pages_folder_and_to_its_size(server, photo):
    before = {path for path in server.temporary.rglob("*") if server.home not in path.parents}
    for name in ("../../evil.png", "..", "/etc/evil.png", "a\0b.png", "x" * 400 + ".png"):
        answer = httpx.post(f"{server.url}/gradio_api/upload", files={"files": (name, jpeg(photo))}, timeout=60)
        if answer.status_code == 200:
            assert Path(answer.json()[0]).resolve().is_relative_to(server.home)
    assert {path for path in server.temporary.rglob("*") if server.home not in path.parents} == before
    answer = httpx.post(f"{server.url}/gradio_api/upload", files={"files": ("a.png", bytes(3 * 10**6))}, timeout=60)
    assert (answer.status_code, answer.json()["detail"]) == (413, "a photo may have at most 2 MB")
    chunks = (bytes(1000) for _ in range(3))  # sent without a length
    answer = httpx.post(f"{server.url}/gradio_api/upload", content=chunks, timeout=60)
    assert answer.status_code == 411


def talk(server, request, *, wait=30):
    """What comes back for bytes that no library would send."""
    address = urllib.parse.urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=wait) as connection:
        with contextlib.suppress(OSError):  # refused before the end
            for part in request:
                connection.sendall(part)
        with contextlib.suppress(OSError):
            return connection.recv(10_000)
    return b""


def request_head(path, **headers):
    headers = {"Host": "127.0.0.1", "Content-Type": "multipart/form-data; boundary=b"} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


FORM = b'--b\r\nContent-Disposition: form-data; name="files"; filename="cut.png"\r\n\r\n'


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_longer_than_it_says_costs_neither_memory_nor_disk(server, path):
    before, there = server.peak_memory(), len(server.files())
    chunk = b"%x\r\n%s\r\n" % (10**6, bytes(10**6))
    start = b"%x\r\n%s\r\n" % (len(FORM), FORM)
    head = request_head(path, Content_Length=10, Transfer_Encoding="chunked")
    answer = talk(server, (head, start, *[chunk] * 150, b"0\r\n\r\n"))
    assert answer.split()[1:2] in ([b"400"], [b"413"])
    assert server.peak_memory() - before < 30e6
    assert len(server.files()) == there


def test_an_upload_that_is_broken_off_leaves_nothing(server):
    there = set(server.files())
    address = urllib.parse.urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(request_head("/gradio_api/upload", Content_Length=500_000) + FORM + bytes(200_000))
        wait_until(lambda: any(path.name == "cut.png" for path in server.files()))
    wait_until(lambda: set(server.files()) == there)


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_other_sites_are_not_served(server, header, photo):
    files = {"files": ("a.jpg", jpeg(photo))}
    assert httpx.post(f"{server.url}/gradio_api/upload", files=files, headers=header).status_code in (403, 421)
    assert httpx.get(server.url, headers=header).status_code in (403, 421)


def test_who_knows_a_sessions_name_cannot_delete_what_it_made(server, photo):
    config = httpx.get(f"{server.url}/config")
    functions = {part["api_name"] or part["id"]: part for part in config.json()["dependencies"]}
    (end,) = (part["id"] for part in functions.values() if any(event == "unload" for _, event in part["targets"]))

    def visit(cookies):
        path = {"path": upload(server, "victim.png", png_file(photo[:32, :32])), "meta": {"_type": "gradio.FileData"}}
        data = [path, "other", "tiny", 1, 1, False, False]
        call = {"data": data, "fn_index": functions["restore"]["id"], "session_hash": "known"}
        with httpx.Client(base_url=f"{server.url}/gradio_api", cookies=cookies, timeout=60) as client:
            assert client.post("/queue/join", json=call).status_code == 200
            return client.get("/queue/data?session_hash=known").text

    def victims():
        return sum("victim" in path.name for path in server.files())

    before = victims()
    for cookies in (config.cookies, {}):
        assert "victim_restored.png" in visit(cookies)
    assert victims() == before + 4
    for cookies in (httpx.get(server.url).cookies, {}):
        with httpx.Client(base_url=f"{server.url}/gradio_api", cookies=cookies, timeout=20) as other:
            other.post("/queue/join", json={"data": [], "fn_index": end, "session_hash": "known"})
            with other.stream("GET", "/heartbeat/known") as heartbeat:
                next(heartbeat.iter_raw())
    time.sleep(1)
    assert victims() == before + 4
    with httpx.stream("GET", f"{server.url}/gradio_api/heartbeat/known", cookies=config.cookies) as heartbeat:
        next(heartbeat.iter_raw())
    wait_until(lambda: victims() == before + 2)


@pytest.mark.parametrize("value", ["null", "[]", '"x"', "[[{}]]", "[1,2,3,4,5,6,7]", "[NaN]"])
def test_malformed_calls_are_refused_and_leave_no_traceback(server, value):  # `serving` looks at the log
    functions = range(len(httpx.get(f"{server.url}/config").json()["dependencies"]) + 1)
    bodies = [f'{{"fn_index": {fn}, "session_hash": "m", "data": {value}, "event_data": {value}}}' for fn in functions]
    calls = [("queue/join", body) for body in bodies]
    for path in ("queue/join", "cancel", "reset", "call/restore", "call/v2/restore", "call/v2/nothing", "call/look"):
        calls.append((path, f'{{"session_hash": {value}, "photo": {value}, "event_id": {value}, "fn_index": {value}}}'))
    with httpx.Client(base_url=f"{server.url}/gradio_api", timeout=30) as client:
        for path, body in calls:
            assert client.post(f"/{path}", content=body).status_code < 500, (path, body)


@pytest.mark.parametrize(
    "path", ["queue/data?session_hash=nobody", "call/restore/nobody", "heartbeat/%00", "queue/data"]
)
def test_what_is_asked_for_and_not_there_leaves_no_traceback(server, path):
    with httpx.stream("GET", f"{server.url}/gradio_api/{path}", timeout=30) as answer:
        assert answer.status_code < 500


def test_nothing_foreign_is_named_and_photos_are_not_to_be_cached(server, photo):
    answer = httpx.get(server.url)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    answer = httpx.get(f"{server.url}/gradio_api/file={upload(server, 'a.jpg', jpeg(photo))}")
    assert answer.headers["cache-control"] == "no-store"
    config = httpx.get(f"{server.url}/config").json()
    assert config["analytics_enabled"] is False


def test_a_page_that_is_uploaded_is_not_run_as_a_page(server):
    answer = httpx.get(f"{server.url}/gradio_api/file={upload(server, 'a.html', b'<script>alert(1)</script>')}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_progress_is_told_tile_by_tile(server, photo):
    photo_file = {"path": upload(server, "a.png", png_file(photo[:32, :88])), "meta": {"_type": "gradio.FileData"}}
    function = next(
        part["id"] for part in httpx.get(f"{server.url}/config").json()["dependencies"] if part["api_name"] == "restore"
    )
    body = {"data": [photo_file, "other", "tiny", 1, 1, False, False], "fn_index": function, "session_hash": "progress"}
    assert httpx.post(f"{server.url}/gradio_api/queue/join", json=body).status_code == 200
    answer = httpx.get(f"{server.url}/gradio_api/queue/data", params={"session_hash": "progress"}, timeout=60)
    messages = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    bars = [message["progress_data"][0] for message in messages if message["msg"] == "progress"]
    seen = [(bar["index"], bar["length"]) for bar in bars if bar["unit"] == "tiles"]
    assert seen == sorted(seen)
    assert seen[-1] == (3, 3)  # tiles of 32 that overlap by 4


def test_twenty_uploads_at_once_are_queued_and_all_answered(server, photo):
    def visit(number):
        path = upload(server, f"{number}.png", png_file(photo[number : number + 32, :32]))
        event, data = ask(server, path)
        return event, images_of(httpx.get(data[0]["url"]).content)

    expected = Restorer.from_pretrained(server.checkpoint, stages=1, tile=32)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(visit, range(20)))
    assert [event for event, _ in answers] == ["complete"] * 20
    for number, (_, restored) in enumerate(answers):
        np.testing.assert_array_equal(restored, expected(photo[number : number + 32, :32]))


def images_of(data):
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def test_what_exceeds_the_queue_is_told_so_at_once(server, photo):
    path = upload(server, "slow.png", png_file(photo[:72, :72]))
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: ask(server, path, stage=1, self_ensemble=True), range(QUEUE + 16)))
    kinds = [event for event, _ in answers]
    assert set(kinds) == {"complete", 503}
    assert kinds.count("complete") >= QUEUE
    assert next(data for event, data in answers if event == 503).startswith("Queue is full")


def test_files_go_when_the_visit_ends(server, photo, tmp_path):
    visitor = Client(server.url, verbose=False)
    images.write(tmp_path / "leaves.png", photo[:32, :40])
    restore(visitor, tmp_path / "leaves.png")
    assert any("leaves" in path.name for path in server.files())
    visitor.close()
    wait_until(lambda: not any("leaves" in path.name for path in server.files()))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "home").mkdir()
    return Store(tmp_path / "home", keep_seconds=60, most_bytes=1000)


def put(store, name, size=10):
    path = store.home / "content" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_what_a_visit_brought_and_made_goes_with_it_but_not_what_others_brought_too(store):
    shared, own = put(store, "shared.png"), put(store, "own.png")
    store.visit("a", shared)
    visit = store.visit("a", own)
    store.visit("b", shared)
    with visit.run() as (folder, stop):
        (folder / "result.png").touch()
        store.end("a")
        assert stop.is_set()
    assert not folder.exists()
    assert not own.exists()
    assert shared.exists()
    store.end("b")
    assert not shared.exists()
    store.end("b")  # a page that was never seen


def test_old_files_are_swept_and_samples_stay(store, tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "cat.png").touch()
    (sample,) = store.add_samples(tmp_path / "samples", "denoising")
    upload = put(store, "a.png")
    with store.visit("a", upload).run() as (folder, _):
        (folder / "result.png").touch()
    store.sweep(time.time() + 59)
    assert upload.exists()
    store.sweep(time.time() + 61)
    assert sample.exists()
    assert [path for path in store.home.rglob("*") if path.is_file()] == [sample]
    with store.visit("a").run() as (folder, _):  # the page is still open
        assert folder.is_dir()


def test_a_full_store_takes_nothing_more(store):
    guard = Guard(None, store, most_bytes=1000)
    put(store, "a.png", 600)
    assert guard.refusal("POST", "/gradio_api/upload", {"content-length": "400"}) is None
    status, sentence = guard.refusal("POST", "/gradio_api/upload", {"content-length": "401"})
    assert (status, sentence) == (507, "too many photos are here at the moment; try again in some minutes")


def test_a_photo_that_is_deleted_while_it_is_asked_for_is_not_found(store, capsys):
    photo, sent = put(store, "a.png"), []

    async def gradio(scope, receive, send):  # it looked, and then found nothing
        raise RuntimeError(f"File at path {photo} does not exist.")

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b""}

    guard = Guard(gradio, store, most_bytes=1000)
    headers = [(b"host", b"127.0.0.1:7860")]
    scope = {"type": "http", "method": "GET", "path": f"/gradio_api/file={photo}", "headers": headers}
    asyncio.run(guard(scope, receive, send))  # of another reason
    assert sent.pop(0)["status"] == 500
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: File at path" in line
    sent.clear()
    photo.unlink()
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 404
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("body", [b"{", b"[" * 90_000, b"\xff"])
def test_what_is_no_json_is_refused(store, body):
    assert Guard(None, store, 1000).refusal_of_json(body) == (400, "the request is not JSON")


def test_every_task_with_weights_that_ship_is_offered_and_bundles_beside_them(tmp_path):
    bundle = tiny_bundle(tmp_path)
    models = load_models([bundle], tile=64)
    assert tasks(models) == [*PRETRAINED, "other"]
    assert choose(models, None, None).task == next(iter(PRETRAINED))
    assert choose(models, "other", None).name == choose(models, None, "tiny").name == "tiny"
    assert all(model.restorer.options.tile == 64 for model in models)
    with pytest.raises(UserError, match="a model called tiny already; rename the folder"):
        load_models([bundle, bundle])
    with pytest.raises(UserError, match="nowhere"):
        load_models([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.5", False), ("", False)],
)
def test_only_loopback_counts_as_this_machine_alone(host, alone):
    assert demo.is_loopback(host) is alone


def command(*arguments):
    try:
        demo.main(arguments)
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "0"], "--port must be in 1..65535, got 0"),
        (["--queue", "0"], "--queue must be more than 0"),
        (["--max-megapixels", "nan"], "--max-megapixels must be more than 0"),
        (["--checkpoint", "nowhere", "--no-compile-cache"], "nowhere: neither a task"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert command(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_without_gradio_the_line_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    assert command("--no-compile-cache") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'mprnet_jax[demo]'" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_cannot_be_used_is_one_line(host, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert command("--host", host, "--port", port, "--no-compile-cache") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--host {host} --port {port}: cannot be used" in line


def test_a_page_that_others_can_reach_comes_with_a_warning(capsys):
    demo.announce("0.0.0.0", 7860)
    output = capsys.readouterr()
    assert "whoever reaches this machine can use the page, without a password" in output.err
    demo.announce("127.0.0.1", 7860)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("open http://127.0.0.1:7860 in a browser; Ctrl-C ends it\n", "")


def test_a_page_that_is_told_to_end_while_it_starts_ends_even_if_a_library_swallows_that(tmp_path, monkeypatch):
    from mprnet_jax.web import page

    def launch(*_):
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)

    class Nothing:
        def close(self, *_, **__):
            return True

    bundle = tiny_bundle(tmp_path)
    monkeypatch.setattr(page, "launch", launch)
    monkeypatch.setattr(page, "build", lambda *_: Nothing())
    for name in ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # which the page sets for good
    handler = signal.getsignal(signal.SIGTERM)
    ended = threading.Timer(300, lambda: os.kill(os.getpid(), signal.SIGTERM))  # or the test would wait for ever
    ended.start()
    try:
        demo.serve(demo.parse_args(["--checkpoint", str(bundle), "--port", "7999"]))
        assert ended.is_alive()  # it did not take a second one
    finally:
        ended.cancel()
        signal.signal(signal.SIGTERM, handler)
