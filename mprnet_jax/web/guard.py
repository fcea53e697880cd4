"""What stands before Gradio: this page's addresses alone, under its own names; bounded bodies; strict headers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from mprnet_jax.web import archive, log, visitors
from mprnet_jax.web.addresses import FILE, PROGRESS, READ, UPLOAD, WRITE, Names
from mprnet_jax.web.bodies import Gone, Incoming, Message, Pace, Receive, Refused, chunks, replay
from mprnet_jax.web.store import RESTORED, Store
from mprnet_jax.web.uploads import MOST_FILES, NO_ROOM, Progress, receive_files, too_large

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_JSON = 100_000  # bytes of a request that is no upload
FORM_BYTES = 10_000  # what a form adds to the files in it
TOO_LONG = "the request is too long"
DROP_SECONDS = 10.0  # that the rest of a refused body is read and dropped, so that its sender sees why
HEADERS = {
    # The page works without a network; this has the browser see to it, and keeps other sites from framing the page.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware in front of `app`; photos are bounded by `most_bytes` each, and by the room in the store."""

    def __init__(
        self,
        app: App,
        store: Store,
        most_bytes: int,
        names: Names = Names(),  # noqa: B008 (frozen)
        pace: Pace = Pace(),  # noqa: B008
    ) -> None:
        self.app = app
        self.store = store
        self.most_bytes = most_bytes
        self.most_upload = MOST_FILES * most_bytes + FORM_BYTES
        self.names = names
        self.pace = pace
        self.progress = Progress()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # no web sockets
                await self.app(scope, receive, send)
            return
        answer, receive = _Answer(scope, send), Incoming(receive)
        try:
            await self._respond(scope, receive, answer)
        except Refused as refusal:
            if not answer.begun:
                await answer.refuse(refusal, receive)
        except Gone:
            pass
        except Exception as error:  # Gradio's, of whatever a visitor sent
            if answer.begun:
                if not any(isinstance(fault, HTTPException) for fault in (error, error.__cause__)):  # no such session
                    log.failure(f"{scope['method']} {scope['path']}", error)
                await answer.end_events()
            elif scope["path"].startswith(FILE) and not Path(scope["path"].removeprefix(FILE)).exists():
                await answer.refuse(Refused(404, "not found"), receive)  # deleted after Gradio had found it
            elif scope["method"] == "POST" and not isinstance(error, OSError):
                await answer.refuse(Refused(400, "the call does not fit the page; see view_api() of a client"), receive)
            else:
                log.failure(f"{scope['method']} {scope['path']}", error)
                await answer.refuse(Refused(500, "this did not work; the server's log says why"), receive)

    async def _respond(self, scope: Scope, receive: Incoming, answer: "_Answer") -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self.names.refusal(headers) or self.refusal(scope["method"], scope["path"], headers)
        if refusal:
            raise Refused(*refusal)
        secret = visitors.secret_of(headers)
        if secret is None and scope["path"] in ("/", "/config"):
            answer.extra["set-cookie"] = visitors.new_cookie()
        upload_id = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("upload_id", [""])[0]
        if scope["path"] == PROGRESS:
            await answer.stream("text/event-stream", self.progress.follow(upload_id))
        elif scope["path"] == UPLOAD and scope["method"] == "POST":
            size = int(headers["content-length"])
            body = chunks(receive, size, TOO_LONG, self.pace)
            kind, most = headers.get("content-type", ""), self.most_bytes
            with self.progress.of(upload_id) as arrived:
                files = await receive_files(kind, body, size, most, self.store, arrived)
            await answer.json(200, [str(path) for path in files])
        elif zipped := archive.ADDRESS.fullmatch(scope["path"]):
            photos = self.store.home / zipped[1] / RESTORED
            if not photos.is_dir() or not any(photos.iterdir()):
                raise Refused(404, "not found; photos that were restored long ago are deleted")
            parts = archive.stream(photos) if scope["method"] == "GET" else iter(())
            shown = {"content-disposition": f'attachment; filename="{archive.NAME}"'}
            await StreamingResponse(parts, 200, shown, "application/zip")(scope, receive, answer.send)
        else:
            if scope["method"] == "POST":
                body = b"".join([part async for part in chunks(receive, MOST_JSON, TOO_LONG, self.pace)])
                following = replay(self.checked(body, secret), receive)
            else:
                following = receive
            await self.app(visitors.with_own_names(scope, secret), following, answer.send)

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that goes no further; None if it may. Header names are in small letters."""
        allowed = {"GET": (READ, archive.ADDRESS), "HEAD": (READ, archive.ADDRESS), "POST": (WRITE,)}.get(method, ())
        if not any(address.fullmatch(path) for address in allowed):
            return 404, "not found"
        if path.startswith(FILE) and not self.store.holds(path.removeprefix(FILE)):
            return 404, "not found"
        if method != "POST":
            return None
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            return 411, "the request must say how long it is (Content-Length)"
        if "transfer-encoding" in headers:  # two lengths in one request: smuggling, or a fault
            return 400, "the request must not have both Content-Length and Transfer-Encoding"
        upload = path.startswith(UPLOAD)
        if len(length) > 15 or int(length) > (self.most_upload if upload else MOST_JSON):
            return 413, too_large(self.most_bytes) if upload else TOO_LONG
        if upload and not self.store.has_room(int(length)):
            return 507, NO_ROOM
        return None

    def refusal_of_json(self, body: bytes) -> tuple[int, str] | None:
        """Status and sentence for JSON that names a file, or an address to fetch one from, outside the store."""
        try:
            self.checked(body, None)
        except Refused as refusal:
            return refusal.status, refusal.sentence
        return None

    def checked(self, body: bytes, secret: str | None) -> bytes:
        """A call as it goes on to Gradio, with the visitor's own names of sessions. Raises Refused."""
        try:
            call = json.loads(body or b"null", parse_constant=_no_number)
            paths = list(_values(call, "path"))
        except (ValueError, RecursionError):
            raise Refused(400, "the request is not JSON") from None
        if not all(path is None or (isinstance(path, str) and self.store.holds(path)) for path in paths):
            raise Refused(403, "a photo must be uploaded here first; other files and addresses are not read")
        if isinstance(call, dict) and call.get("session_hash") is not None:
            call["session_hash"] = visitors.own_name(call["session_hash"], secret)
        return json.dumps(call).encode()


class _Answer:
    """The response to one request, with the page's own headers."""

    def __init__(self, scope: Scope, send: Send) -> None:
        # A browser would keep photos in its cache after the visit; the page's own scripts it may keep.
        private = scope["path"].startswith(FILE) or archive.ADDRESS.fullmatch(scope["path"])
        self.extra = HEADERS | ({"cache-control": "no-store"} if private else {})
        self.begun = False
        self._events = False
        self._send = send

    async def send(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            self._events = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            kept = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in self.extra]
            added = [(name.encode(), value.encode()) for name, value in self.extra.items()]
            message = {**message, "headers": kept + added}
        await self._send(message)

    async def json(self, status: int, data: Any, *, more: bool = False) -> None:
        body = json.dumps(data).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if more:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def refuse(self, refusal: Refused, receive: Incoming) -> None:
        """Say why; what is still coming of the body is dropped, then the connection is closed."""
        await self.json(refusal.status, {"detail": refusal.sentence}, more=True)
        await receive.drop(DROP_SECONDS)
        await self.send({"type": "http.response.body", "body": b""})

    async def end_events(self) -> None:
        """End a stream of events; any other response that broke off must not look whole."""
        if self._events:
            await self.send({"type": "http.response.body", "body": b""})

    async def stream(self, kind: str, parts: AsyncIterator[bytes]) -> None:
        await self.send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        async for part in parts:
            await self.send({"type": "http.response.body", "body": part, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})


def _values(data: Any, key: str) -> Iterator[Any]:
    """What stands under a key, however deep."""
    if isinstance(data, dict):
        if key in data:
            yield data[key]
        data = list(data.values())
    if isinstance(data, list):
        for part in data:
            yield from _values(part, key)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
