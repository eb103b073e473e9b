"""One request's change to many keys: whole or not at all, and unseen until it is whole.

A `WriteTxn` keeps its rows in a dict over the space, reads through it, and merges it at the end
in one go. All its changes share one revision; a request that changed nothing takes none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Final, Protocol
from zlib import crc32

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.compaction import BULK_ROWS
from trioetcd.mvcc.history import Event
from trioetcd.mvcc.layout import (
    CREATED,
    DELETED,
    KEY_BYTES,
    LEASE_BYTES,
    META,
    META_SIZE,
    ONE,
    RECORD,
    RECORD_BYTES,
    REVISION_SUB,
    SHADOWED,
    escape,
)
from trioetcd.mvcc.selection import RangeCursor, RangeQuery
from trioetcd.mvcc.store import Store
from trioetcd.ports import Row, WriteBatch
from trioetcd.schema.fastpath import delete_event, kv_field

__all__ = ["STEP_ROWS", "Attachments", "WriteTxn"]

STEP_ROWS: Final = 512
"""Rows changed or read between two pauses of a long request: about 2 ms."""


class Attachments(Protocol):
    """Where it is written which keys hang on a lease."""

    def attach(self, rows: WriteBatch, lease: int, key: bytes, /) -> None:
        """Write that `key` hangs on `lease`."""

    def detach(self, rows: WriteBatch, lease: int, key: bytes, /) -> None:
        """Write that it no longer does."""


class WriteTxn:
    """The change one request makes, under the store's next revision.

    Attributes:
        begin: the store's revision when the change began.
        events: what has happened so far, in order.
    """

    __slots__ = (
        "_attachments",
        "_batch",
        "_chain",
        "_changes",
        "_currents",
        "_grown",
        "_net",
        "_others",
        "_sorted",
        "_space",
        "_store",
        "_tables",
        "_touched",
        "begin",
        "events",
    )

    def __init__(self, store: Store, attachments: Attachments) -> None:
        self._store = store
        self._attachments = attachments
        self._space = store.space
        self._tables = store.tables
        self.begin = store.revision
        self._chain = store.chain
        self.events: list[Event] = []
        # Rows of table c by raw key, and of all other tables; None deletes.
        self._currents: dict[bytes, bytes | None] = {}
        self._others: dict[bytes, bytes | None] = {}
        self._batch = _Rows(self._others)
        self._sorted: list[bytes] = []
        # What each changed key was when the request began.
        self._touched: dict[bytes, bytes | None] = {}
        # Keys made (+1) or gone (-1) on balance, and the same by block of the directory.
        self._net: dict[bytes, int] = {}
        # By how many bytes the rows that are kept have grown.
        self._grown = 0
        self._changes: dict[int, int] = {}

    @property
    def revision(self) -> int:
        """What a read within the request gives as the revision."""
        return self.begin + 1 if self.events else self.begin

    # -- reads -------------------------------------------------------------------------------

    def current(self, key: bytes) -> bytes | None:
        """Give the row of a key as this request has left it so far."""
        raw = self._tables.current + key
        if raw in self._currents:
            return self._currents[raw]
        return self._space.get(raw)

    def get(self, raw: bytes, /) -> bytes | None:
        """Give a row of table ``c`` as changed so far (`ReadView`)."""
        if raw in self._currents:
            return self._currents[raw]
        return self._space.get(raw)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through rows of table ``c`` as changed so far (`ReadView`)."""
        pending = self._slice(start, stop)
        rows = self._space.scan(start, stop)
        if not pending:
            return rows
        return self._merge(rows, pending, backwards=False)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through rows of table ``c`` as changed so far, descending (`ReadView`)."""
        pending = self._slice(start, stop)
        rows = self._space.scan_back(start, stop)
        if not pending:
            return rows
        pending.reverse()
        return self._merge(rows, pending, backwards=True)

    def _slice(self, start: bytes, stop: bytes) -> list[bytes]:
        keys = self._sorted
        if len(keys) != len(self._currents):
            keys = self._sorted = sorted(self._currents)
        return keys[bisect_left(keys, start) : bisect_left(keys, stop)]

    def _merge(
        self, rows: Iterator[Row], pending: list[bytes], *, backwards: bool
    ) -> Iterator[Row]:
        changed = self._currents
        at = 0
        for raw, row in rows:
            while at < len(pending) and (pending[at] > raw if backwards else pending[at] < raw):
                value = changed[pending[at]]
                if value is not None:
                    yield pending[at], value
                at += 1
            if raw not in changed:
                yield raw, row
        for key in pending[at:]:
            value = changed[key]
            if value is not None:
                yield key, value

    def count(self, keys: KeyRange) -> int:
        """Give how many keys an interval holds as changed so far."""
        number = self._store.counts.count(keys)
        for key, change in self._net.items():
            if key in keys:
                number += change
        return number

    def range(self, query: RangeQuery) -> RangeCursor:
        """Begin a range read that sees what this request has done so far.

        Raises:
            EtcdError: COMPACTED or FUTURE_REVISION.
        """
        if query.revision > 0 or not self.events:
            cursor = self._store.range(query)
            # The store stands still while a request is being applied, so nothing is pinned.
            cursor.revision = self.revision
            return cursor
        return RangeCursor(
            self, self._tables, query, revision=self.begin + 1, counter=self.count, pin=None
        )

    # -- changes -----------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int) -> bytes | None:
        """Put a key; gives the row it had just before."""
        old = self.current(key)
        revision = self.begin + 1
        kind = old_bytes = 0
        before: bytes | None
        if old is None:
            create, version, old_lease = revision, 1, 0
            kind = CREATED
            before = self._touched.setdefault(key, None)
            self._count(key, 1)
        else:
            create, mod, version, old_lease = META.unpack_from(old)
            version += 1
            before = self._touched.setdefault(key, old)
            if mod == revision:
                kind = SHADOWED
            old_bytes = self._shadow(key, mod, old)
        field = kv_field(key, create, revision, version, value, lease)
        row = META.pack(create, revision, version, lease) + field
        self._currents[self._tables.current + key] = row
        self._grown += _bytes_of(key, row)
        self._record(kind, before, key, field, old_bytes)
        if lease != old_lease:
            if old_lease:
                self._attachments.detach(self._batch, old_lease, key)
            if lease:
                self._attachments.attach(self._batch, lease, key)
        return old

    def delete(self, key: bytes, old: bytes) -> None:
        """Delete a key whose row is `old`."""
        revision = self.begin + 1
        _, mod, _, lease = META.unpack_from(old)
        kind = DELETED | SHADOWED if mod == revision else DELETED
        before = self._touched.setdefault(key, old)
        old_bytes = self._shadow(key, mod, old)
        self._currents[self._tables.current + key] = None
        self._record(kind, before, key, delete_event(key, revision), old_bytes)
        self._count(key, -1)
        if lease:
            self._attachments.detach(self._batch, lease, key)

    def delete_range(
        self, keys: KeyRange, *, want_previous: bool
    ) -> Generator[None, None, tuple[int, list[bytes]]]:
        """Delete every key of an interval, pausing every `STEP_ROWS`.

        Returns:
            How many there were, and their KeyValue fields if wanted.
        """
        previous: list[bytes] = []
        key = keys.single
        if key is not None:
            old = self.current(key)
            if old is None:
                return 0, previous
            self.delete(key, old)
            if want_previous:
                previous.append(old[META_SIZE:])
            return 1, previous
        if keys.empty:
            return 0, previous
        tables = self._tables
        skip = len(tables.current)
        start = tables.current + keys.start
        stop = tables.current_end if keys.end is None else tables.current + keys.end
        number = 0
        # What this request changed before; what it deletes from here on lies behind the scan.
        pending = self._slice(start, stop)
        while True:
            pending = pending[bisect_left(pending, start) :]
            rows = self._space.scan(start, stop)
            if pending:
                rows = self._merge(rows, pending, backwards=False)
            found = list(islice(rows, STEP_ROWS))
            for raw, old in found:
                self.delete(raw[skip:], old)
            if want_previous:
                previous += [old[META_SIZE:] for _, old in found]
            number += len(found)
            if len(found) < STEP_ROWS:
                return number, previous
            start = found[-1][0] + b"\0"
            yield

    def _shadow(self, key: bytes, mod: int, old: bytes) -> int:
        """Make a current row an old one; gives the bytes by which table ``o`` has grown."""
        raw = self._tables.old + escape(key) + ONE.pack(mod)
        # A third change of one key in a request replaces what the second left there.
        replaced = self._others.get(raw)
        self._others[raw] = ONE.pack(self.begin + 1) + old
        self._grown -= _bytes_of(key, old)
        if replaced is not None:
            return ONE.size + len(old) - len(replaced)
        return len(raw) + ONE.size + len(old)

    def _record(
        self, kind: int, before: bytes | None, key: bytes, message: bytes, old_bytes: int
    ) -> None:
        previous = 0
        prev_kv = None
        if before is not None:
            previous = META.unpack_from(before)[1]
            if not kind & CREATED:
                prev_kv = b"\x1a" + before[META_SIZE + 1 :]
        self._chain = crc32(message, self._chain)
        place = REVISION_SUB.pack(self.begin + 1, len(self.events))
        record = RECORD.pack(kind, previous, self._chain, old_bytes) + key
        self._others[self._tables.revisions + place] = record
        self._grown += old_bytes + RECORD_BYTES + len(key)
        self.events.append((key, message, prev_kv))

    def _count(self, key: bytes, change: int) -> None:
        number = self._net.get(key, 0) + change
        if number:
            self._net[key] = number
        else:
            self._net.pop(key, None)
        block = self._store.counts.block_of(key)
        self._changes[block] = self._changes.get(block, 0) + change

    def commit(self) -> list[Event]:
        """Make the change; gives the revision's events, none if nothing changed."""
        events = self.events
        space = self._space
        for rows in (self._currents, self._others):
            for raw, row in rows.items():
                if row is None:
                    space.delete(raw)
                else:
                    space.put(raw, row)
        if not events:
            return events
        store = self._store
        if self._changes:
            store.counts.change(self._changes)
        store.keep(self._grown)
        store.revision = self.begin + 1
        store.chain = self._chain
        store.ring.append(store.revision, events)
        if len(self._currents) > BULK_ROWS:
            store.freed.append((min(self._currents), max(self._currents)))
        return events


def _bytes_of(key: bytes, row: bytes) -> int:
    """Give the bytes of a key's current row, and of its row among its lease's keys."""
    size = KEY_BYTES + len(key) + len(row)
    return size + LEASE_BYTES + len(key) if META.unpack_from(row)[3] else size


class _Rows:
    """A dict of rows as a `WriteBatch`."""

    __slots__ = ("_rows",)

    def __init__(self, rows: dict[bytes, bytes | None]) -> None:
        self._rows = rows

    def put(self, key: bytes, value: bytes, /) -> None:
        self._rows[key] = value

    def delete(self, key: bytes, /) -> None:
        self._rows[key] = None
