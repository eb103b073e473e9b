"""The watches of both sides, and the comparison of what each was given.

Compared exactly, for each watch id of each stream, in order:

* the answers to requests: `created`, `canceled`, `compact_revision`, `cancel_reason`, the id and
  the header's revision;
* progress that was asked for (id -1) with its header's revision;
* every event with all its fields, `prev_kv` included.

Not compared, because etcd is free in it: how events are grouped into answers, the header of an
answer with events, the order of answers of different watches, and when a progress notification
comes. What must hold for those is checked on each side by itself (`streams`), and `Quiet` waits
until all that are due have come.

etcd reads a previous value, and what a watch of the past missed, when it sends it; so a step
that could change the outcome waits until all watches have caught up. Only `Raced` does not: its
watch may be given all, or be cancelled as compacted, on either side.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.differential.comparison import Difference, Fields, compare
from tests.differential.generator import RACED
from tests.differential.newer import negative_start
from tests.differential.requests import SENTINEL
from tests.differential.servers import Side
from tests.differential.streams import WatchStream
from trioetcd.schema import messages

__all__ = ["SENTINEL_WATCH", "Watches", "raced"]

RPC: Final = "Watch/Watch"
SENTINEL_WATCH: Final = 4_000_000

QUIET_SECONDS: Final = 0.25
"""etcd brings watches of the past up to date every 100 ms; after this long it has."""

PATIENCE_SECONDS: Final = 20.0
"""How long an answer or an event may be late before it is missing."""

Seen = dict[int, list[Fields]]


@dataclass(slots=True)
class Watches:
    """Watch streams on both sides.

    Attributes:
        reference: the side that is right.
        subject: the side under test.
        starts: for each stream, the start revision of each watch by its id.
        ended: for each stream, the ids of watches that were cancelled as compacted: they stay
            taken until they are cancelled once more.
    """

    reference: Side
    subject: Side
    starts: dict[int, dict[int, int]] = field(default_factory=dict)
    ended: dict[int, set[int]] = field(default_factory=dict)
    _restless_until: float = 0.0

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.reference, self.subject

    def open(self, number: int) -> None:
        """Open a stream, with the watch of the sentinel on it."""
        if number not in self.starts:
            self.starts[number] = {}
            self.ended[number] = set()
            create = messages.WatchCreateRequest(key=SENTINEL, watch_id=SENTINEL_WATCH)
            self._send(number, messages.WatchRequest(create_request=create))

    def close(self, number: int) -> None:
        """End a stream."""
        for side in self._sides:
            side.close_stream(number)
        del self.starts[number], self.ended[number]

    # -- requests ----------------------------------------------------------------------------

    def create(self, number: int, request: messages.WatchRequest, revision: int) -> None:
        """Create a watch on both sides; `revision` is the newest."""
        create = request.create_request
        answer = self._send(number, request)
        if create.start_revision <= revision:
            self._restless_until = time.monotonic() + QUIET_SECONDS
        if not answer.get("canceled"):
            given = answer.get("watch_id", 0)
            assert isinstance(given, int)
            self.starts[number][given] = create.start_revision

    def create_negative(
        self, number: int, request: messages.WatchRequest, revision: int
    ) -> list[Difference]:
        """Create a watch from before the beginning, which 3.5 takes to the harm of others."""
        if not self.subject.strict:  # 3.5 against itself
            return []
        stream = self.subject.stream(number)
        answer = self._ask(stream, request)
        stream.seen.pop(-1, None)
        return compare(RPC, negative_start(revision), answer)

    def cancel(self, number: int, request: messages.WatchRequest) -> None:
        """Cancel a watch on both sides."""
        watch = request.cancel_request.watch_id
        if watch in self.starts[number].keys() | self.ended[number]:
            self._send(number, request)
            self.starts[number].pop(watch, None)
            self.ended[number].discard(watch)
        else:  # silently ignored
            self.tell(number, request)

    def tell(self, number: int, request: messages.WatchRequest) -> None:
        """Send both sides what may not be answered."""
        for side in self._sides:
            side.stream(number).send(request)

    def progress(self, number: int, request: messages.WatchRequest, revision: int) -> None:
        """Ask for progress; while a watch waits for its start, nobody is to answer since 3.6."""
        if any(start > revision for start in self.starts[number].values()):
            if self.subject.strict:
                self.subject.stream(number).send(request)
        else:
            self._send(number, request)

    def _send(self, number: int, request: messages.WatchRequest) -> Fields:
        """Send a request that is answered at once; give the reference's answer."""
        self._ask(self.subject.stream(number), request)
        return self._ask(self.reference.stream(number), request)

    def _ask(self, stream: WatchStream, request: messages.WatchRequest) -> Fields:
        before = {key: len(items) for key, items in stream.seen.items()}
        stream.send(request)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for key, items in stream.seen.items():
                for item in items[before.get(key, 0) :]:
                    if _answers(request, item):
                        return item
            stream.receive(deadline - time.monotonic())
        return {}

    # -- waiting -----------------------------------------------------------------------------

    def rest(self) -> None:
        """Let watches of the past catch up."""
        seconds = self._restless_until - time.monotonic()
        deadline = time.monotonic() + seconds
        while self.starts and time.monotonic() < deadline:
            for side in self._sides:
                for stream in side.streams.values():
                    stream.receive(0.005)

    def await_sentinel(self, revision: int) -> None:
        """Wait until every stream has been given the sentinel of a revision."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for side in self._sides:
            for stream in side.streams.values():
                while not any(
                    item.get("kv.mod_revision") == revision for item in stream.seen[SENTINEL_WATCH]
                ):
                    if not stream.receive(deadline - time.monotonic()):
                        break

    def quiet(self, revision: int) -> list[Difference]:
        """Wait for all progress notifications that are due at `revision`; give what is wrong."""
        found: list[Difference] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        for side, name in ((self.reference, "reference"), (self.subject, "subject")):
            for number, stream in side.streams.items():
                due = {
                    watch
                    for watch, start in self.starts[number].items()
                    if start <= revision and _wants_progress(stream, watch)
                }
                # whoever waits for its start has made no progress; 3.5 thinks otherwise
                early = {
                    watch
                    for watch, start in self.starts[number].items()
                    if start > revision and side.strict
                }
                found += [
                    _wrong(number, watch, name, stream.notified[watch])
                    for watch in sorted(early & stream.notified.keys())
                ]
                while any(stream.notified.get(watch) != revision for watch in due):
                    if not stream.receive(deadline - time.monotonic()):
                        break
                found += [
                    _wrong(number, watch, name, stream.notified.get(watch), revision)
                    for watch in sorted(due)
                    if stream.notified.get(watch) != revision
                ]
        return found

    # -- comparing ---------------------------------------------------------------------------

    def compare(self) -> list[Difference]:
        """Compare all watches of all streams, waiting for the slower side; forget what was seen."""
        differences: list[Difference] = []
        for number, expected in self.reference.streams.items():
            got = self.subject.streams[number]
            deadline = time.monotonic() + PATIENCE_SECONDS
            while _pruned(expected.seen) != _pruned(got.seen) and time.monotonic() < deadline:
                expected.receive(0.001)
                got.receive(0.001)
                if _hopeless(expected.seen, got.seen):
                    break
            differences += _stream_differences(number, expected.seen, got.seen)
            differences += self._problems(number)
            for watch, items in expected.seen.items():
                if any(item.get("compact_revision") for item in items):
                    self.starts[number].pop(watch, None)
                    self.ended[number].add(watch)
            expected.seen.clear()
            got.seen.clear()
        return differences

    def _problems(self, number: int) -> list[Difference]:
        found: list[Difference] = []
        for side, name in ((self.reference, "reference"), (self.subject, "subject")):
            stream = side.streams[number]
            found += [Difference(RPC, f"stream[{number}].{name}", "", it) for it in stream.problems]
            stream.problems.clear()
        return found

    def race(
        self,
        number: int,
        create: messages.WatchCreateRequest,
        compact: Callable[[Side], None],
    ) -> None:
        """Create a watch of the past with a compaction right behind it, on both sides."""
        for side in self._sides:
            side.stream(number).send(messages.WatchRequest(create_request=create))
            compact(side)
        self._restless_until = time.monotonic() + QUIET_SECONDS

    def finish_race(self, number: int) -> list[Difference]:
        """Compare what the raced watch was given up to the sentinel, and cancel it."""
        sides = [side.stream(number) for side in self._sides]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := raced(*(side.seen[RACED] for side in sides))) and (
            time.monotonic() < deadline
        ):
            for side in sides:
                side.receive(0.001)
        differences = [
            item._replace(field=f"stream[{number}].watch[{RACED}].{item.field}") for item in found
        ]
        cancel = messages.WatchCancelRequest(watch_id=RACED)
        self._send(number, messages.WatchRequest(cancel_request=cancel))
        for side in sides:
            side.seen.pop(RACED)
        return differences


def raced(expected: list[Fields], got: list[Fields]) -> list[Difference]:
    """Compare two watches that may have been cancelled as compacted, or not.

    Events are the same as far as both have them; who has fewer has been cancelled.
    """
    first, second = (
        [item for item in items if "type" in item or "kv" in item] for items in (expected, got)
    )
    found = [
        difference
        for left, right in zip(first, second, strict=False)
        for difference in compare(RPC, left, right)
    ]
    ends = [[item for item in items if "canceled" in item] for items in (expected, got)]
    for items, other, end, name in (
        (first, second, ends[0], "reference"),
        (second, first, ends[1], "subject"),
    ):
        if len(items) < len(other) and not end:
            found.append(Difference(RPC, f"{name}.events", len(other), len(items)))
    if all(ends):
        found += compare(RPC, ends[0][0], ends[1][0])
    return found


def _wants_progress(stream: WatchStream, watch: int) -> bool:
    request = stream.asked(watch)
    return request is not None and request.progress_notify


def _wrong(number: int, watch: int, side: str, got: object, expected: object = None) -> Difference:
    return Difference(RPC, f"stream[{number}].watch[{watch}].{side}.notified", expected, got)


def _answers(request: messages.WatchRequest, item: Fields) -> bool:
    """Whether this item is the control answer to the request (a cancel may arrive unasked)."""
    if "error" in item:
        return True
    if "header" not in item:
        return False
    match request.WhichOneof("request_union"):
        case "create_request":
            return "created" in item
        case "cancel_request":
            asked = request.cancel_request.watch_id
            return "canceled" in item and item.get("watch_id", 0) == asked
        case _:
            return not item.keys() & {"created", "canceled"}


def _pruned(seen: Seen) -> Seen:
    return {key: items for key, items in seen.items() if items}


def _hopeless(expected: Seen, got: Seen) -> bool:
    """Whether what has arrived differs already, so that more cannot mend it."""
    return any(
        first != second
        for key in expected.keys() & got.keys()
        for first, second in zip(expected[key], got[key], strict=False)
    )


def _stream_differences(number: int, expected: Seen, got: Seen) -> list[Difference]:
    found: list[Difference] = []
    nothing: Fields = {"arrived": "nothing"}
    for watch in sorted(_pruned(expected).keys() | _pruned(got).keys()):
        first, second = expected.get(watch, []), got.get(watch, [])
        for place in range(max(len(first), len(second))):
            left = first[place] if place < len(first) else nothing
            right = second[place] if place < len(second) else nothing
            found += [
                item._replace(field=f"stream[{number}].watch[{watch}][{place}].{item.field}")
                for item in compare(RPC, left, right)
            ]
    return found
