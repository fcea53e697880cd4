"""Which requests are for this page: the addresses that it and its API use, asked for under a name of its own.

Gradio serves much that this page has no use for (a proxy, a dashboard, run history, editing of the page); what is not
in the lists below answers 404, whether it exists or not.
"""

import dataclasses
import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

PREFIX = "/gradio_api/"
UPLOAD = f"{PREFIX}upload"
PROGRESS = f"{UPLOAD}_progress"
HEARTBEAT = f"{PREFIX}heartbeat/"
FILE = f"{PREFIX}file="
READ = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(assets|static)/.+)?"
    rf"|{PREFIX}(info|startup-events|queue/(data|status)|upload_progress|heartbeat/[\w-]+|call/(v2/)?\w+/\w+|file=.+)/?"
)
ORIGIN = re.compile(r"https?://([^/\s]+)")
WRITE = re.compile(rf"{UPLOAD}|{PREFIX}(queue/join|cancel|reset|call/(v2/)?\w+)/?")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def host_of(authority: str) -> str | None:
    """The host of `host:port` in small letters, without brackets; None if it is none."""
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


@dataclasses.dataclass(frozen=True)
class Names:
    """The hosts that a browser may have in its address line while it talks to this page.

    A page of another site can have its own name point to this machine (DNS rebinding), and its scripts then count as
    the same site as this page; only the Host header tells the two apart. Numeric addresses cannot be pointed elsewhere.
    """

    listening: str = "127.0.0.1"  # the address that the server listens on
    others: tuple[str, ...] = ()  # of a reverse proxy in front of it, in small letters, without a port

    def know(self, authority: str) -> bool:
        """Whether a Host header names this page, on whatever port: ports may be forwarded."""
        host = host_of(authority)
        if host is None:
            return False
        host = host.rstrip(".")
        if host in self.others or is_loopback(host) or host == self.listening.strip("[]").lower():
            return True
        if is_loopback(self.listening.strip("[]")):
            return False
        return _address(host) is not None or host.removesuffix(".local") == socket.gethostname().lower()

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that another site's page sent; None for one of our own.

        Header names are in small letters. Programs send no Origin.
        """
        host = headers.get("host", "")
        if not self.know(host):
            return 421, "this page is not served under that name; the server's option --allowed-hosts adds one"
        origin = ORIGIN.fullmatch(headers.get("origin", f"http://{host}"))
        own = origin is not None and (origin[1].lower() == host.lower() or host_of(origin[1]) in self.others)
        embedded = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        if not own or embedded:
            return 403, "requests from the pages of other sites are not answered"
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
