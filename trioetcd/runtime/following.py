"""A watch of this member's own: its events come one response after the other, none is left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.server import Server
from trioetcd.runtime.watch_feed import TAKE_BYTES
from trioetcd.schema import messages

__all__ = ["Following"]


class Following:
    """One watch, for the task that reads it; `close` ends it.

    A reader that is slow costs no memory: what it has not taken is read from the history later.

    Args:
        server: the member.
        create: what is watched, and from which revision on.
        permit: says why that must not be watched (any more); None if it may.
    """

    def __init__(
        self,
        server: Server,
        create: messages.WatchCreateRequest,
        permit: Callable[[KeyRange], EtcdError | None],
    ) -> None:
        self._permit = permit
        self._keys = KeyRange.from_wire(create.key, create.range_end)
        self._awake = trio.Event()
        self._taken: deque[bytes] = deque()
        self._session = WatchSession(server.hub, server.header, wake=self._wake, permit=permit)
        self._session.handle(messages.WatchRequest(create_request=create))

    def _wake(self) -> None:
        self._awake.set()

    async def next(self) -> messages.WatchResponse:
        """Give the next response; the first one says only that the watch is made.

        Raises:
            EtcdError: the watch is not permitted (any more).
        """
        while not self._taken:
            self._taken.extend(self._session.take(TAKE_BYTES))
            if not self._taken and not self._session.more:
                await self._awake.wait()
                self._awake = trio.Event()
            await trio.lowlevel.checkpoint()
        response = messages.WatchResponse.FromString(self._taken.popleft())
        if response.canceled and (refusal := self._permit(self._keys)) is not None:
            raise refusal
        return response

    def close(self) -> None:
        """End the watch."""
        self._session.close()
