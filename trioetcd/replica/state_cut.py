"""The state as it stands at one moment, for a member whose entries are gone; and its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trioetcd.ports import Row, Snapshot
from trioetcd.values import Index, Term

__all__ = ["SnapshotMeta", "StateCut", "after_epoch"]


class SnapshotMeta(NamedTuple):
    """What a snapshot is a snapshot of.

    Attributes:
        last_index: the last entry whose effects are in it (Raft paper, figure 13).
        last_term: that entry's term.
        revision: the store's revision.
        compact_revision: the store's compact revision.
    """

    last_index: Index
    last_term: Term
    revision: int
    compact_revision: int


def after_epoch(epoch: bytes) -> bytes:
    """Give the first raw key behind the tables of an epoch."""
    return bytes((epoch[0] + 1,))


class StateCut:
    """All rows of the state, pinned; what is applied later does not show. Must be closed.

    Attributes:
        meta: what it is a snapshot of.

    Args:
        meta: see there.
        pinned: the rows, under the epoch.
        epoch: the byte in front of every key, which is not sent: the receiver has its own.
    """

    def __init__(self, meta: SnapshotMeta, pinned: Snapshot, epoch: bytes) -> None:
        self.meta = meta
        self._pinned = pinned
        self._rows: Iterator[Row] = pinned.scan(epoch, after_epoch(epoch))

    def piece(self, size: int) -> list[Row]:
        """Give the next rows, about `size` bytes, keys without their epoch; empty at the end.

        Raises:
            BackendError: a row cannot be read.
        """
        rows: list[Row] = []
        while size > 0:
            row = next(self._rows, None)
            if row is None:
                break
            key, value = row
            rows.append((key[1:], value))
            size -= len(key) + len(value)
        return rows

    def close(self) -> None:
        """Let go of the pinned rows."""
        self._pinned.close()
