"""What Raft asks of its owner before anything goes on, as one value.

The owner persists `hard_state` and `groups` in one atomic batch and tells `persisted` when it is
durable. What may be applied is asked for beside it (`Raft.committed`), because applying goes on
while a batch is in flight.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.raft.entry import Group, HardState
from trioetcd.values import Index

__all__ = ["Ready"]


class Ready(NamedTuple):
    """The difference between what Raft knows and what its owner has been told.

    Attributes:
        hard_state: the hard state as it must be in the batch; always given, because a batch also
            carries the commit index.
        must_persist: term, vote or entries are new: without a batch nothing goes on.
        groups: entries to persist, in order.
        truncated: stored groups that begin at or after this index are void: the batch deletes
            them. It is where `groups` begin, so that the stored groups tile the log. None when
            there was no conflict.
    """

    hard_state: HardState
    must_persist: bool
    groups: list[Group]
    truncated: Index | None = None
