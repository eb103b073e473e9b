"""Range reads as a member serves them: in slices, from the store as it stands."""

from __future__ import annotations

from typing import Final

from trioetcd.errors import EtcdError
from trioetcd.mvcc import RangeQuery
from trioetcd.replica import Replica
from trioetcd.schema.fastpath import range_tail
from trioetcd.testing.operation import Result, Status

__all__ = ["read_range"]

_STEP_ROWS: Final = 64
_STEP_BYTES: Final = 4096


def read_range(replica: Replica, query: RangeQuery) -> Result:
    """Read a range, in slices as the driver does."""
    try:
        cursor = replica.store.range(query)
        while not cursor.step(_STEP_ROWS, _STEP_BYTES):
            pass
    except EtcdError as error:
        return Result(Status.ERROR, error=error.row.name)
    cursor.close()
    body = b"".join((*cursor.kvs, range_tail(more=cursor.more, count=cursor.count)))
    return Result(Status.DONE, replica.store.revision, body)
