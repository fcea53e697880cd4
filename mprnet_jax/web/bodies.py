"""The bodies of requests as they arrive: never more bytes than may come, never slower than a line that works."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Refused(Exception):
    """A request that is not answered as it wants: an HTTP status, and a sentence for who sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Gone(Exception):
    """Who sent the request has closed the connection before its end."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """How slowly a body may arrive: `grace` seconds for nothing, more as its bytes come in, at most `longest`."""

    grace: float = 20.0  # seconds
    rate: float = 20_000.0  # bytes a second: a tenth of what a slow telephone line sends
    longest: float = 900.0  # seconds

    def seconds(self, size: int) -> float:
        """By when after its begin a body of which `size` bytes are here must go on."""
        return min(self.grace + size / self.rate, self.longest)


async def chunks(receive: Receive, most: int, too_long: str, pace: Pace) -> AsyncIterator[bytes]:
    """The parts of a body. What the headers say of its length is not believed.

    Raises Refused with `too_long` after `most` bytes, Refused if it is slower than `pace`, Gone.
    """
    clock = asyncio.get_running_loop().time
    begin, size, more = clock(), 0, True
    while more:
        try:
            async with asyncio.timeout_at(begin + pace.seconds(size)):
                message = await receive()
        except TimeoutError:
            raise Refused(408, "the connection is too slow, or it stopped; try again") from None
        if message["type"] == "http.disconnect":
            raise Gone
        body = message.get("body", b"")
        size += len(body)
        if size > most:
            raise Refused(413, too_long)
        yield body
        more = message.get("more_body", False)


class Incoming:
    """The messages of one request, and whether all of them came."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.whole = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.whole = not (message["type"] == "http.request" and message.get("more_body", False))
        return message

    async def drop(self, seconds: float) -> None:
        """Read the rest without keeping it, for at most so long.

        A connection that is closed on bytes nobody read is reset, and who sent them never sees the answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.whole:
                    await self()


def replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, then what comes behind it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
