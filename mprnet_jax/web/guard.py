"""What stands before Gradio: only the addresses that the page and its API use, bounded uploads, strict headers.

Gradio serves much that this page has no use for (a proxy, a dashboard, run history, editing of the page); what is not
in the lists below answers 404, whether it exists or not.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from mprnet_jax.web.store import Store

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/gradio_api/"
UPLOAD = f"{PREFIX}upload"
READ = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(assets|static)/.+)?"
    rf"|{PREFIX}(info|startup-events|queue/(data|status)|upload_progress|heartbeat/[\w-]+|call/(v2/)?\w+/\w+|file=.+)/?"
)
WRITE = re.compile(rf"{UPLOAD}|{PREFIX}(queue/join|cancel|reset|call/(v2/)?\w+)/?")
FILE = f"{PREFIX}file="
MOST_JSON = 100_000  # bytes of a request that is no upload
FORM_BYTES = 10_000  # what a form adds to the file in it
HEADERS = {
    # The page works without a network; this has the browser see to it, and keeps other sites from framing the page.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware in front of `app`; uploads are bounded by `most_bytes` each, and by the room in the store."""

    def __init__(self, app: App, store: Store, most_bytes: int) -> None:
        self.app = app
        self.store = store
        self.most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # no web sockets
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self.refusal(scope["method"], scope["path"], headers)
        if not refusal and scope["method"] == "POST" and not scope["path"].startswith(UPLOAD):
            body = await _read(receive)
            receive = _replay(body, receive)
            refusal = self.refusal_of_json(body)
        if refusal:
            await _answer(send, *refusal)
            return
        # A browser would keep photos in its cache after the visit; the page's own scripts it may keep.
        extra = HEADERS | ({"cache-control": "no-store"} if scope["path"].startswith(FILE) else {})
        answers = False

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal answers
            answers = True
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in extra]
                added = [(name.encode(), value.encode()) for name, value in extra.items()]
                message = {**message, "headers": kept + added}
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except (OSError, RuntimeError):
            if answers or not scope["path"].startswith(FILE) or Path(scope["path"].removeprefix(FILE)).exists():
                raise
            await _answer(send, 404, "not found")  # deleted with its page after Gradio had found it

    def refusal(self, method: str, path: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that goes no further; None if it may. Header names are in small letters."""
        allowed = {"GET": READ, "HEAD": READ, "POST": WRITE}.get(method)
        if allowed is None or not allowed.fullmatch(path):
            return 404, "not found"
        if path.startswith(FILE) and not self.store.holds(path.removeprefix(FILE)):
            return 404, "not found"
        if method != "POST":
            return None
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "the request must say how long it is (Content-Length)"
        upload = path.startswith(UPLOAD)
        if int(length) > (self.most_bytes + FORM_BYTES if upload else MOST_JSON):
            megabytes = self.most_bytes / 1e6
            what = f"a photo may have at most {megabytes:g} MB" if upload else "the request is too long"
            return 413, what
        if upload and not self.store.has_room(int(length)):
            return 507, "too many photos are here at the moment; try again in some minutes"
        return None

    def refusal_of_json(self, body: bytes) -> tuple[int, str] | None:
        """Status and sentence for JSON that names a file, or an address to fetch one from, outside the store."""
        try:
            paths = list(_values(json.loads(body or b"null"), "path"))
        except (ValueError, RecursionError):
            return 400, "the request is not JSON"
        if all(path is None or (isinstance(path, str) and self.store.holds(path)) for path in paths):
            return None
        return 403, "a photo must be uploaded here first; other files and addresses are not read"


def _values(data: Any, key: str) -> Iterator[Any]:
    """What stands under a key, however deep."""
    if isinstance(data, dict):
        if key in data:
            yield data[key]
        data = list(data.values())
    if isinstance(data, list):
        for part in data:
            yield from _values(part, key)


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, then what comes behind it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_again


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
