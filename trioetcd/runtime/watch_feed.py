"""One watch stream: a reader that takes requests, a writer that sends what has happened.

The session itself is a value without tasks (`mvcc.watch_session`); this is only who calls it
when. A reader slower than the store holds up nobody: while its window is full nothing is taken
from the session, whose watchers turn into cursors and cost no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import trio

from trioetcd.mvcc import WatchSession
from trioetcd.runtime.bare import bare

__all__ = ["TAKE_BYTES", "Prompt", "Pushes", "WatchStream", "feed"]

TAKE_BYTES: Final = 256 * 1024
"""What is taken from a session at a time; joining it stays below 0.1 ms."""


PUSHES_MAX: Final = 4
"""So many streams are written to within a turn; more would keep its callers waiting."""

PUSH_BYTES: Final = 4096
"""What is written to a stream within a turn; a page takes 0.1 ms, with its TLS."""


class Pushes:
    """Streams that are written to within the turn whose events woke them, as long as they are few.

    A task of its own does it a round of the loop later, behind the answers: 0.3 ms where the
    machine has little to do (docs/performance.md).
    """

    def __init__(self) -> None:
        self._open = False
        self._pushes: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Gather from now on."""
        self._open = True

    def take(self, push: Callable[[], None]) -> bool:
        """Call `push` before the turn ends; False if nobody gathers, or there are many."""
        if not self._open or len(self._pushes) >= PUSHES_MAX:
            return False
        self._pushes.append(push)
        return True

    def end(self) -> None:
        """Call what was gathered."""
        self._open = False
        pushes, self._pushes = self._pushes, []
        for push in pushes:
            push()


@runtime_checkable
class Prompt(Protocol):
    """A stream that can be written to on the spot."""

    @property
    def has_room(self) -> bool:
        """Whether nothing waits to be sent."""

    def send_nowait(self, messages: list[bytes], /) -> object:
        """Send serialised WatchResponses; to be called while there is room."""


class WatchStream(Protocol):
    """The client's end, whatever the protocol."""

    @property
    def prompt(self) -> Prompt | None:
        """The stream again, if it can be written to on the spot."""

    async def next(self, session: WatchSession) -> bool:
        """Take the next request to the session; False when no more will come."""

    async def send(self, messages: list[bytes], /) -> None:
        """Send serialised WatchResponses."""


async def feed(
    stream: WatchStream, make: Callable[[Callable[[], None]], WatchSession], pushes: Pushes
) -> None:
    """Serve one watch stream until the client ends it."""
    awake = trio.Event()
    room = trio.Event()
    idle = False
    prompt = stream.prompt

    def wake() -> None:
        if not (idle and prompt is not None and pushes.take(push)):
            awake.set()

    def push() -> None:
        assert prompt is not None
        if prompt.has_room and session.waiting_bytes <= PUSH_BYTES:
            prompt.send_nowait(session.take(PUSH_BYTES))
        if session.more:
            awake.set()

    session = make(wake)

    async def write() -> None:
        nonlocal awake, room, idle
        while True:
            messages = session.take(TAKE_BYTES)
            if messages:
                await stream.send(messages)
                room.set()
                room = trio.Event()
            elif not session.more:
                idle = True
                await awake.wait()
                idle = False
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
