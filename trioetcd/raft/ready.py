"""What Raft asks of its owner, as one value: to persist and to apply (sending comes with peers).

The owner persists `hard_state` and `groups` in one atomic batch, tells `persisted` when it is
durable, applies `committed` in order, and tells `advance` how far it has come.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.raft.entry import Group, HardState, SoftState
from trioetcd.values import Index

__all__ = ["Ready"]


class Ready(NamedTuple):
    """The difference between what Raft knows and what its owner has been told.

    Attributes:
        hard_state: the hard state as it must be in the batch; always given, because a batch also
            carries the commit index.
        must_persist: term, vote or entries are new: without a batch nothing goes on.
        groups: entries to persist, in order; empty while a batch is in flight.
        committed_first: the index of the first of `committed`.
        committed: entries that are committed and durable here, to be applied in this order.
        soft_state: who leads, and this member's role.
    """

    hard_state: HardState
    must_persist: bool
    groups: list[Group]
    committed_first: Index
    committed: list[bytes]
    soft_state: SoftState
