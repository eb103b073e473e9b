"""What a handler knows of the call it answers: who calls, where answers go, what came along.

Handlers know no protocol: gRPC, JSON and WebSocket frontends all implement these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from trioetcd.ports import Sink

__all__ = ["MessageStream", "Metadata", "StreamHandler", "UnaryHandler"]


class Metadata(Protocol):
    """The call's metadata, lower-case names."""

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

StreamHandler = Callable[[Metadata, MessageStream], Awaitable[None]]
"""Serves one stream until it ends."""
