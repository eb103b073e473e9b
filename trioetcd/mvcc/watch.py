"""The hub of all watches of a member: hands each revision's events to those who want them.

A watcher is *synced*, without a number of its own, while it has been given everything up to the
hub's revision. The first match it cannot be sent at once turns it into a *lagging* one with its
first undelivered revision; it then reads the history at its own pace (`watch_session`) and comes
back. Only a lagging one can fall below the compact revision. A watcher whose start revision is
still to come waits in a queue. Nothing is ever stored for a watcher but that one number.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.history import Event
from trioetcd.mvcc.interest import Interests
from trioetcd.mvcc.store import Store
from trioetcd.schema.fastpath import event_field, varint

if TYPE_CHECKING:
    from trioetcd.mvcc.watch_session import WatchSession

__all__ = ["NO_DELETE", "NO_PUT", "Batch", "Group", "WatchHub", "Watcher"]

SYNCED, LAGGING, WAITING, ENDED = range(4)

NO_PUT: Final = 1
NO_DELETE: Final = 2
"""Filter bits of a watcher."""


class Watcher:
    """One watch of a stream.

    Attributes:
        session: the stream it belongs to.
        id: its number on that stream.
        field: the number as the watch_id field of a response.
        keys: what it watches.
        start: the start revision asked for, 0 for "from now on".
        next: the first revision not given out, while it is lagging or waiting.
        filters: NO_PUT, NO_DELETE bits.
        prev_kv, fragment, progress: as asked for.
        state: SYNCED, LAGGING, WAITING for its start, or ENDED by compaction.
        tick: the session's tick during which it was last sent an event the slow way.
    """

    __slots__ = (
        "field",
        "filters",
        "fragment",
        "id",
        "keys",
        "next",
        "prev_kv",
        "progress",
        "session",
        "start",
        "state",
        "tick",
    )

    def __init__(
        self,
        session: WatchSession,
        watch_id: int,
        keys: KeyRange,
        start: int,
        *,
        filters: int,
        prev_kv: bool,
        fragment: bool,
        progress: bool,
    ) -> None:
        self.session = session
        self.id = watch_id
        self.field = b"\x10" + varint(watch_id) if watch_id else b""
        self.keys = keys
        self.start = start
        self.next = start
        self.filters = filters
        self.prev_kv = prev_kv
        self.fragment = fragment
        self.progress = progress
        self.state = SYNCED
        self.tick = 0


class Group:
    """The synced watchers of one session on one interval.

    Attributes:
        plain: those that take every event whole: number to watch_id field.
        special: the others, by number.
        tick: the session's tick during which the plain ones were last sent an event.
    """

    __slots__ = ("plain", "special", "tick")

    def __init__(self) -> None:
        self.plain: dict[int, bytes] = {}
        self.special: dict[int, Watcher] = {}
        self.tick = 0

    def add(self, watcher: Watcher) -> None:
        """Take a watcher in."""
        if watcher.filters or watcher.prev_kv or watcher.fragment:
            self.special[watcher.id] = watcher
        else:
            self.plain[watcher.id] = watcher.field

    def remove(self, watcher: Watcher) -> bool:
        """Let a watcher go; True if it was the last."""
        self.plain.pop(watcher.id, None)
        self.special.pop(watcher.id, None)
        return not self.plain and not self.special


class Batch:
    """Events for those who want one interval; made into bytes once for all of them.

    Attributes:
        plain: the events as fields of a WatchResponse, joined.
    """

    __slots__ = ("_events", "_fields", "plain")

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._fields: dict[tuple[int, bool], list[bytes]] = {}
        if len(events) == 1:
            self.plain = event_field(events[0][1])
        else:
            self.plain = b"".join([event_field(event[1]) for event in events])

    def fields(self, filters: int, *, prev_kv: bool) -> list[bytes]:
        """Give the event fields that pass, each with its previous key if wanted."""
        fields = self._fields.get((filters, prev_kv))
        if fields is None:
            fields = [
                event_field(message, before or b"") if prev_kv else event_field(message)
                for _, message, before in self._events
                if not filters or not filters & (NO_PUT if message[0] == 0x12 else NO_DELETE)
            ]
            self._fields[filters, prev_kv] = fields
        return fields


Entry = dict["WatchSession", Group]


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
        self.sessions: dict[WatchSession, None] = {}
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
