"""A hash of the whole history in constant time: each revision's record carries it on.

Every change is folded into a CRC-32 over the Event messages since the beginning, kept in the
records of table ``r``. Members that applied the same requests hold the same number, however far
each one's compaction has come; a member that lost or changed one does not.
"""

from __future__ import annotations

from trioetcd.mvcc.layout import RECORD, REVISION_SUB, Tables
from trioetcd.ports import ReadView

__all__ = ["chain_at"]


def chain_at(view: ReadView, tables: Tables, revision: int) -> int:
    """Give the chain hash as of a revision that is not compacted; 0 before the first change."""
    prefix = tables.revisions
    start = prefix + REVISION_SUB.pack(0, 0)
    for _, record in view.scan_back(start, prefix + REVISION_SUB.pack(revision + 1, 0)):
        chain: int = RECORD.unpack_from(record)[2]
        return chain
    return 0
