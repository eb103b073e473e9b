"""The hub of all watches of a member: hands each revision's events to those who want them.

A watcher is *synced*, without a number of its own, while it has been given everything up to the
hub's revision. The first match it cannot be sent at once turns it into a *lagging* one with its
first undelivered revision; it then reads the history at its own pace (`watch_session`) and comes
back. Only a lagging one can fall below the compact revision. A watcher whose start revision is
still to come waits in a queue. Nothing is ever stored for a watcher but that one number.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, Protocol

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.history import Event
from trioetcd.mvcc.interest import Interests
from trioetcd.mvcc.store import Store
from trioetcd.schema.fastpath import event_field, varint

__all__ = [
    "NO_DELETE",
    "NO_PUT",
    "WITH_PREVIOUS",
    "Batch",
    "Group",
    "Session",
    "WatchHub",
    "Watcher",
]

SYNCED, LAGGING, WAITING, ENDED = range(4)

NO_PUT: Final = 1
NO_DELETE: Final = 2
WITH_PREVIOUS: Final = 4
"""What a watcher takes of an event: filters, and whether it wants the previous key."""


class Session(Protocol):
    """What the hub knows of a stream (`watch_session` is one)."""

    @property
    def watchers(self) -> int:
        """How many watches it has."""

    @property
    def lagging(self) -> int:
        """How many of them are catching up."""

    def deliver(self, revision: int, group: Group, batch: Batch, late: list[Watcher], /) -> None:
        """Queue events for a group; watches for which there is no room are added to `late`."""

    def tick(self, now: float, /) -> None:
        """Send the progress notifications that are due."""

    def lag(self, watcher: Watcher, revision: int, /) -> None:
        """Let a watch catch up from a revision on."""

    def reload(self, missed: int, /) -> None:
        """Let every synced watch catch up from a revision on."""

    def recheck(self) -> None:
        """End the watches that are not permitted any more."""


class Watcher:
    """One watch of a stream.

    Attributes:
        session: the stream it belongs to.
        id: its number on that stream.
        field: the number as the watch_id field of a response.
        keys: what it watches.
        start: the start revision asked for, 0 for "from now on".
        next: the first revision not given out, while it is lagging or waiting.
        kind: what it takes of an event: NO_PUT, NO_DELETE, WITH_PREVIOUS bits.
        fragment, progress: as asked for.
        state: SYNCED, LAGGING, WAITING for its start, or ENDED by compaction.
        tick: the session's tick during which it was last sent an event the slow way.
    """

    __slots__ = (
        "field",
        "fragment",
        "id",
        "keys",
        "kind",
        "next",
        "progress",
        "session",
        "start",
        "state",
        "tick",
    )

    def __init__(
        self,
        session: Session,
        watch_id: int,
        keys: KeyRange,
        start: int,
        *,
        kind: int,
        fragment: bool,
        progress: bool,
    ) -> None:
        self.session = session
        self.id = watch_id
        self.field = b"\x10" + varint(watch_id) if watch_id else b""
        self.keys = keys
        self.start = start
        self.next = start
        self.kind = kind
        self.fragment = fragment
        self.progress = progress
        self.state = SYNCED
        self.tick = 0


class Group:
    """The synced watchers of one session on one interval.

    Attributes:
        kinds: by what they take of an event (filters and prev_kv), number to watch_id field.
        split: those whose responses may be fragmented, by number.
        tick: the session's tick during which it was last sent an event.
    """

    __slots__ = ("kinds", "split", "tick")

    def __init__(self) -> None:
        self.kinds: dict[int, dict[int, bytes]] = {}
        self.split: dict[int, Watcher] = {}
        self.tick = 0

    def add(self, watcher: Watcher) -> None:
        """Take a watcher in."""
        if watcher.fragment:
            self.split[watcher.id] = watcher
        else:
            self.kinds.setdefault(watcher.kind, {})[watcher.id] = watcher.field

    def remove(self, watcher: Watcher) -> bool:
        """Let a watcher go; True if it was the last."""
        if watcher.fragment:
            del self.split[watcher.id]
        else:
            fields = self.kinds[watcher.kind]
            del fields[watcher.id]
            if not fields:
                del self.kinds[watcher.kind]
        return not self.kinds and not self.split


class Batch:
    """Events for those who want one interval; made into bytes once for all of them."""

    __slots__ = ("_events", "_fields", "_joined")

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._fields: dict[int, list[bytes]] = {}
        self._joined: dict[int, bytes] = {}

    def fields(self, kind: int) -> list[bytes]:
        """Give the events a kind of watcher takes, each as a field of a WatchResponse."""
        fields = self._fields.get(kind)
        if fields is None:
            fields = [
                event_field(message, before or b"")
                if kind & WITH_PREVIOUS
                else event_field(message)
                for _, message, before in self._events
                if not kind & (NO_PUT if message[0] == _PUT_TAG else NO_DELETE)
            ]
            self._fields[kind] = fields
        return fields

    def joined(self, kind: int) -> bytes:
        """Give the same in one piece; empty if nothing passes."""
        joined = self._joined.get(kind)
        if joined is None:
            fields = self.fields(kind)
            joined = fields[0] if len(fields) == 1 else b"".join(fields)
            self._joined[kind] = joined
        return joined


_PUT_TAG: Final = 0x12
"""A put's Event message begins with its key; a deletion's with its type."""

Entry = dict["Session", Group]


class WatchHub:
    """All watches of a member.

    Args:
        store: where history is read.

    Attributes:
        revision: the last revision published; a synced watcher has been given all up to it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.revision = store.revision
        self.sessions: dict[Session, None] = {}
        self._interests: Interests[Entry] = Interests(dict)
        self._waiting: list[tuple[int, int, Watcher]] = []
        self._arrivals = 0
        self._ended = 0

    @property
    def watchers(self) -> int:
        """How many watches there are."""
        return sum(session.watchers for session in self.sessions)

    @property
    def lagging(self) -> int:
        """How many of them are catching up."""
        return sum(session.lagging for session in self.sessions)

    def publish(self, revision: int, events: list[Event]) -> None:
        """Hand out the events of the next revision."""
        self.revision = revision
        if self._waiting and self._waiting[0][0] <= revision:
            self._start_waiting(revision)
        late: list[Watcher] = []
        at = self._interests.at
        if len(events) == 1:
            found = at(events[0][0])
            if found:
                batch = Batch(events)
                for entry in found:
                    for session, group in entry.items():
                        session.deliver(revision, group, batch, late)
        else:
            # Entries are dicts, so they are told apart by identity.
            matched: dict[int, tuple[Entry, list[Event]]] = {}
            for event in events:
                for entry in at(event[0]):
                    known = matched.get(id(entry))
                    if known is None:
                        matched[id(entry)] = (entry, [event])
                    else:
                        known[1].append(event)
            for entry, wanted in matched.values():
                batch = Batch(wanted)
                for session, group in entry.items():
                    session.deliver(revision, group, batch, late)
        for watcher in late:
            self.leave(watcher)
            watcher.session.lag(watcher, revision)

    def _start_waiting(self, revision: int) -> None:
        while self._waiting and self._waiting[0][0] <= revision:
            _, _, watcher = heappop(self._waiting)
            if watcher.state == WAITING:
                self.join(watcher)

    def enter(self, watcher: Watcher) -> bool:
        """Take in a watcher; False if it starts in the past and must catch up first."""
        start = watcher.start
        if start > self.revision + 1:
            watcher.state = WAITING
            self._arrivals += 1
            heappush(self._waiting, (start, self._arrivals, watcher))
            return True
        if start and start <= self.revision:
            return False
        self.join(watcher)
        return True

    def forget_waiting(self) -> None:
        """Note that a waiting watcher has ended; now and then the queue is cleared of such."""
        self._ended += 1
        if self._ended * 2 > len(self._waiting):
            self._waiting = [each for each in self._waiting if each[2].state == WAITING]
            heapify(self._waiting)
            self._ended = 0

    def join(self, watcher: Watcher) -> None:
        """Take in a watcher that is up to date."""
        watcher.state = SYNCED
        entry = self._interests.obtain(watcher.keys)
        group = entry.get(watcher.session)
        if group is None:
            group = entry[watcher.session] = Group()
        group.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """Let go of a synced watcher."""
        entry = self._interests.obtain(watcher.keys)
        if entry[watcher.session].remove(watcher):
            del entry[watcher.session]
            if not entry:
                self._interests.drop(watcher.keys)

    def group_of(self, watcher: Watcher) -> Group:
        """Give the group of a synced watcher."""
        return self._interests.obtain(watcher.keys)[watcher.session]

    def reload(self) -> None:
        """Go on after the store was loaded anew: everybody reads on from where they were."""
        missed = self.revision + 1
        self.revision = self.store.revision
        for session in self.sessions:
            session.reload(missed)

    def recheck(self) -> None:
        """Have every session see which of its watches are still permitted."""
        for session in list(self.sessions):
            session.recheck()
