"""A hash of everything there is at a revision, row by row: the check of what the chain cannot see.

The chain hash (`hash`) says that members applied the same changes. This one says that they hold
the same rows: a row that was damaged, lost or wrongly written afterwards shows. It is the same
however far a member has gone on, or has compacted, since that revision.

Every row is read once, in bounded steps on a pinned view, and so every checksum beneath is
verified on the way. Nothing is kept but the hash and the key to go on from.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct
from typing import Final

from trioetcd.mvcc.layout import Tables, after
from trioetcd.mvcc.old_rows import rows_at
from trioetcd.mvcc.pinned import Pinned
from trioetcd.ports import Space

__all__ = ["ContentHash"]

_LENGTHS: Final = Struct(">II")
_HASH_BYTES: Final = 8


class ContentHash:
    """The hash of all keys of a revision with what they were, under way.

    Args:
        space: where the rows are; they are pinned at once.
        tables: of the epoch.
        revision: neither compacted nor to come.
        is_now: whether it is the last one, so that the current rows are all there is to read.
    """

    def __init__(self, space: Space, tables: Tables, revision: int, *, is_now: bool) -> None:
        self._tables = tables
        self._revision = revision
        self._is_now = is_now
        kinds = [(tables.current, tables.current_end)]
        if not is_now:
            kinds.append((tables.old, tables.old_end))
        self._pinned = [(start, stop, space.snapshot(start, stop)) for start, stop in kinds]
        self._view = Pinned(self._pinned)
        self._next = b""
        self._hash = blake2b(digest_size=_HASH_BYTES)

    @property
    def value(self) -> int:
        """The hash, below 2**64; of the whole content once `step` has said that it is done."""
        return int.from_bytes(self._hash.digest(), "big")

    def step(self, rows: int, size: int) -> bool:
        """Hash about `rows` rows and `size` bytes more; True when all are.

        Raises:
            BackendError: a row is damaged.
        """
        update = self._hash.update
        lengths = _LENGTHS.pack
        for key, row in self._rows():
            if row is not None:
                update(lengths(len(key), len(row)) + key + row)
                size -= len(row)
            rows -= 1
            if rows <= 0 or size <= 0:
                self._next = after(key)
                return False
        self.close()
        return True

    def _rows(self) -> Iterator[tuple[bytes, bytes | None]]:
        tables = self._tables
        if not self._is_now:
            return rows_at(self._view, tables, self._next, None, self._revision)
        skip = len(tables.current)
        found = self._view.scan(tables.current + self._next, tables.current_end)
        return ((raw[skip:], row) for raw, row in found)

    def close(self) -> None:
        """Let go of what is pinned; the hash cannot be gone on with."""
        for _, _, snapshot in self._pinned:
            snapshot.close()
        self._pinned.clear()
