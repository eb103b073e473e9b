"""One Watch stream as a client sees it: what came by watch id, and the promises that were broken.

What must hold on either side, whatever else happens, is checked while reading and noted in
`Record.problems`:

* no event comes before its watch is created, or after it was cancelled;
* revisions ascend; all events of one revision come in one answer, which only a watch that asked
  for it may get in fragments;
* a header's revision is not below that of the answer's events;
* fragments: every answer but the last of such a row says `fragment`, is smaller than the bound
  unless it holds one event, and could not have held the next one's first event;
* a progress notification is only for a watch that asked, or for none (-1), and no event at or
  below its revision comes after it.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import grpc

from tests.differential.comparison import Fields, flatten
from trioetcd.schema import messages

__all__ = ["FRAGMENT_BYTES", "Record", "WatchStream"]

FRAGMENT_BYTES: Final = 1_572_864 + 512 * 1024
"""`--max-request-bytes` and what gRPC may add: etcd's defaults."""

END_SECONDS: Final = 20.0
NOBODY: Final = -1
"""The watch id of refusals and of progress that concerns the whole stream."""

ENDED: Final = -2
"""Where the end of the stream itself is noted."""


class Record:
    """What came on one stream, and what was wrong with it.

    Args:
        strict: whether progress must be a promise and fragments be exact: etcd 3.5 answers a
            progress request at once, whatever waits to be sent, and does not split what it had
            read before it announced the watch.

    Attributes:
        seen: for each watch id, what arrived: control answers and events as field mappings.
        notified: for each watch id, the revision of its last progress notification.
        fragments: how many answers said that more of them follows.
        problems: broken promises noticed while reading.
    """

    def __init__(self, *, strict: bool) -> None:
        self.seen: dict[int, list[Fields]] = defaultdict(list)
        self.notified: dict[int, int] = {}
        self.fragments = 0
        self.problems: list[str] = []
        self._strict = strict
        self._asked: dict[int, messages.WatchCreateRequest] = {}
        self._creating: list[messages.WatchCreateRequest] = []
        self._last: dict[int, int] = {}
        self._open: dict[int, messages.WatchResponse] = {}
        self._fresh: set[int] = set()

    def expect(self, request: messages.WatchRequest) -> None:
        """Take a request into account that is being sent."""
        if request.HasField("create_request"):
            self._creating.append(request.create_request)

    def asked(self, number: int) -> messages.WatchCreateRequest | None:
        """Give what was asked for with a watch that is there; None if it is not."""
        return self._asked.get(number)

    def note(self, response: messages.WatchResponse) -> None:
        """Take an answer in."""
        number = response.watch_id
        if response.created:
            request = self._creating.pop(0) if self._creating else None
            if request is None:
                self._problem(number, "created unasked")
            elif not response.canceled:
                self._asked[number] = request
                self.notified.pop(number, None)
                start = request.start_revision
                self._last[number] = start - 1 if start else response.header.revision
                self._fresh.add(number)
        if response.events:
            self._note_events(number, response)
        elif not response.created and not response.canceled and number != NOBODY:
            self._note_progress(number, response.header.revision)
            return
        if response.canceled and not response.created:
            self._asked.pop(number, None)
        if response.created or response.canceled or not response.events:
            self.seen[number].append(flatten(response))
        if number == NOBODY and not response.created and self._strict:
            for watch in self._asked:
                self._last[watch] = max(self._last[watch], response.header.revision)

    def _note_progress(self, number: int, revision: int) -> None:
        request = self._asked.get(number)
        if self._strict and (request is None or not request.progress_notify):
            # 3.5 may send it just behind the answer to a cancellation
            self._problem(number, "notified unasked")
        self.notified[number] = revision
        self._last[number] = max(self._last.get(number, 0), revision)

    def _note_events(self, number: int, response: messages.WatchResponse) -> None:
        request = self._asked.get(number)
        if request is None:
            self._problem(number, "events of a watch that is not there")
        before = self._open.pop(number, None)
        first = response.events[0].kv.mod_revision
        if first + (before is not None) <= self._last.get(number, 0):
            self._problem(number, f"revision {first} split or repeated")
        revisions = [event.kv.mod_revision for event in response.events]
        if revisions != sorted(revisions):
            self._problem(number, f"revisions {revisions} in one answer")
        last = revisions[-1]
        self._last[number] = last
        if response.header.revision < last:
            self._problem(number, f"header {response.header.revision} < {last}")
        self._check_size(number, response, before, split=request is not None and request.fragment)
        if response.fragment:
            self.fragments += 1
            self._open[number] = response
        self._fresh.discard(number)
        self.seen[number].extend(flatten(event) for event in response.events)

    def _check_size(
        self,
        number: int,
        response: messages.WatchResponse,
        before: messages.WatchResponse | None,
        *,
        split: bool,
    ) -> None:
        if (response.fragment or before is not None) and not split:
            self._problem(number, "fragments unasked")
        if before is not None:
            if response.header != before.header:
                self._problem(number, "fragments with two headers")
            whole = messages.WatchResponse()
            whole.CopyFrom(before)
            whole.events.append(response.events[0])
            if whole.ByteSize() < FRAGMENT_BYTES:
                self._problem(number, f"a fragment of {before.ByteSize()} bytes had room for more")
        excused = number in self._fresh and not self._strict
        large = len(response.events) > 1 and response.ByteSize() >= FRAGMENT_BYTES
        if split and large and not excused:
            self._problem(number, f"{response.ByteSize()} bytes in one answer")

    def _problem(self, number: int, what: str) -> None:
        self.problems.append(f"watch {number}: {what}")


class WatchStream(Record):
    """One Watch stream; its answers are collected by watch id, in order.

    Args:
        channel: the connection.
        strict: see `Record`.
    """

    def __init__(self, channel: grpc.Channel, *, strict: bool) -> None:
        super().__init__(strict=strict)
        self._requests: queue.SimpleQueue[messages.WatchRequest | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[messages.WatchResponse | str] = queue.SimpleQueue()
        method = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=messages.WatchRequest.SerializeToString,
            response_deserializer=messages.WatchResponse.FromString,
        )
        self._call = method(self._outgoing())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: messages.WatchRequest) -> None:
        """Send one request."""
        self.expect(request)
        self._requests.put(request)

    def receive(self, seconds: float) -> bool:
        """Note the next answer; False if none came in time."""
        try:
            response = self._responses.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        if isinstance(response, str):
            self.seen[ENDED].append({"error": response})
            return True
        self.note(response)
        return True

    def close(self) -> None:
        """End the stream."""
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(END_SECONDS)

    def _outgoing(self) -> Iterator[messages.WatchRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                self._responses.put(f"{error.code().name}: {error.details()}")
