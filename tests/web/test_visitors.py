"""Whose request it is: the page's own names and origins alone, and each visitor's sessions apart from all others'."""

import asyncio
import json
from urllib.parse import parse_qs

import pytest

from mprnet_jax.web.addresses import Names
from mprnet_jax.web.guard import Guard
from mprnet_jax.web.store import Store

LOCAL, OPEN = Names("127.0.0.1"), Names("0.0.0.0")
BEHIND = Names("127.0.0.1", ("photos.example.org",))


@pytest.mark.parametrize(
    ("names", "host", "known"),
    [
        (LOCAL, "127.0.0.1:7860", True),
        (LOCAL, "LOCALHOST:1", True),  # a forwarded port
        (LOCAL, "[::1]:7860", True),
        (LOCAL, "evil.example", False),
        (LOCAL, "127.0.0.1.evil.example", False),
        (LOCAL, "localhost.evil.example:7860", False),
        (LOCAL, "evil.example@127.0.0.1", True),  # no browser sends a user's name there; the host is ours
        (LOCAL, "192.168.1.5", False),
        (LOCAL, "", False),
        (LOCAL, "[", False),
        (OPEN, "192.168.1.5:7860", True),  # an address cannot be pointed elsewhere
        (OPEN, "[fe80::1]:7860", True),
        (OPEN, "evil.example:7860", False),
        (Names("192.168.1.5"), "localhost", True),
        (Names("box.lan"), "Box.lan.:80", True),
        (BEHIND, "photos.example.org", True),
        (BEHIND, "other.example.org", False),
    ],
)
def test_a_page_is_served_under_its_own_names_alone(names, host, known):
    refusal = names.refusal({"host": host})
    assert (refusal is None) is known
    if not known:
        assert refusal[0] == 421


@pytest.mark.parametrize(
    ("names", "host", "origin", "own"),
    [
        (LOCAL, "127.0.0.1:7860", "http://127.0.0.1:7860", True),
        (LOCAL, "127.0.0.1:7860", "http://127.0.0.1:3000", False),  # another program of this machine
        (LOCAL, "127.0.0.1:7860", "http://localhost:7860", False),
        (LOCAL, "127.0.0.1:7860", "http://evil.example", False),
        (LOCAL, "127.0.0.1:7860", "null", False),
        (LOCAL, "127.0.0.1:7860", "", False),
        (LOCAL, "127.0.0.1:7860", "http://evil.example//127.0.0.1:7860", False),
        (LOCAL, "127.0.0.1:7860", "http://[", False),
        (BEHIND, "127.0.0.1:7860", "https://photos.example.org", True),  # a proxy that names its target as the host
        (BEHIND, "photos.example.org", "https://photos.example.org", True),
        (BEHIND, "photos.example.org", "https://photos.example.org.evil.example", False),
    ],
)
def test_what_another_sites_page_sends_is_refused(names, host, origin, own):
    refusal = names.refusal({"host": host, "origin": origin})
    assert (refusal is None) is own
    if not own:
        assert refusal[0] == 403


def test_a_link_from_another_site_may_be_followed_but_nothing_of_it_embedded():
    host = {"host": "localhost:7860", "sec-fetch-site": "cross-site"}
    assert LOCAL.refusal({**host, "sec-fetch-mode": "navigate"}) is None
    assert LOCAL.refusal({**host, "sec-fetch-mode": "no-cors"})[0] == 403


class Gradio:
    """Keeps what gets through the guard."""

    async def __call__(self, scope, receive, send):
        self.scope = scope
        self.body = (await receive()).get("body") if scope["method"] == "POST" else None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def ask(tmp_path, method, path, *, query="", body=b"", cookie=None):
    """What Gradio is asked, and the answer's status and headers."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    gradio = Gradio()
    headers = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
    headers += [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
    asyncio.run(Guard(gradio, Store(tmp_path, 60, 1000), most_bytes=1000)(scope, receive, send))
    return gradio, sent[0]["status"], dict(sent[0]["headers"])


def names(tmp_path, session, cookie):
    """What a session is called behind the guard when it is named in a call, in a query and by a heartbeat."""
    join, _, _ = ask(
        tmp_path,
        "POST",
        "/gradio_api/queue/join",
        body=json.dumps({"session_hash": session, "data": []}).encode(),
        cookie=cookie,
    )
    data, _, _ = ask(tmp_path, "GET", "/gradio_api/queue/data", query=f"session_hash={session}", cookie=cookie)
    beat, _, _ = ask(tmp_path, "GET", f"/gradio_api/heartbeat/{session}", cookie=cookie)
    return (
        json.loads(join.body)["session_hash"],
        parse_qs(data.scope["query_string"].decode())["session_hash"][0],
        beat.scope["path"].rsplit("/", 1)[1],
    )


def visitor(tmp_path):
    _, _, headers = ask(tmp_path, "GET", "/")
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    return cookie.split(";")[0]


def test_a_sessions_name_is_worth_nothing_to_another_visitor(tmp_path):
    alice, bob = visitor(tmp_path), visitor(tmp_path)
    of_alice = names(tmp_path, "abc", alice)
    assert len(set(of_alice)) == 1
    seen = {*of_alice, *names(tmp_path, "abc", bob), *names(tmp_path, "abc", None), *names(tmp_path, "abc", "x=y")}
    assert len(seen & set(of_alice)) == 1
    # Nor is the name that the server uses.
    assert of_alice[0] not in {*names(tmp_path, of_alice[0], bob), *names(tmp_path, of_alice[0], None)}


def test_a_program_without_cookies_can_follow_its_work_but_ends_no_session(tmp_path):
    call, query, heartbeat = names(tmp_path, "abc", None)
    assert call == query != heartbeat


def test_a_visitor_keeps_its_cookie(tmp_path):
    _, _, headers = ask(tmp_path, "GET", "/", cookie=visitor(tmp_path))
    assert b"set-cookie" not in headers


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, 5, ["a"], {"a": 1}, "\u00e9"])
def test_what_is_no_name_of_a_session_is_refused(tmp_path, name):
    body = json.dumps({"session_hash": name}).encode()
    assert ask(tmp_path, "POST", "/gradio_api/queue/join", body=body)[1] == 400


@pytest.mark.parametrize("fault", [KeyError("x"), ValueError("y"), RecursionError()])
def test_a_call_that_gradio_cannot_take_is_a_sentence_and_no_traceback(tmp_path, fault, monkeypatch, capsys):
    async def fail(self, scope, receive, send):
        raise fault

    monkeypatch.setattr(Gradio, "__call__", fail)
    assert ask(tmp_path, "POST", "/gradio_api/call/v2/restore", body=b"{}")[1] == 400
    assert "Traceback" not in capsys.readouterr().err
