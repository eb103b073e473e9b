"""Everything a member may ask of its driver, as values, in the order in which it is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from trioetcd.mvcc import Event
from trioetcd.replica.envelope import Envelope
from trioetcd.replica.inputs import Ticket
from trioetcd.statemachine import Outcome
from trioetcd.values import MemberID

__all__ = ["Outputs", "Persist", "Published", "Resolved"]

Resolved = tuple[Ticket, Outcome]
"""What became of a proposal (or of a read or question that could not be answered)."""

Published = tuple[int, list[Event]]
"""A revision and its events."""


class Persist(NamedTuple):
    """Write these rows as one atomic, synced batch, then say ``Persisted(number)``.

    Attributes:
        number: the batch; numbers have no gaps, and one batch is written at a time.
        rows: raw keys and values; None deletes. Neither the driver nor the replica changes it.
        size: bytes of keys and values, but for the two rows that every batch has.
    """

    number: int
    rows: dict[bytes, bytes | None]
    size: int


@dataclass(slots=True)
class Outputs:
    """What one step asks for.

    Attributes:
        persist: the batch to write, if any.
        published: what watchers are to hear of, in order.
        resolved: outcomes of proposals, in order; each is durable and committed.
        readable: the tickets of reads that may be answered from the store now.
        leases: tickets of `LeaseAsked`, and the seconds that are left, or None for no such lease.
        reached: the tickets of flush barriers that have been reached.
        freed: stretches of raw keys in which many rows were deleted: worth a
            `Backend.compact_range` on a thread of its own.
        sends: what others are to be told, in order; losing any of it harms nothing.
        snapshots: members whose entries are gone here: send them the state, then say how it went.
        accepting: the answer to `SnapshotOffered`: whether pieces may come.
        reloaded: the state has been replaced by a snapshot: whatever was read from it is old.
        expelled: this member has been removed from the cluster: it must end.
        more: step again soon, without waiting for an input: work was cut off to keep the step
            short.
    """

    persist: Persist | None = None
    published: list[Published] = field(default_factory=list)
    resolved: list[Resolved] = field(default_factory=list)
    readable: list[Ticket] = field(default_factory=list)
    leases: list[tuple[Ticket, int | None]] = field(default_factory=list)
    reached: list[Ticket] = field(default_factory=list)
    freed: list[tuple[bytes, bytes]] = field(default_factory=list)
    more: bool = False
    sends: list[Envelope] = field(default_factory=list)
    snapshots: list[MemberID] = field(default_factory=list)
    accepting: bool | None = None
    reloaded: bool = False
    expelled: bool = False
