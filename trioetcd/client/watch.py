"""Watching keys: events in order, without gap or repetition, across lost connections."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from trioetcd.client.calls import Calls
from trioetcd.client.connection import Call
from trioetcd.client.errors import DisconnectedError, WatchCompactedError, error_from_wire
from trioetcd.client.login import Shown
from trioetcd.client.results import WatchEvent
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages

__all__ = ["Watch", "open_watch"]

_STATUS: Final = re.compile(r"\Arpc error: code = \w+ desc = ")
"""Stands before the text of an error that ends a watch."""

PATH: Final = "/etcdserverpb.Watch/Watch"
METADATA: Final = (("hasleader", "true"),)

RESUME_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Pauses before each further attempt to resume; the last one is repeated."""

START_ATTEMPTS: Final = 5
"""A watch that is refused again and again with new tokens is given up."""


class Watch:
    """An asynchronous iterator over `WatchEvent`.

    It never ends by itself. If the connection is lost it goes on from the last revision that
    arrived whole, on any endpoint, for as long as the caller waits.

    Attributes:
        revision: everything up to this revision has been handed out, or did not concern us.
    """

    def __init__(self, calls: Calls, create: messages.WatchCreateRequest) -> None:
        self.revision = create.start_revision - 1
        self._calls = calls
        self._create = create
        self._events: deque[WatchEvent] = deque()
        self._call: Call | None = None
        self._shown: Shown = ()
        self._arrived = self.revision

    async def start(self) -> None:
        """Open the stream and wait until the server has taken the watch on.

        Raises:
            EtcdError: the server refuses the watch.
            DisconnectedError: no endpoint can be reached.
        """
        response = await self._begin()
        assert response.created
        if self._arrived < 0:
            # from now on; should the connection be lost before the first event, "now" stays
            self.revision = self._arrived = response.header.revision

    async def _begin(self) -> messages.WatchResponse:
        """Ask for the watch, and give the first answer; logs in again if that is wanted."""
        create = messages.WatchCreateRequest()
        create.CopyFrom(self._create)
        if self._arrived >= 0:
            create.start_revision = self._arrived + 1
        request = messages.WatchRequest(create_request=create).SerializeToString()
        attempt = 1
        while True:
            self._call, self._shown = await self._calls.open_stream(PATH, METADATA)
            try:
                self._call.send(request)
                return await self._receive()
            except EtcdError as error:
                if attempt == START_ATTEMPTS or not await self._mend(error):
                    raise
            attempt += 1

    async def _mend(self, error: EtcdError) -> bool:
        return await self._calls.login.mend(error, self._shown)

    async def _receive(self) -> messages.WatchResponse:
        assert self._call is not None
        message = await self._call.receive()
        if message is None:
            raise DisconnectedError("the server ended the watch stream")
        response = messages.WatchResponse.FromString(message)
        if response.canceled:
            if response.compact_revision:
                raise WatchCompactedError(response.compact_revision)
            raise error_from_wire(Code.UNKNOWN, _STATUS.sub("", response.cancel_reason))
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
                if error.code is not Code.UNAVAILABLE and not await self._mend(error):
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
    calls: Calls,
    create: messages.WatchCreateRequest,
) -> AsyncIterator[Watch]:
    """Start a watch, and cancel it when the block ends."""
    watch = Watch(calls, create)
    await watch.start()
    try:
        yield watch
    finally:
        watch.cancel()
