"""The key space as etcd stores it: rows in the order of revisions, for a backup.

etcd keeps one row per change under its revision. Here changes since the compact revision are in
that order (table ``r``), but what was there at the compact revision and is older lies in the order
of keys, so these rows are sorted first: their revisions and keys, not their values.

Within one such older revision the order of its changes is known no more; the keys' order stands in
for it, and nobody can tell, for no watch and no read goes back there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.mvcc.layout import DELETED, META_SIZE, ONE, RECORD, RECORD_SIZE, Tables, escape
from trioetcd.mvcc.sorting import SLICE_ROWS, Sorter, Steps
from trioetcd.ports import ReadView
from trioetcd.schema import messages

__all__ = ["export_revisions", "pack_revision"]

_FIRST_REVISION: Final = 2
"""A new store is at revision 1, and that changes nothing."""

_SLICE_BYTES: Final = 256 * 1024

_SCAN_ROWS: Final = 256
"""Rows of a scan in one slice: about 0.2 ms."""

_TOMBSTONE: Final = b"t"

_MOD: Final = slice(8, 16)
"""Where a ``c`` row has its mod revision."""


def pack_revision(revision: int, sub: int = 0) -> bytes:
    """Give the form of a revision in etcd's database: also of the compact revision's rows."""
    return b"%b_%b" % (ONE.pack(revision), ONE.pack(sub))


def export_revisions(
    view: ReadView,
    tables: Tables,
    compact_revision: int,
    sorter: Sorter,
    put: Callable[[bytes, bytes], None],
) -> Steps[None]:
    """Hand over every row of etcd's bucket ``key``, in order.

    Args:
        view: the rows, which must not change meanwhile.
        tables: where they lie.
        compact_revision: what is superseded there, or deleted before it, is left out.
        sorter: a new one, for this.
        put: takes a key and a value.

    Raises:
        BackendError: a row cannot be read.
        EtcdError: CORRUPT: a row is not there.
    """
    export = _Export(view, tables, compact_revision, put)
    if compact_revision > _FIRST_REVISION:
        yield from export.gather(sorter)
        yield from sorter.finish(export.older)
    yield from export.changes()


class _Export:
    """One walk through the tables."""

    __slots__ = ("_compact", "_left", "_previous", "_put", "_sub", "_tables", "_view")

    def __init__(
        self,
        view: ReadView,
        tables: Tables,
        compact_revision: int,
        put: Callable[[bytes, bytes], None],
    ) -> None:
        self._view = view
        self._tables = tables
        self._compact = ONE.pack(max(compact_revision, 0))
        self._put = put
        self._previous = b""
        self._sub = 0
        self._left = 0  # bytes that may still be read in this slice

    def gather(self, sorter: Sorter) -> Steps[None]:
        """Give the sorter mod revision and key of all that is older than the compact revision.

        Such a row is either current, or the first change since then names it as the one before;
        so table ``o`` need not be walked through, with all that was deleted from it.
        """
        tables = self._tables
        compact = self._compact
        add = sorter.add
        skip = len(tables.current)
        rows, size = _SCAN_ROWS, _SLICE_BYTES
        for raw, row in self._view.scan(tables.current, tables.current_end):
            mod = row[_MOD]
            if mod < compact and add(mod + raw[skip:]):
                yield from sorter.settle()
            rows -= 1
            size -= len(row)
            if rows <= 0 or size <= 0:
                rows, size = _SCAN_ROWS, _SLICE_BYTES
                yield None
        yield None
        oldest = ONE.unpack(compact)[0]
        start = tables.revisions + ONE.pack(oldest + 1)
        for _, record in self._view.scan(start, tables.revisions_end):
            _, previous, _, _ = RECORD.unpack_from(record)
            if 0 < previous < oldest and add(ONE.pack(previous) + record[RECORD_SIZE:]):
                yield from sorter.settle()
            rows -= 1
            if rows <= 0:
                rows = _SCAN_ROWS
                yield None
        yield None

    def older(self, rows: list[bytes]) -> Steps[None]:
        """Hand over rows that the sorter gives."""
        self._left = _SLICE_BYTES
        for row in rows:
            previous = self._previous
            if row == previous:
                continue  # two changes of one txn name the same one before
            mod = row[:8]
            self._sub = self._sub + 1 if mod == previous[:8] else 0
            self._previous = row
            value = self._message(row[8:], mod)
            if value is None:
                raise EtcdError(errors.CORRUPT)
            self._put(b"%b_%b" % (mod, ONE.pack(self._sub)), value)
            if self._left <= 0:
                self._left = _SLICE_BYTES
                yield None
        yield None

    def changes(self) -> Steps[None]:
        """Hand over what has happened since the compact revision, and what happened at it."""
        tables = self._tables
        skip = len(tables.revisions)
        rows, self._left = SLICE_ROWS, _SLICE_BYTES
        for raw, record in self._view.scan(tables.revisions + self._compact, tables.revisions_end):
            revision = raw[skip : skip + 8]
            name = b"%b_\0\0\0\0%b" % (revision, raw[skip + 8 :])
            key = record[RECORD_SIZE:]
            if record[0] & DELETED:
                self._put(name + _TOMBSTONE, messages.KeyValue(key=key).SerializeToString())
            else:
                value = self._message(key, revision)
                if value is not None:
                    self._put(name, value)
                elif revision != self._compact:  # else superseded within it, and compacted
                    raise EtcdError(errors.CORRUPT)
            rows -= 1
            if rows <= 0 or self._left <= 0:
                rows, self._left = SLICE_ROWS, _SLICE_BYTES
                yield None
        yield None

    def _message(self, key: bytes, mod: bytes) -> bytes | None:
        """Give the KeyValue message of a key as of a mod revision."""
        tables = self._tables
        row = self._view.get(tables.current + key)
        position = META_SIZE + 1
        if row is None or row[_MOD] != mod:
            self._left -= len(row or b"")
            row = self._view.get(tables.old + escape(key) + mod)
            position += ONE.size
            if row is None:
                return None
        self._left -= len(row)
        while row[position] >= 0x80:  # the length of the field
            position += 1
        return row[position + 1 :]
