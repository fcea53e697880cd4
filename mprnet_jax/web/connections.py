"""How long a browser may take to say what it wants: Uvicorn waits for ever for the end of a request's headers."""

import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0
MOST_CONNECTIONS = 500  # at once; a visitor's page holds two or three


class PatientProtocol(H11Protocol):
    """HTTP/1.1 in which a request's headers must be there HEADER_SECONDS after the connection was made or last used."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the server when a connection begins."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Called by the server with the bytes that arrived."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Called by the server when an answer has been sent."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the server when a connection has ended."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bound(config: uvicorn.Config) -> None:
    """Have a server's new connections bounded in number, and in the time of their headers."""
    config.http_protocol_class = PatientProtocol
    config.limit_concurrency = MOST_CONNECTIONS
