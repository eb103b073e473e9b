"""The revisioned key space: what is there now, what was there, and one request's change to it.

`Store.put` is the hot path: straight-line code on the space. Everything that can change more
than one key goes through a `WriteTxn` (`mvcc.write`), whose effects nobody sees before they are
whole. Neither knows of leases, alarms or requests; they are the state machine's.

Nothing here grows with the number of keys but the counts directory.
"""

from __future__ import annotations

from zlib import crc32

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.compaction import Compaction
from trioetcd.mvcc.content import ContentHash
from trioetcd.mvcc.counts import Counts
from trioetcd.mvcc.hash import chain_at
from trioetcd.mvcc.history import HISTORY_BYTES, Event, HistoryReader, Ring
from trioetcd.mvcc.layout import (
    CREATED,
    KEY_BYTES,
    LEASE_BYTES,
    META,
    META_SIZE,
    OLD_BYTES,
    ONE,
    RECORD,
    RECORD_BYTES,
    REVISION_SUB,
    Tables,
)
from trioetcd.mvcc.old_rows import row_at
from trioetcd.mvcc.selection import RangeCursor, RangeQuery
from trioetcd.ports import Space
from trioetcd.schema.fastpath import kv_field

__all__ = ["Store"]

_unpack_meta = META.unpack_from
_pack_meta = META.pack
_pack_one = ONE.pack
_pack_place = REVISION_SUB.pack
_pack_record = RECORD.pack


class Store:
    """The key space of one epoch.

    Args:
        space: where the rows are.
        epoch: the byte every table begins with.
        revision: the last revision, as recovered; 1 for a new store.
        compact_revision: the compact revision, as recovered.
        history_bytes: what the ring of recent events may hold.

    Attributes:
        revision: the last revision.
        compact_revision: reads and watches below it are refused; -1 if there was no compaction,
            so that one to revision 0 is taken once (etcd).
        chain: the chain hash at `revision`.
        ring: the recent events.
        counts: the directory.
        compaction: physical compaction's progress.
        kept_bytes: what the rows of keys, their history and their leases take, keys and values:
            exact, and on the disk with them (`layout`).
        freed: stretches of raw keys in which very many rows were deleted; whoever asks the
            backend to give back their space clears the list.
    """

    def __init__(
        self,
        space: Space,
        *,
        epoch: bytes,
        revision: int,
        compact_revision: int,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        self.space = space
        self._history_bytes = history_bytes
        self.freed: list[tuple[bytes, bytes]] = []
        self.load(epoch=epoch, revision=revision, compact_revision=compact_revision)

    def load(self, *, epoch: bytes, revision: int, compact_revision: int) -> None:
        """Start again from the rows of an epoch (also after a snapshot was installed)."""
        space = self.space
        tables = self.tables = Tables(epoch)
        self.revision = revision
        self.compact_revision = compact_revision
        self.counts = Counts(space, tables)
        self.chain = chain_at(space, tables, revision)
        self.ring = Ring(revision, self._history_bytes)
        self.compaction = Compaction(space, tables, compact_revision, self.freed)
        self._current = tables.current
        self._old = tables.old
        self._revisions = tables.revisions
        self._kept = tables.kept
        kept = space.get(tables.kept)
        self.kept_bytes: int = 0 if kept is None else ONE.unpack(kept)[0]

    # -- reads -------------------------------------------------------------------------------

    def current(self, key: bytes) -> bytes | None:
        """Give the row of a key as it is now: META, then its KeyValue field."""
        return self.space.get(self._current + key)

    def current_kv(self, key: bytes) -> bytes | None:
        """Give the KeyValue field of a key as it is now."""
        row = self.space.get(self._current + key)
        return None if row is None else row[META_SIZE:]

    def create_revision(self, key: bytes) -> int:
        """Give the revision at which a key that there is now was created, or 0."""
        row = self.space.get(self._current + key)
        return 0 if row is None else int(_unpack_meta(row)[0])

    def at(self, key: bytes, revision: int) -> bytes | None:
        """Give the row a key had at a revision that is neither compacted nor to come."""
        return row_at(self.space, self.tables, key, revision)

    def check_revision(self, revision: int) -> None:
        """Refuse a revision to read at that is compacted or still to come.

        Raises:
            EtcdError: COMPACTED or FUTURE_REVISION; 0 and less mean "now" and are never refused.
        """
        if revision > self.revision:
            raise EtcdError(errors.FUTURE_REVISION)
        if 0 < revision < self.compact_revision:
            raise EtcdError(errors.COMPACTED)

    def range(self, query: RangeQuery) -> RangeCursor:
        """Begin a range read.

        Raises:
            EtcdError: COMPACTED or FUTURE_REVISION.
        """
        self.check_revision(query.revision)
        return RangeCursor(
            self.space,
            self.tables,
            query,
            revision=self.revision,
            counter=self.counts.count,
            pin=self.space.snapshot,
        )

    def count(self, keys: KeyRange) -> int:
        """Give how many keys there are in an interval now."""
        return self.counts.count(keys)

    def reader(self, position: int) -> HistoryReader:
        """Begin to read what happened, from a revision on."""
        return HistoryReader(self.space, self.tables, self.ring, position)

    def hash_kv(self, revision: int) -> tuple[int, int, int]:
        """Give the hash of the key space, the compact revision (or -1) and the revision hashed.

        Raises:
            EtcdError: COMPACTED or FUTURE_REVISION.
        """
        self.check_revision(revision)
        if revision <= 0:
            revision = self.revision
        if revision == self.revision:
            return self.chain, self.compact_revision, revision
        return chain_at(self.space, self.tables, revision), self.compact_revision, revision

    def content_hash(self, revision: int) -> ContentHash:
        """Begin to hash what every key was at a revision (0: now), from the rows as they stand.

        Raises:
            EtcdError: COMPACTED or FUTURE_REVISION.
        """
        self.check_revision(revision)
        if revision <= 0:
            revision = self.revision
        return ContentHash(self.space, self.tables, revision, is_now=revision == self.revision)

    # -- changes -----------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int, old: bytes | None) -> list[Event]:
        """Put one key under a revision of its own; the lease's rows are the caller's.

        Args:
            key: not empty.
            value: its new value.
            lease: the lease it is attached to, or 0.
            old: what `current(key)` gives.

        Returns:
            The events of the revision: one.
        """
        space_put = self.space.put
        revision = self.revision + 1
        size = len(key)
        if old is None:
            field = kv_field(key, revision, revision, 1, value, lease)
            row = _pack_meta(revision, revision, 1, lease) + field
            kind = CREATED
            previous = old_lease = old_bytes = 0
            before = None
            grown = KEY_BYTES + size + len(row)
            space_put(self._current + key, row)
            self.counts.add(key)
        else:
            create, previous, version, old_lease = _unpack_meta(old)
            version += 1
            name = key.replace(b"\0", b"\0\xff") + b"\0\x01"
            space_put(self._old + name + _pack_one(previous), _pack_one(revision) + old)
            field = kv_field(key, create, revision, version, value, lease)
            row = _pack_meta(create, revision, version, lease) + field
            space_put(self._current + key, row)
            kind = 0
            before = b"\x1a" + old[META_SIZE + 1 :]
            old_bytes = OLD_BYTES + len(name) + len(old)
            grown = old_bytes + len(row) - len(old)
        chain = self.chain = crc32(field, self.chain)
        space_put(
            self._revisions + _pack_place(revision, 0),
            _pack_record(kind, previous, chain, old_bytes) + key,
        )
        if lease != old_lease:
            grown += (LEASE_BYTES + size) * (bool(lease) - bool(old_lease))
        kept = self.kept_bytes = self.kept_bytes + grown + RECORD_BYTES + size
        space_put(self._kept, _pack_one(kept))
        self.revision = revision
        events: list[Event] = [(key, field, before)]
        self.ring.append(revision, events)
        return events

    def compact(self, revision: int) -> None:
        """Move the compact revision; the rows go in later steps.

        Raises:
            EtcdError: COMPACTED if it is there already, FUTURE_REVISION if it is to come.
        """
        if revision <= self.compact_revision:
            raise EtcdError(errors.COMPACTED)
        if revision > self.revision:
            raise EtcdError(errors.FUTURE_REVISION)
        self.compact_revision = revision
        self.compaction.target = revision

    def compact_step(self, rows: int) -> bool:
        """Forget about `rows` records' worth of compacted history; True while there is more."""
        compaction = self.compaction
        more = compaction.step(rows)
        if compaction.released:
            self.keep(-compaction.released)
            compaction.released = 0
        return more

    def keep(self, grown: int) -> None:
        """Note by how many bytes the rows that are kept have grown."""
        self.kept_bytes += grown
        self.space.put(self._kept, ONE.pack(self.kept_bytes))
