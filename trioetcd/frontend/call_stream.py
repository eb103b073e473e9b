"""A call with many messages, between its connection and the handler that serves it."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import trio

from trioetcd.wire import frame

__all__ = ["CallStream"]

INBOX_MESSAGES_MAX: Final = 256
"""With more requests of a stream waiting its client gets no more window."""


class Connection(Protocol):
    """What a stream wants of its connection."""

    @property
    def backlog_bytes_max(self) -> int:
        """With more than this behind its window a stream waits until it is told of as drained."""

    def hold(self, call: int, /) -> None:
        """Give the client no more window on a stream."""

    def release(self, call: int, /) -> None:
        """Let the client go on."""

    def has_room(self, call: int, /) -> bool:
        """Whether nothing of a stream waits to be sent, and the kernel takes what is written."""

    def send_framed(self, call: int, framed: bytes, /) -> int:
        """Queue messages of a stream and write them; gives the bytes behind its window."""

    async def wait_unparked(self) -> None:
        """Wait while the kernel does not take what is written."""


class CallStream:
    """A call with many messages, as handlers see it (`api.context.MessageStream`).

    Attributes:
        finite: whether it ends by itself, and is worth waiting for when its client is to move.
    """

    def __init__(self, connection: Connection, call: int, *, finite: bool = False) -> None:
        self.call = call
        self.finite = finite
        self.scope = trio.CancelScope()
        self.drained = trio.Event()
        self.stopped = False
        self._connection = connection
        self._inbox: deque[bytes] = deque()
        self._ended = False
        self._arrived = trio.Event()
        self._held = False

    def deliver(self, message: bytes) -> None:
        """Take a message of the client."""
        self._inbox.append(message)
        self._arrived.set()
        if len(self._inbox) > INBOX_MESSAGES_MAX and not self._held:
            self._held = True
            self._connection.hold(self.call)

    def half_close(self) -> None:
        """Note that the client will send no more."""
        self._ended = True
        self._arrived.set()

    def stop(self) -> None:
        """End the stream because the member stops."""
        self.stopped = True
        self.scope.cancel()

    async def receive(self) -> bytes | None:
        """Give the next message, or None after the last."""
        while not self._inbox:
            if self._ended:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        message = self._inbox.popleft()
        if self._held and len(self._inbox) < INBOX_MESSAGES_MAX // 2:
            self._held = False
            self._connection.release(self.call)
        return message

    @property
    def has_room(self) -> bool:
        """Whether there is little enough behind the client's window for `send_nowait`."""
        return self._connection.has_room(self.call)

    def send_nowait(self, messages_: list[bytes], /) -> int:
        """Send messages; gives the bytes behind the client's window."""
        framed = b"".join([frame(message) for message in messages_])
        return self._connection.send_framed(self.call, framed)

    async def send(self, messages_: list[bytes], /) -> None:
        """Send messages; returns when little enough is behind the client's window."""
        self.drained = trio.Event()
        connection = self._connection
        if self.send_nowait(messages_) > connection.backlog_bytes_max:
            await self.drained.wait()
        await connection.wait_unparked()
        await trio.lowlevel.checkpoint()
