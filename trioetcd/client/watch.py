"""Watching keys: events in order, without gap or repetition, across lost connections."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from trioetcd.client.connection import Call, Connection
from trioetcd.client.errors import DisconnectedError, WatchCompactedError, error_from_wire
from trioetcd.client.results import WatchEvent
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages

__all__ = ["Watch", "open_watch"]

PATH: Final = "/etcdserverpb.Watch/Watch"

RESUME_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Pauses before each further attempt to resume; the last one is repeated."""

Dial = Callable[[], Awaitable[Connection]]
"""Gives a connection of the watch's own, or raises `DisconnectedError`."""


class Watch:
    """An asynchronous iterator over `WatchEvent`.

    It never ends by itself. If the connection is lost it goes on from the last revision that
    arrived whole, on any endpoint, for as long as the caller waits.

    Attributes:
        revision: everything up to this revision has been handed out, or did not concern us.
    """

    def __init__(self, dial: Dial, create: messages.WatchCreateRequest) -> None:
        self.revision = create.start_revision - 1
        self._dial = dial
        self._create = create
        self._events: deque[WatchEvent] = deque()
        self._call: Call | None = None
        self._arrived = self.revision

    async def start(self) -> None:
        """Open the stream and wait until the server has taken the watch on.

        Raises:
            EtcdError: the server refuses the watch.
            DisconnectedError: no endpoint can be reached.
        """
        connection = await self._dial()
        self._call = connection.call(PATH, metadata=(("hasleader", "true"),))
        create = messages.WatchCreateRequest()
        create.CopyFrom(self._create)
        if self._arrived >= 0:
            create.start_revision = self._arrived + 1
        self._call.send(messages.WatchRequest(create_request=create).SerializeToString())
        response = await self._receive()
        assert response.created
        if self._arrived < 0:
            # from now on; should the connection be lost before the first event, "now" stays
            self.revision = self._arrived = response.header.revision

    async def _receive(self) -> messages.WatchResponse:
        assert self._call is not None
        message = await self._call.receive()
        if message is None:
            raise DisconnectedError("the server ended the watch stream")
        response = messages.WatchResponse.FromString(message)
        if response.canceled:
            if response.compact_revision:
                raise WatchCompactedError(response.compact_revision)
            raise error_from_wire(Code.UNKNOWN, response.cancel_reason)
        return response

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> WatchEvent:
        """Give the next event.

        Raises:
            WatchCompactedError: the history it needed is gone.
            EtcdError: the server ended the watch for another reason.
        """
        while not self._events:
            self.revision = max(self.revision, self._arrived)
            response = await self._receive_resuming()
            self._events.extend(WatchEvent.read(event) for event in response.events)
            if response.events:
                self._arrived = response.events[-1].kv.mod_revision
            elif not response.created:  # progress: all that is older has been sent
                self._arrived = max(self._arrived, response.header.revision)
        event = self._events.popleft()
        self.revision = max(self.revision, event.revision - 1)
        return event

    async def _receive_resuming(self) -> messages.WatchResponse:
        attempt = 0
        while True:
            try:
                if self._call is None:
                    await self.start()
                return await self._receive()
            except DisconnectedError:
                self._call = None
            except EtcdError as error:
                # leader lost, member stopping: another time or another member will do
                if error.code is not Code.UNAVAILABLE:
                    raise
                self._call = None
            await trio.sleep(RESUME_SECONDS[min(attempt, len(RESUME_SECONDS) - 1)])
            attempt += 1

    def cancel(self) -> None:
        """Say that no more events are wanted."""
        if self._call is not None:
            self._call.cancel()


@asynccontextmanager
async def open_watch(
    dial: Dial,
    create: messages.WatchCreateRequest,
) -> AsyncIterator[Watch]:
    """Start a watch, and cancel it when the block ends."""
    watch = Watch(dial, create)
    await watch.start()
    try:
        yield watch
    finally:
        watch.cancel()
