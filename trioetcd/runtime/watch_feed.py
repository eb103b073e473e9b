"""One watch stream: a reader that takes requests, a writer that sends what has happened.

The session itself is a value without tasks (`mvcc.watch_session`); this is only who calls it
when. A reader slower than the store holds up nobody: while its window is full nothing is taken
from the session, whose watchers turn into cursors and cost no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioetcd.mvcc import WatchSession
from trioetcd.runtime.bare import bare

__all__ = ["TAKE_BYTES", "WatchStream", "feed"]

TAKE_BYTES: Final = 256 * 1024
"""What is taken from a session at a time; joining it stays below 0.1 ms."""


class WatchStream(Protocol):
    """The client's end, whatever the protocol."""

    async def next(self, session: WatchSession) -> bool:
        """Take the next request to the session; False when no more will come."""

    async def send(self, messages: list[bytes], /) -> None:
        """Send serialised WatchResponses."""


async def feed(stream: WatchStream, make: Callable[[Callable[[], None]], WatchSession]) -> None:
    """Serve one watch stream until the client ends it."""
    awake = trio.Event()
    room = trio.Event()

    def wake() -> None:
        awake.set()

    session = make(wake)

    async def write() -> None:
        nonlocal awake, room
        while True:
            messages = session.take(TAKE_BYTES)
            if messages:
                await stream.send(messages)
                room.set()
                room = trio.Event()
            elif not session.more:
                await awake.wait()
                awake = trio.Event()
            await trio.lowlevel.checkpoint()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while await stream.next(session):
                # A client that asks without reading what it is answered is not asked for more.
                while session.congested:
                    await room.wait()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise bare(group) from None
    finally:
        session.close()
