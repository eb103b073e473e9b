"""What a handler knows of the call it answers: who calls, where answers go, what came along.

Handlers know no protocol: gRPC, JSON and WebSocket frontends all implement these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from trioetcd.errors import Code, EtcdError, no_request
from trioetcd.pki import Origin
from trioetcd.ports import Sink

__all__ = [
    "MessageStream",
    "Metadata",
    "StreamHandler",
    "UnaryHandler",
    "WaitingHandler",
    "as_stream",
    "raw_errors",
]


class Metadata(Protocol):
    """The call's metadata, lower-case names."""

    @property
    def origin(self) -> Origin:
        """Who is at the other end of the connection."""

    def get(self, name: str, /) -> bytes | None:
        """Give the first value under `name`, or None."""


class MessageStream(Protocol):
    """A call with many messages."""

    async def receive(self) -> bytes | None:
        """Give the next message of the client, or None when it will send no more."""

    async def send(self, messages: list[bytes], /) -> None:
        """Send messages in order; returns when the client's window has room for more."""


UnaryHandler = Callable[[Sink, int, Metadata, bytes], bytes | list[bytes] | None]
"""Answers one request message with one response message (or its pieces), or with None when the
answer comes later through the caller's `answer`."""

WaitingHandler = Callable[[Metadata, bytes], Awaitable[bytes]]
"""Answers one request message with one response message, after as long a wait as it takes; it is
cancelled when nobody wants the answer any more."""

StreamHandler = Callable[[Metadata, MessageStream], Awaitable[None]]
"""Serves one stream until it ends."""


def as_stream(handler: WaitingHandler) -> StreamHandler:
    """Give a stream of one request and one response that `handler` serves."""

    async def serve(metadata: Metadata, stream: MessageStream) -> None:
        message = await stream.receive()
        if message is None:
            raise no_request()
        await stream.send([await handler(metadata, message)])

    return serve


@contextmanager
def raw_errors() -> Iterator[None]:
    """Let errors have no code of their own: only their texts say what is wrong.

    So it is with services that etcd makes of a client of its own, which has no codes any more.
    """
    try:
        yield
    except EtcdError as error:
        raise EtcdError(error.row._replace(code=Code.UNKNOWN)) from error
