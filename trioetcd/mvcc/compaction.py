"""Physical compaction: forgetting what no read at or after the compact revision can see.

The records from the last compact revision up to the new one name every old row that is to go,
so no key is looked up, and how many bytes go with it. Steps are bounded, and a row in table ``r``
says how far they have come (the floor, and the place of the last record whose old rows are gone),
so that a restart goes on from there. Each member compacts at its own pace; what a client sees
depends on the compact revision alone.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from trioetcd.mvcc.layout import ONE, RECORD, RECORD_SIZE, REVISION_SUB, SHADOWED, Tables, escape
from trioetcd.ports import Space

__all__ = ["BULK_ROWS", "Compaction"]

BULK_ROWS: Final = 10_000
"""From so many adjacent deleted rows on, the backend should be asked to give back the space:
one seek over a million deleted rows takes a quarter of a second."""


class Compaction:
    """Where physical compaction stands.

    Attributes:
        target: the compact revision it works towards.
        released: the bytes of the rows deleted since somebody set it back.
        allowance: how many records may be forgotten now; None for no bound. Whoever wants pauses
            sets it, and sets it again when a pause is over.
    """

    def __init__(
        self, space: Space, tables: Tables, target: int, freed: list[tuple[bytes, bytes]]
    ) -> None:
        self._space = space
        self._tables = tables
        self.target = target
        self.released = 0
        self.allowance: int | None = None
        row = space.get(tables.revisions)
        # All records below the floor are gone. Those at the floor itself are walked again, but the
        # old rows that they name are gone up to the place that is noted.
        self._floor: int = 0 if row is None else ONE.unpack_from(row)[0]
        self._done = tables.revisions + (b"" if row is None else row[ONE.size :])
        self._next = tables.revisions + REVISION_SUB.pack(self._floor, 0)
        if self._floor < target and self._done.startswith(tables.revisions + ONE.pack(target)):
            # Within the last revision, whose records stay.
            self._next = self._done + b"\0"
        self._walking = target
        self._deleted = 0
        self._first_deleted = self._next
        self._freed = freed

    @property
    def pending(self) -> bool:
        """Whether there is something left to do."""
        return self._floor < self.target

    def step(self, rows: int) -> bool:
        """Forget about `rows` records' worth; True while there is more to do now."""
        target = self.target
        if self._floor >= target:
            return False
        if self.allowance is not None:
            rows = min(rows, self.allowance)
            self.allowance -= rows
            if not rows:
                return False
        space = self._space
        prefix = self._tables.revisions
        old = self._tables.old
        skip = len(prefix)
        if self._walking != target:
            # What was passed over as the last revision to be kept is to go now.
            self._walking = target
            self._next = prefix + REVISION_SUB.pack(self._floor, 0)
        stop = prefix + REVISION_SUB.pack(target + 1, 0)
        found = list(islice(space.scan(self._next, stop), rows))
        for raw, record in found:
            kind, previous, _, old_bytes = RECORD.unpack_from(record)
            revision, _ = REVISION_SUB.unpack_from(raw, skip)
            if (previous or kind & SHADOWED) and raw > self._done:
                self.released += old_bytes
                name = old + escape(record[RECORD_SIZE:])
                if previous:
                    space.delete(name + ONE.pack(previous))
                if kind & SHADOWED:
                    space.delete(name + ONE.pack(revision))
            if revision < target:
                space.delete(raw)
                self.released += len(raw) + len(record)
                self._deleted += 1
        if found:
            self._done = max(self._done, found[-1][0])
        if len(found) == rows:
            last = found[-1][0]
            revision, _ = REVISION_SUB.unpack_from(last, skip)
            self._next = last + b"\0"
            # Not past `revision`: its later records may still be there.
            self._store_floor(min(revision, target - 1))
            return True
        self._store_floor(target)
        self._next = prefix + REVISION_SUB.pack(target, 0)
        if self._deleted > BULK_ROWS:
            self._freed.append((self._first_deleted, self._next))
        self._deleted = 0
        self._first_deleted = self._next
        return False

    def _store_floor(self, revision: int) -> None:
        prefix = self._tables.revisions
        self._floor = max(self._floor, revision)
        self._space.put(prefix, ONE.pack(self._floor) + self._done[len(prefix) :])
