"""A revision with its sub number: the place of one change in the history of the store.

All changes of one request share the main revision; the sub number counts them from 0 (etcd).
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.mvcc.layout import REVISION_SUB

__all__ = ["Place"]


class Place(NamedTuple):
    """Where one change stands; places compare as the changes were made.

    Attributes:
        revision: the main revision, from 2 (a new store is at 1).
        sub: the count of the change within its revision.
    """

    revision: int
    sub: int = 0

    def pack(self) -> bytes:
        """Give the form whose byte order is the order of places."""
        return REVISION_SUB.pack(self.revision, self.sub)

    @classmethod
    def unpack(cls, data: bytes) -> Place:
        """Read what `pack` wrote at the end of `data`, whatever stands before it."""
        revision, sub = REVISION_SUB.unpack(data[-REVISION_SUB.size :])
        return cls(revision, sub)
