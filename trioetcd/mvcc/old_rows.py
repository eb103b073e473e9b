"""Old versions of keys, from table ``o``: one key at one revision, or an interval of them.

An ``o`` row holds what a key was from its mod revision up to, but without, its end revision.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from trioetcd.mvcc.layout import ONE, TWO, Tables, escape, unescape
from trioetcd.ports import ReadView, Row

__all__ = ["old_row", "row_at", "rows_at"]

SEEK_VERSIONS: Final = 8
"""Old versions of one key walked over before seeking: a seek costs as much as so many rows."""

_BEHIND: Final = b"\xff" * (ONE.size + 1)
_NO_ROW: Final[Row] = (b"", b"")
_end_create_mod = Struct(">qqq").unpack_from


def old_row(value: bytes) -> bytes:
    """Cut the old ``c`` row out of an ``o`` row."""
    return value[ONE.size :]


def row_at(view: ReadView, tables: Tables, key: bytes, revision: int) -> bytes | None:
    """Give the ``c`` row that `key` had at `revision`, or None if it was not there."""
    row = view.get(tables.current + key)
    if row is not None and TWO.unpack_from(row)[1] <= revision:
        return row
    return _old_row_at(view, tables.old + escape(key), revision)


def _old_row_at(view: ReadView, prefix: bytes, revision: int) -> bytes | None:
    for _, value in view.scan_back(prefix, prefix + ONE.pack(revision + 1)):
        end: int = ONE.unpack_from(value)[0]
        return old_row(value) if end > revision else None
    return None


def rows_at(
    view: ReadView, tables: Tables, start: bytes, end: bytes | None, revision: int
) -> Iterator[tuple[bytes, bytes | None]]:
    """Go through the keys from `start` on, ascending: current and old rows side by side.

    Args:
        view: the rows; they must not change meanwhile.
        tables: where they are.
        start: the first key.
        end: the first key that is not meant, or None for all.
        revision: neither compacted nor to come.

    Returns:
        Each key that has a row of either kind, and the ``c`` row it had at that revision; None if
        it was not there.
    """
    skip = len(tables.current)
    stop = tables.current_end if end is None else tables.current + end
    currents = view.scan(tables.current + start, stop)
    olds = _OldRows(view, tables, start, end, revision)
    raw, row = next(currents, _NO_ROW)
    old_key = olds.advance()
    while raw or old_key is not None:
        key = raw[skip:]
        found: bytes | None = None
        if raw and (old_key is None or key <= old_key):
            if TWO.unpack_from(row)[1] <= revision:
                found = row
            if key == old_key:
                if found is None:
                    found = olds.row
                old_key = olds.advance()
            raw, row = next(currents, _NO_ROW)
        else:
            assert old_key is not None
            key = old_key
            found = olds.row
            old_key = olds.advance()
        yield key, found


class _OldRows:
    """The old rows of an interval, one key at a time, each with the version of one revision."""

    __slots__ = ("_at", "_entry", "_iterator", "_stop", "_tables", "_view", "row")

    def __init__(
        self, view: ReadView, tables: Tables, start: bytes, end: bytes | None, at: int
    ) -> None:
        self._view = view
        self._tables = tables
        self._at = at
        self._stop = tables.old_end if end is None else tables.old + escape(end)
        self._iterator = view.scan(tables.old + escape(start), self._stop)
        self._entry = next(self._iterator, _NO_ROW)
        self.row: bytes | None = None

    def advance(self) -> bytes | None:
        """Go to the next key that has old rows; its row at the revision is `row`, if any."""
        raw, value = self._entry
        if not raw:
            return None
        prefix = raw[: -ONE.size]
        at = self._at
        self.row = None
        walked = 0
        while raw.startswith(prefix):
            end, _, mod = _end_create_mod(value)
            if mod <= at < end:
                self.row = old_row(value)
            walked += 1
            if walked >= SEEK_VERSIONS:
                if self.row is None and mod <= at:
                    self.row = _old_row_at(self._view, prefix, at)
                self._iterator = self._view.scan(prefix + _BEHIND, self._stop)
                raw, value = next(self._iterator, _NO_ROW)
                break
            raw, value = next(self._iterator, _NO_ROW)
        self._entry = (raw, value)
        return unescape(prefix[len(self._tables.old) :])
