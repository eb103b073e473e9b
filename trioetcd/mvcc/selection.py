"""Range reads: what to give, in which order, and how to get it in bounded steps.

A cursor walks the current keys or, for an older revision, the current and the old rows side by
side. Nothing here loops without bound: `RangeCursor.step` takes a number of rows and of bytes.
The first step reads the rows as they stand; a cursor that is not done then pins them, so that
all its steps see one state.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.layout import (
    CREATED,
    DELETED,
    META,
    META_SIZE,
    RECORD_SIZE,
    REVISION_SUB,
    Tables,
    escape,
    value_of,
)
from trioetcd.mvcc.old_rows import row_at, rows_at
from trioetcd.mvcc.pinned import Pinned
from trioetcd.ports import ReadView, Snapshot
from trioetcd.schema.fastpath import kv_field

__all__ = ["RangeCursor", "RangeQuery"]

ORDER_NONE, ORDER_ASCEND, ORDER_DESCEND = range(3)
TARGET_KEY, TARGET_VERSION, TARGET_CREATE, TARGET_MOD, TARGET_VALUE = range(5)

WALK_ROWS_MIN: Final = 512
"""So many changes are always walked rather than the keys themselves, to count an old revision."""

_unpack_meta = META.unpack_from


class RangeQuery(NamedTuple):
    """What a Range asks for; the numbers are etcd's (0 or less: no such condition)."""

    range: KeyRange
    revision: int = 0
    limit: int = 0
    sort_order: int = ORDER_NONE
    sort_target: int = TARGET_KEY
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0

    @property
    def small(self) -> bool:
        """Whether it reads one key, or nothing but a count of the keys of now."""
        return self.range.single is not None or (self.count_only and self.revision <= 0)


class RangeCursor:
    """One range read under way.

    Attributes:
        kvs: KeyValue fields found so far (all of them once done), in the order asked for.
        more: whether the limit cut something off; valid once done.
        count: the keys of the whole interval at that revision; valid once done.
        revision: the store's revision when the read began, for the answer's header.
    """

    __slots__ = (
        "_at",
        "_budget",
        "_counter",
        "_found",
        "_matched",
        "_pin",
        "_pinned",
        "_query",
        "_room",
        "_run",
        "_runs",
        "_tables",
        "_view",
        "count",
        "kvs",
        "more",
        "revision",
    )

    def __init__(
        self,
        view: ReadView,
        tables: Tables,
        query: RangeQuery,
        *,
        revision: int,
        counter: Callable[[KeyRange], int],
        pin: Callable[[bytes, bytes], Snapshot] | None,
    ) -> None:
        self._view = view
        self._tables = tables
        self._query = query
        self._counter = counter
        self._pin = pin
        self._pinned: list[Snapshot] = []
        self.revision = revision
        at = query.revision
        self._at = 0 if at <= 0 or at == revision else at
        self.kvs: list[bytes] = []
        self.more = False
        self.count = 0
        self._found = 0
        self._matched = 0
        self._budget = 0
        self._room = 0
        self._run: Iterator[None] | None = None
        self._runs: list[list[tuple[int | bytes, bytes]]] = []

    def step(self, rows: int, size: int) -> bool:
        """Read about `rows` rows and `size` bytes more; True when the answer is whole."""
        self._budget = rows
        self._room = size
        run = self._run
        if run is None:
            query = self._query
            key = query.range.single
            if key is not None:
                self._single(key)
                return True
            if query.range.empty:
                return True
            run = self._run = self._old() if self._at else self._current()
        try:
            next(run)
        except StopIteration:
            self.close()
            return True
        if not self._pinned and self._pin is not None:
            self._pin_all(self._pin)
        return False

    def close(self) -> None:
        """Let go of what is pinned; the cursor cannot be stepped any more."""
        for pinned in self._pinned:
            pinned.close()
        self._pinned = []

    # -- the one key ---------------------------------------------------------------------

    def _single(self, key: bytes) -> None:
        query = self._query
        if self._at:
            row = row_at(self._view, self._tables, key, self._at)
        else:
            row = self._view.get(self._tables.current + key)
        if row is None:
            return
        self.count = 1
        if not query.count_only and self._passes(row):
            self.kvs.append(self._shape(key, row))

    def _passes(self, row: bytes) -> bool:
        query = self._query
        create, mod, _, _ = _unpack_meta(row)
        return not (
            (query.max_mod_revision and mod > query.max_mod_revision)
            or (query.min_mod_revision and mod < query.min_mod_revision)
            or (query.max_create_revision and create > query.max_create_revision)
            or (query.min_create_revision and create < query.min_create_revision)
        )

    def _shape(self, key: bytes, row: bytes) -> bytes:
        if self._query.keys_only:
            create, mod, version, lease = _unpack_meta(row)
            return kv_field(key, create, mod, version, b"", lease)
        return row[META_SIZE:]

    # -- many keys -----------------------------------------------------------------------

    def _pin_all(self, pin: Callable[[bytes, bytes], Snapshot]) -> None:
        tables = self._tables
        start, end = self._query.range
        stop = tables.current_end if end is None else tables.current + end
        pieces = [(tables.current, tables.current_end, pin(tables.current + start, stop))]
        if self._at:
            stop = tables.old_end if end is None else tables.old + escape(end)
            pieces.append((tables.old, tables.old_end, pin(tables.old + escape(start), stop)))
            from_, to = self._changes()
            pieces.append((tables.revisions, tables.revisions_end, pin(from_, to)))
        self._pinned = [piece[2] for piece in pieces]
        self._view = Pinned(pieces)

    def _changes(self) -> tuple[bytes, bytes]:
        prefix = self._tables.revisions
        from_ = prefix + REVISION_SUB.pack(self._at + 1, 0)
        return from_, prefix + REVISION_SUB.pack(self.revision + 1, 0)

    def _filtered(self) -> bool:
        query = self._query
        return bool(
            query.min_mod_revision
            or query.max_mod_revision
            or query.min_create_revision
            or query.max_create_revision
        )

    def _sorted(self) -> bool:
        query = self._query
        if query.sort_target == TARGET_KEY:
            return query.sort_order == ORDER_DESCEND
        return True

    def _prefix_only(self) -> bool:
        """Whether only the first keys, up to the limit and one more, are looked at and sorted.

        So does etcd where a target is given without an order and without a filter.
        """
        query = self._query
        return query.sort_order == ORDER_NONE and query.limit > 0 and not self._filtered()

    def _current(self) -> Iterator[None]:
        query = self._query
        self.count = self._counter(query.range)
        if query.count_only:
            return
        backwards = query.sort_target == TARGET_KEY and query.sort_order == ORDER_DESCEND
        if self._sorted() and not backwards:
            yield from self._walk(self._sort_in, backwards=False)
            yield from self._merge_runs()
        elif self._filtered():
            yield from self._walk(self._filter_in, backwards=backwards)
        else:
            yield from self._walk_plain(backwards=backwards)

    def _bounds(self) -> tuple[bytes, bytes]:
        tables = self._tables
        start, end = self._query.range
        return tables.current + start, (tables.current_end if end is None else tables.current + end)

    def _walk_plain(self, *, backwards: bool) -> Iterator[None]:
        start, stop = self._bounds()
        query = self._query
        limit = query.limit
        if limit > 0:
            self.more = self.count > limit
        wanted = min(limit, self.count) if limit > 0 else self.count
        keys_only = query.keys_only
        skip = len(self._tables.current)
        kvs = self.kvs
        left = wanted
        while left > 0:
            rows = min(self._budget, left)
            room = self._room
            raw = b""
            found = 0
            view = self._view
            scan = view.scan_back(start, stop) if backwards else view.scan(start, stop)
            for raw, row in islice(scan, rows):
                if keys_only:
                    create, mod, version, lease = _unpack_meta(row)
                    kvs.append(kv_field(raw[skip:], create, mod, version, b"", lease))
                else:
                    kvs.append(row[META_SIZE:])
                    room -= len(row)
                found += 1
                if room <= 0:
                    break
            assert found, "the directory counts keys that are not there"
            left -= found
            if left <= 0:
                return
            if backwards:
                stop = raw
            else:
                start = raw + b"\0"
            yield

    def _walk(self, take: Callable[[bytes, bytes], bool], *, backwards: bool) -> Iterator[None]:
        start, stop = self._bounds()
        skip = len(self._tables.current)
        while True:
            view = self._view
            scan = view.scan_back(start, stop) if backwards else view.scan(start, stop)
            budget = self._budget
            for raw, row in scan:
                if take(raw[skip:], row):
                    return
                budget -= 1
                self._room -= len(row)
                if budget <= 0 or self._room <= 0:
                    break
            else:
                return
            if backwards:
                stop = raw
            else:
                start = raw + b"\0"
            yield

    def _filter_in(self, key: bytes, row: bytes) -> bool:
        """Take a row that passes, in key order; True when the limit is passed."""
        if not self._passes(row):
            return False
        limit = self._query.limit
        if limit > 0 and len(self.kvs) >= limit:
            self.more = True
            return True
        self.kvs.append(self._shape(key, row))
        return False

    def _sort_in(self, key: bytes, row: bytes) -> bool:
        """Take a row that passes into the runs to be sorted."""
        if not self._passes(row):
            return False
        self._matched += 1
        target = self._query.sort_target
        by: int | bytes
        if target == TARGET_KEY:
            by = key
        elif target == TARGET_VALUE:
            by = value_of(row[META_SIZE:])
        else:
            create, mod, version, _ = _unpack_meta(row)
            by = (version, create, mod)[target - 1]
        runs = self._runs
        if not runs or len(runs[-1]) >= RUN_ROWS:
            if runs:
                self._sort_run(runs[-1])
            runs.append([])
        runs[-1].append((by, self._shape(key, row)))
        return self._prefix_only() and self._matched > self._query.limit

    def _sort_run(self, run: list[tuple[int | bytes, bytes]]) -> None:
        run.sort(key=_by, reverse=self._query.sort_order == ORDER_DESCEND)
        limit = self._query.limit
        if limit > 0:
            del run[limit:]

    def _merge_runs(self) -> Iterator[None]:
        runs = self._runs
        if not runs:
            return
        self._sort_run(runs[-1])
        reverse = self._query.sort_order == ORDER_DESCEND
        limit = self._query.limit
        self.more = 0 < limit < self._matched
        merged = heapq.merge(*runs, key=_by, reverse=reverse)
        rest = limit if limit > 0 else self._matched
        kvs = self.kvs
        while rest > 0:
            found = [kv for _, kv in islice(merged, min(rest, max(self._budget, 1)))]
            if not found:
                return
            kvs += found
            rest -= len(found)
            if rest > 0:
                yield

    # -- an old revision -----------------------------------------------------------------

    def _old(self) -> Iterator[None]:
        query = self._query
        start = query.range.start
        # The keys of now must be counted in the first step: later ones see pinned rows only.
        self.count = self._counter(query.range)
        if query.count_only:
            yield from self._old_count(start)
            return
        if self._sorted():
            yield from self._old_walk(start, self._sort_in)
            yield from self._merge_runs()
        elif self._filtered():
            yield from self._old_walk(start, self._filter_in)
        else:
            yield from self._old_walk(start, self._plain_in)
        if self.more and (not self._sorted() or self._prefix_only()):
            yield from self._old_count(start)
        else:
            self.count = self._found

    def _plain_in(self, key: bytes, row: bytes) -> bool:
        limit = self._query.limit
        if limit > 0 and len(self.kvs) >= limit:
            self.more = True
            return True
        self.kvs.append(self._shape(key, row))
        return False

    def _old_count(self, start: bytes) -> Iterator[None]:
        """Count the interval at the old revision: the shorter of two walks."""
        now = self.count
        if self.revision - self._at <= max(now, WALK_ROWS_MIN):
            yield from self._count_back(now)
        else:
            self._found = 0
            yield from self._old_walk(start, _ignore)
            self.count = self._found

    def _count_back(self, now: int) -> Iterator[None]:
        """Undo the creates and deletes since, from their records."""
        keys = self._query.range
        count = now
        from_, to = self._changes()
        while True:
            budget = self._budget
            last = from_
            for raw, record in self._view.scan(from_, to):
                if record[0] & (CREATED | DELETED) and record[RECORD_SIZE:] in keys:
                    count += 1 if record[0] & DELETED else -1
                budget -= 1
                if budget <= 0:
                    last = raw
                    break
            else:
                break
            from_ = last + b"\0"
            yield
        self.count = count

    def _old_walk(self, start: bytes, take: Callable[[bytes, bytes], bool]) -> Iterator[None]:
        """Go through the keys that lived at the old revision, from `start`, ascending."""
        end = self._query.range.end
        while True:
            position = self._old_page(start, end, take)
            if position is None:
                return
            start = position
            yield

    def _old_page(
        self, start: bytes, end: bytes | None, take: Callable[[bytes, bytes], bool]
    ) -> bytes | None:
        """Walk one step's rows; the key to go on from, or None at the end."""
        for key, found in rows_at(self._view, self._tables, start, end, self._at):
            self._budget -= 1
            if found is not None:
                self._found += 1
                self._room -= len(found)
                if take(key, found):
                    return None
            if self._budget <= 0 or self._room <= 0:
                return key + b"\0"
        return None


RUN_ROWS: Final = 4096
"""Rows sorted at once: about 1 ms."""


def _by(entry: tuple[int | bytes, bytes]) -> int | bytes:
    return entry[0]


def _ignore(_key: bytes, _row: bytes) -> bool:
    return False
