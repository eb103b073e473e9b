"""What has happened, revision by revision: from a ring in memory, or from table ``r``.

The ring holds the events of the last revisions up to a number of bytes, whatever the number of
watchers; older ones are read back and look the same. Nothing here decides who sees an event.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trioetcd.mvcc.layout import (
    CREATED,
    DELETED,
    META_SIZE,
    ONE,
    RECORD,
    RECORD_SIZE,
    REVISION_SUB,
    TWO,
    Tables,
    escape,
)
from trioetcd.ports import ReadView
from trioetcd.schema.fastpath import delete_event

__all__ = ["HISTORY_BYTES", "Event", "HistoryReader", "Ring"]

Event = tuple[bytes, bytes, bytes | None]
"""A key, its Event message without prev_kv, and the previous key as field 3 (None: there is
none, or it has been compacted)."""

HISTORY_BYTES: Final = 8 << 20
"""What the ring holds: at least what is not yet on the disk (4 MiB), so that a watcher which
was just a moment late is served from memory."""

EVENT_BYTES: Final = 200
"""What a tuple of three bytes objects costs beside their contents."""


class Ring:
    """The events of the last revisions, without a gap.

    Attributes:
        first: the oldest revision held; one more than `last` when nothing is held.
        last: the newest revision there is.
        size: the bytes held.
    """

    __slots__ = ("_events", "_limit", "_sizes", "first", "last", "size")

    def __init__(self, last: int, limit: int = HISTORY_BYTES) -> None:
        self._events: dict[int, list[Event]] = {}
        self._sizes: deque[int] = deque()
        self._limit = limit
        self.last = last
        self.first = last + 1
        self.size = 0

    def append(self, revision: int, events: list[Event]) -> None:
        """Take in the events of the next revision."""
        size = 0
        for _, message, previous in events:
            size += len(message) + EVENT_BYTES
            if previous is not None:
                size += len(previous)
        self._events[revision] = events
        self._sizes.append(size)
        self.last = revision
        size += self.size
        while size > self._limit and self.first < revision:
            size -= self._sizes.popleft()
            del self._events[self.first]
            self.first += 1
        self.size = size

    def get(self, revision: int) -> list[Event]:
        """Give the events of a revision between `first` and `last`."""
        return self._events[revision]


class HistoryReader:
    """Reads the revisions from `position` on, in bounded steps.

    Attributes:
        position: the first revision that has not been given out.
    """

    __slots__ = ("_after", "_group", "_ring", "_tables", "_view", "position")

    def __init__(self, view: ReadView, tables: Tables, ring: Ring, position: int) -> None:
        self._view = view
        self._tables = tables
        self._ring = ring
        self.position = position
        self._group: list[Event] = []
        self._after = b""

    def step(
        self, last: int, rows: int, size: int, compacted: int
    ) -> list[tuple[int, list[Event]]]:
        """Give whole revisions up to `last`, about `rows` events and `size` bytes in all.

        A revision larger than a step is gathered over several of them, because its events
        belong together; such a step may give nothing.

        Args:
            last: the newest revision wanted.
            rows: the bound on events read.
            size: the bound on bytes read.
            compacted: the compact revision: events up to it have no previous key any more.
        """
        ring = self._ring
        page: list[tuple[int, list[Event]]] = []
        if self.position < ring.first:
            rows, size = self._read(min(last, ring.first - 1), rows, size, compacted, page)
        while rows > 0 and size > 0 and ring.first <= self.position <= last:
            position = self.position
            events = ring.get(position)
            if position <= compacted:
                events = [(key, message, None) for key, message, _ in events]
            self.position = position + 1
            rows -= len(events)
            size -= sum(len(event[1]) for event in events)
            page.append((position, events))
        return page

    def _read(
        self,
        last: int,
        rows: int,
        size: int,
        compacted: int,
        page: list[tuple[int, list[Event]]],
    ) -> tuple[int, int]:
        """Read on in table ``r``; gives what is left of `rows` and `size`."""
        prefix = self._tables.revisions
        skip = len(prefix)
        position = self.position
        group = self._group
        start = self._after or prefix + REVISION_SUB.pack(position, 0)
        for raw, record in self._view.scan(start, prefix + REVISION_SUB.pack(last + 1, 0)):
            revision: int = ONE.unpack_from(raw, skip)[0]
            if revision != position:
                if group:
                    page.append((position, group))
                    group = []
                position = revision
            if rows <= 0 or size <= 0:
                self._after = raw
                break
            rows -= 1
            event = self._event(record, revision, compacted)
            if event is not None:
                group.append(event)
                size -= len(event[1])
        else:
            if group:
                page.append((position, group))
                group = []
            position = last + 1
            self._after = b""
        self._group = group
        self.position = position
        return rows, size

    def _event(self, record: bytes, revision: int, compacted: int) -> Event | None:
        kind, previous, _, _ = RECORD.unpack_from(record)
        key = record[RECORD_SIZE:]
        get = self._view.get
        tables = self._tables
        if kind & DELETED:
            message = delete_event(key, revision)
        else:
            row = get(tables.current + key)
            if row is not None and TWO.unpack_from(row)[1] == revision:
                message = row[META_SIZE:]
            else:
                row = get(tables.old + escape(key) + ONE.pack(revision))
                if row is None:
                    return None  # superseded within a revision that has been compacted
                message = row[ONE.size + META_SIZE :]
        before = None
        if previous and revision > compacted and not kind & CREATED:
            row = get(tables.old + escape(key) + ONE.pack(previous))
            if row is not None:
                before = b"\x1a" + row[ONE.size + META_SIZE + 1 :]
        return key, message, before
