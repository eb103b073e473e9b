"""What clients and watchers of a cluster saw, and the log that the watchers' sight amounts to."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

__all__ = [
    "Event",
    "History",
    "Kind",
    "Log",
    "Operation",
    "Response",
    "Row",
    "Stream",
    "within",
]


class Row(NamedTuple):
    """A key as it stood at some revision."""

    key: bytes
    value: bytes
    create: int
    mod: int
    version: int
    lease: int


class Event(NamedTuple):
    """One change of one key: what it became, and what it was; None is no key.

    `before` is None as well where it was not asked for.
    """

    key: bytes
    revision: int
    now: Row | None
    before: Row | None


class Kind(Enum):
    """What a client may ask for."""

    PUT = "put"
    DELETE = "delete"
    TXN = "txn"
    SWAP = "swap"
    REVOKE = "revoke"
    RANGE = "range"
    STALE = "stale range"
    PAST = "range at a revision"

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self in WRITES


WRITES = frozenset({Kind.PUT, Kind.DELETE, Kind.TXN, Kind.SWAP, Kind.REVOKE})


@dataclass(slots=True)
class Operation:
    """One request and its answer.

    Attributes:
        client: who asked.
        kind: for what.
        invoked: when, in nanoseconds of the harness's clock.
        returned: when the answer came; None if none came, or one that says nothing.
        revision: what the answer's header carried; 0 if it is not known.
        key: of a read, where it begins.
        end: of a read, where it ends, as etcd writes it.
        at: of a read at a revision, which one.
        limit: of a read, how many keys at most.
        values: of a write, what it leaves per key; None is no key.
        lease: of a write, the lease the keys are attached to, or the one that is revoked.
        expected: of a swap, the revision its key must have been changed at last; 0: no key.
        done: of a swap or delete, whether it changed something.
        found: what a read found.
        refused: the server's sentence, if it said that it would not.
    """

    client: str
    kind: Kind
    invoked: int
    returned: int | None = None
    revision: int = 0
    key: bytes = b""
    end: bytes = b""
    at: int = 0
    limit: int = 0
    values: dict[bytes, bytes | None] = field(default_factory=dict)
    lease: int = 0
    expected: int = 0
    done: bool = True
    found: tuple[Row, ...] = ()
    refused: str = ""


@dataclass(slots=True)
class Response:
    """One response of a watch: events, or none, which is progress.

    Attributes:
        revision: of its header.
        events: in the order in which they came.
    """

    revision: int
    events: tuple[Event, ...]


@dataclass(slots=True)
class Stream:
    """One watch on one connection.

    Attributes:
        who: the watcher, and whom it asked.
        key: where its interval begins.
        end: where it ends, as etcd writes it.
        start: the first revision it is to see.
        prev_kv: whether it asked what keys were before.
        responses: what came, in order.
    """

    who: str
    key: bytes
    end: bytes
    start: int
    prev_kv: bool
    responses: list[Response] = field(default_factory=list)

    @property
    def position(self) -> int:
        """The revision up to which it has seen everything."""
        last = [r.events[-1].revision if r.events else r.revision for r in self.responses]
        return max([self.start - 1, *last])


@dataclass(slots=True)
class History:
    """Everything that was seen in one run.

    Attributes:
        operations: in the order in which they were asked.
        streams: all watches.
        collectors: those that together saw everything, of which the log is made.
        compacted: the greatest revision anybody asked to compact to.
    """

    operations: list[Operation] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    collectors: list[Stream] = field(default_factory=list)
    compacted: int = 0


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a key lies in an interval as etcd writes it."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class Log:
    """What happened, revision by revision, as it was seen at any member.

    Attributes:
        revisions: the events of each revision, without what was before.
        last: the greatest revision.
        flaws: one sentence for each thing that cannot be.
    """

    def __init__(self, collectors: Iterable[Stream]) -> None:
        self.revisions: dict[int, tuple[Event, ...]] = {}
        self.flaws: list[str] = []
        self._keys: list[bytes] = []
        self._past: dict[bytes, tuple[list[int], list[Row | None]]] = {}
        for stream in collectors:
            for revision, events in by_revision(stream.responses):
                bare = tuple(event._replace(before=None) for event in events)
                other = self.revisions.setdefault(revision, bare)
                if other != bare:
                    self.flaws.append(
                        f"revision {revision} is {bare} to {stream.who}, {other} to another"
                    )
        self.last = max(self.revisions, default=1)
        for revision in range(2, self.last + 1):
            if revision not in self.revisions:
                self.flaws.append(f"nobody saw revision {revision} of {self.last}")
        for revision in sorted(self.revisions):
            for event in self.revisions[revision]:
                self._replay(event)

    def _replay(self, event: Event) -> None:
        before = self.get(event.key, event.revision - 1)
        now = event.now
        if event.key not in self._past:
            insort(self._keys, event.key)
            self._past[event.key] = ([], [])
        if now is None:
            if before is None:
                self.flaws.append(f"revision {event.revision} deletes {event.key!r}, which is not")
        else:
            created = event.revision if before is None else before.create
            version = 1 if before is None else before.version + 1
            wanted = now._replace(create=created, mod=event.revision, version=version)
            if now != wanted:
                self.flaws.append(f"{now} should be {wanted}")
        revisions, rows = self._past[event.key]
        revisions.append(event.revision)
        rows.append(now)

    def get(self, key: bytes, revision: int) -> Row | None:
        """Give a key as it stood at a revision."""
        revisions, rows = self._past.get(key, ([], []))
        at = bisect_right(revisions, revision) - 1
        return None if at < 0 else rows[at]

    def select(self, key: bytes, end: bytes, revision: int) -> tuple[Row, ...]:
        """Give the keys of an interval as they stood at a revision, in order."""
        first = bisect_left(self._keys, key)
        if not end:
            last = bisect_right(self._keys, key)
        else:
            last = len(self._keys) if end == b"\0" else bisect_left(self._keys, end)
        rows = (self.get(each, revision) for each in self._keys[first:last])
        return tuple(row for row in rows if row is not None)

    def attached(self, lease: int, revision: int) -> set[bytes]:
        """Give the keys that were attached to a lease at a revision."""
        rows = (self.get(each, revision) for each in self._keys)
        return {row.key for row in rows if row is not None and row.lease == lease}

    def events(self, key: bytes, end: bytes, first: int, last: int) -> list[Event]:
        """Give what a watch of an interval is to see, from one revision to another."""
        return [
            event._replace(before=self.get(event.key, revision - 1))
            for revision in range(first, last + 1)
            for event in self.revisions.get(revision, ())
            if within(event.key, key, end)
        ]


def by_revision(responses: Sequence[Response]) -> Iterator[tuple[int, tuple[Event, ...]]]:
    """Give the events of each response, grouped by revision."""
    for response in responses:
        group: list[Event] = []
        for event in response.events:
            if group and group[-1].revision != event.revision:
                yield group[0].revision, tuple(group)
                group = []
            group.append(event)
        if group:
            yield group[0].revision, tuple(group)
