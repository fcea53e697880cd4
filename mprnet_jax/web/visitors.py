"""Who a session belongs to: its name counts only together with a cookie that the page gave to the visitor.

Gradio takes whoever names a session for its owner, and ends a session when a connection with its name is closed. Here
each visitor's names lie apart from everybody else's, so that knowing a name lets nobody read, stop or delete another's
work. Programs without cookies share one set of names, which they should choose so that nobody guesses them; closing a
connection ends none of those sessions.
"""

import hashlib
import http.cookies
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from mprnet_jax.web.addresses import HEARTBEAT
from mprnet_jax.web.bodies import Refused

COOKIE = "mprnet_jax_visitor"
SECRET = re.compile(r"[\w-]{32}", re.ASCII)
NAME = re.compile(r"[\w-]{1,64}", re.ASCII)  # of a session, as its page or program calls it


def secret_of(headers: Mapping[str, str]) -> str | None:
    """The visitor's secret in a request; None if there is none. Header names are in small letters."""
    try:
        morsel = http.cookies.SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except http.cookies.CookieError:
        return None
    return morsel.value if morsel is not None and SECRET.fullmatch(morsel.value) else None


def new_cookie() -> str:
    """The value of a Set-Cookie header for a new visitor; the cookie ends with the browser."""
    return f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Lax"


def own_name(session: Any, secret: str | None) -> str:
    """What a visitor's session is called on the server. Raises Refused for what is no name."""
    if not isinstance(session, str) or not NAME.fullmatch(session):
        raise Refused(400, "session_hash must be 1 to 64 letters, digits, - or _")
    owner = "program" if secret is None else hashlib.sha256(secret.encode()).hexdigest()[:24]
    return f"{owner}-{session}"


def with_own_names(scope: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
    """A request whose path and query name sessions as the server calls them."""
    path = scope["path"]
    if path.startswith(HEARTBEAT):
        session = path.removeprefix(HEARTBEAT).rstrip("/")
        name = f"nobody-{secrets.token_hex(12)}" if secret is None else own_name(session, secret)
        path = HEARTBEAT + name
        return {**scope, "path": path, "raw_path": path.encode()}
    query = scope.get("query_string", b"").decode("latin-1")
    if "session_hash" not in query:
        return dict(scope)
    pairs = parse_qsl(query, keep_blank_values=True)
    pairs = [(key, own_name(value, secret) if key == "session_hash" else value) for key, value in pairs]
    return {**scope, "query_string": urlencode(pairs).encode()}
