"""A watch stream as etcd's Go client has it: many watches, resumed where they were after a cut.

The watches of one stream are created one after the other. A progress response that belongs to no
watch in particular is told to all of them. Where the stream is cut, each goes on from the revision
after the last that it knows. A refusal for want of a leader, or a cancellation, ends them.
Source: etcd's `client/v3/watch.go`.
"""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from tests.proof.history import Event, Response, Stream
from tests.proof.kube import requests
from tests.proof.kube.channel import TRACE, dial
from tests.proof.kube.record import Record, now
from tests.proof.spectators import event_of
from trioetcd import errors
from trioetcd.client import DisconnectedError, WatchCompactedError
from trioetcd.client.connection import Call, Endpoint
from trioetcd.client.errors import error_from_wire
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages

__all__ = ["HAS_LEADER", "Receiver", "Watch", "WatchStream"]

PATH: Final = "/etcdserverpb.Watch/Watch"
HAS_LEADER: Final = (("hasleader", "true"),)
RESUME_SECONDS: Final = 0.1


class Receiver(Protocol):
    """Who is told of changes, at once and in order."""

    def changed(self, events: Sequence[Event]) -> None:
        """Take the events of one response."""

    def progressed(self, revision: int) -> None:
        """Take note that there is nothing more up to a revision."""


class Watch:
    """One watch, over all its resumptions.

    Attributes:
        next: the first revision that it has not been told of.
        ended: set when it has ended.
        error: why it ended; None if it was cancelled from here.
    """

    def __init__(
        self,
        who: str,
        key: bytes,
        end: bytes,
        start: int,
        receiver: Receiver,
        *,
        prev_kv: bool = True,
        progress: bool = True,
        collector: bool = False,
    ) -> None:
        self.who = who
        self.key = key
        self.end = end
        self.next = start
        self.prev_kv = prev_kv
        self.progress = progress
        self.collector = collector
        self.receiver = receiver
        self.ended = trio.Event()
        self.error: EtcdError | None = None
        self.live_from = 0
        self.stream = Stream(who, key, end, start, prev_kv)

    def begin(self, server: str) -> messages.WatchRequest:
        """Give the request that goes on with it."""
        self.stream = Stream(f"{self.who} at {server}", self.key, self.end, self.next, self.prev_kv)
        return requests.create_watch(
            self.key, self.end, self.next, prev_kv=self.prev_kv, progress=self.progress
        )

    def finish(self, error: EtcdError | None) -> None:
        """End it."""
        if not self.ended.is_set():
            self.error = error
            self.ended.set()


class WatchStream:
    """Watches on one connection at a time, to one endpoint after the other.

    Args:
        name: whose.
        endpoints: where to go.
        tls: for the connections.
        record: where everything seen is noted.
        leader: whether to ask for a member that knows a leader.
        source: says what asks, as the watch cache does.

    Attributes:
        impatient: whether somebody always waits for progress when a watch begins, while its
            member has yet to find what it missed.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        tls: ssl.SSLContext,
        record: Record,
        *,
        leader: bool = True,
        source: str = "",
        first: int = 0,
    ) -> None:
        self.name = name
        self.impatient = False
        self._turn = itertools.cycle([*endpoints[first:], *endpoints[:first]])
        self._tls = tls
        self._record = record
        self._metadata = TRACE + (HAS_LEADER if leader else ())
        self._metadata += (("source", source),) if source else ()
        self._watches: list[Watch] = []
        self._wanted = trio.Event()
        self._queue: deque[Watch] = deque()
        self._creating: Watch | None = None
        self._numbers: dict[int, Watch] = {}
        self._call: Call | None = None
        self._server = ""
        self._serving: trio.CancelScope | None = None
        self._away = 0.0
        self._back = trio.Event()

    def watch(self, watch: Watch) -> None:
        """Begin to watch."""
        self._watches.append(watch)
        self._queue.append(watch)
        self._wanted.set()
        self._create()

    def cancel(self, watch: Watch) -> None:
        """Want no more of a watch."""
        watch.finish(None)
        self._forget(watch)
        for number, other in list(self._numbers.items()):
            if other is watch:
                del self._numbers[number]
                self._send(requests.cancel_watch(number).SerializeToString())

    def request_progress(self) -> None:
        """Ask how far everybody is."""
        self._send(requests.PROGRESS)

    def cut(self, seconds: float) -> None:
        """Break the connection and stay away for so long."""
        self._away = seconds
        self._back = trio.Event()
        if self._serving is not None:
            self._serving.cancel()

    def come_back(self) -> None:
        """Stay away no longer."""
        self._back.set()

    def _send(self, data: bytes) -> None:
        if self._call is not None:
            try:
                self._call.send(data)
            except DisconnectedError:
                self._call = None

    def _forget(self, watch: Watch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            while not self._watches:
                self._wanted = trio.Event()
                await self._wanted.wait()
            try:
                with trio.CancelScope() as self._serving:
                    await self._serve(next(self._turn))
            except DisconnectedError:
                self._record.counts["watch streams cut"] += self._call is not None
            except EtcdError as error:
                self._refused(error)
            self._call = None
            self._creating = None
            self._numbers.clear()
            with trio.move_on_after(self._away):
                await self._back.wait()
            self._away = 0.0
            await trio.sleep(RESUME_SECONDS)

    def _refused(self, error: EtcdError) -> None:
        """Go on elsewhere; but want of a leader, and what will not pass, the watches are told."""
        self._record.counts["watch streams ended by the server"] += 1
        self._record.refusals.append((self.name, 0, 0, str(error)))
        no_leader = error.row is errors.NO_LEADER
        if no_leader:
            self._record.counts["watch streams without a leader"] += 1
        if no_leader or error.code not in {Code.UNAVAILABLE, Code.INTERNAL}:
            for watch in list(self._watches):
                watch.finish(error)
            self._watches.clear()

    async def _serve(self, endpoint: Endpoint) -> None:
        connection = await dial(endpoint, self._tls)
        self._server = endpoint.authority
        ended: DisconnectedError | EtcdError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            try:
                self._call = connection.call(PATH, metadata=self._metadata)
                self._queue = deque(self._watches)
                self._create()
                while (message := await self._call.receive()) is not None:
                    self._handle(messages.WatchResponse.FromString(message))
            except (DisconnectedError, EtcdError) as error:
                ended = error
            finally:
                nursery.cancel_scope.cancel()
        raise ended or DisconnectedError("the server ended the stream")

    def _create(self) -> None:
        """Ask for the next watch, if none is being created."""
        while self._creating is None and self._call is not None and self._queue:
            watch = self._queue.popleft()
            if watch.ended.is_set():
                continue
            self._creating = watch
            request = watch.begin(self._server)
            self._record.streams.append(watch.stream)
            if watch.collector:
                self._record.collectors.append(watch.stream)
            self._send(request.SerializeToString())
            if self.impatient:
                self.request_progress()

    def _handle(self, response: messages.WatchResponse) -> None:
        if response.created:
            watch, self._creating = self._creating, None
            if watch is None:
                self._record.flaws.append(f"{self.name}: a watch was created that nobody asked for")
            elif response.canceled:
                self._ended(watch, response)
            elif not watch.ended.is_set():
                watch.live_from = response.header.revision
                self._numbers[response.watch_id] = watch
            else:
                self._send(requests.cancel_watch(response.watch_id).SerializeToString())
            self._create()
        elif response.canceled:
            canceled = self._numbers.pop(response.watch_id, None)
            if canceled is not None:
                self._ended(canceled, response)
        elif response.watch_id == -1 and not response.events:
            self._record.counts["progress answers"] += 1
            for watch in list(self._numbers.values()):
                self._progress(watch, response.header.revision)
        else:
            told = self._numbers.get(response.watch_id)
            if told is None:
                self._record.counts["responses for a watch that is cancelled"] += 1
            elif response.events:
                self._events(told, response)
            else:
                self._record.counts["progress notifications"] += 1
                self._progress(told, response.header.revision)

    def _ended(self, watch: Watch, response: messages.WatchResponse) -> None:
        self._record.refusals.append(
            (watch.stream.who, watch.next, response.compact_revision, response.cancel_reason)
        )
        self._forget(watch)
        if response.compact_revision:
            self._record.counts["watches compacted"] += 1
            watch.finish(WatchCompactedError(response.compact_revision))
        else:
            watch.finish(error_from_wire(Code.UNKNOWN, response.cancel_reason))

    def _look_for_prev_kv(self, watch: Watch, events: Sequence[Event]) -> None:
        """Check that what an object was is left out only where a compaction may have taken it."""
        compacted = max((each.revision for each in self._record.compactions), default=0)
        for event in events if watch.prev_kv else ():
            created = event.now is not None and event.now.create == event.revision
            if event.before is None and not created and event.revision > compacted:
                self._record.flaws.append(
                    f"{watch.stream.who}: {event} lacks prev_kv, with {compacted} compacted"
                )

    def _progress(self, watch: Watch, revision: int) -> None:
        watch.stream.responses.append(Response(revision, ()))
        watch.next = max(watch.next, revision + 1)
        watch.receiver.progressed(revision)

    def _events(self, watch: Watch, response: messages.WatchResponse) -> None:
        record = self._record
        events = tuple(record.keep_event(event_of(event)) for event in response.events)
        watch.stream.responses.append(Response(response.header.revision, events))
        self._look_for_prev_kv(watch, events)
        arrived = now()
        for revision in {event.revision for event in events}:
            if watch.collector:
                record.first.setdefault(revision, arrived)
            elif revision > watch.live_from:
                record.arrivals.append((revision, arrived))
        watch.next = max(watch.next, events[-1].revision + 1)
        watch.receiver.changed(events)
