"""Everything that may happen to a member, as values. The driver makes them, so does a simulator."""

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.ports import Row
from trioetcd.replica.envelope import Envelope
from trioetcd.replica.state_cut import SnapshotMeta
from trioetcd.values import MemberID, Term

__all__ = [
    "BarrierRequested",
    "Input",
    "LeaseAsked",
    "Persisted",
    "Proposal",
    "Proposed",
    "Reachable",
    "ReadRequested",
    "Received",
    "SnapshotEnded",
    "SnapshotOffered",
    "SnapshotPiece",
    "SnapshotSent",
    "Stopped",
    "Tick",
    "Ticket",
    "TransferRequested",
    "Unreachable",
]

Ticket = object
"""Whoever waits for an outcome: opaque here, handed back with it. None: nobody waits."""

Proposal = tuple[Ticket, int, bytes]
"""A ticket, the kind of command, and the request's own protobuf bytes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: it is `now`, on the clock that `Replica.step` is given."""

    now: float


@dataclass(frozen=True, slots=True)
class Proposed:
    """Clients want commands carried out, in this order."""

    proposals: list[Proposal]


@dataclass(frozen=True, slots=True)
class Persisted:
    """Batch `number` is durable."""

    number: int


@dataclass(frozen=True, slots=True)
class ReadRequested:
    """These want to know when a linearizable read may be answered from the store."""

    tickets: list[Ticket]


@dataclass(frozen=True, slots=True)
class LeaseAsked:
    """This one wants to know how long a lease lives (`Outputs.leases`), renewed or not."""

    ticket: Ticket
    lease: int
    renew: bool


@dataclass(frozen=True, slots=True)
class BarrierRequested:
    """This one wants to know when everything applied so far is on the disk (the flush barrier)."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Stopped:
    """The member is about to end: what waits is told so, nothing is taken, effects are flushed."""


@dataclass(frozen=True, slots=True)
class Received:
    """What peers sent, in order of arrival."""

    envelopes: list[Envelope]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The link to a peer broke, or could not be made."""

    peer: MemberID


@dataclass(frozen=True, slots=True)
class Reachable:
    """The link to a peer has been made (anew)."""

    peer: MemberID


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """A transfer that `Outputs.snapshots` asked for has ended, well or not."""

    peer: MemberID
    ok: bool


@dataclass(frozen=True, slots=True)
class SnapshotOffered:
    """`sender`, leader of `term`, wants to send its state; `Outputs.accepting` is the answer."""

    sender: MemberID
    term: Term
    meta: SnapshotMeta


@dataclass(frozen=True, slots=True)
class SnapshotPiece:
    """Rows of the snapshot that was accepted: raw keys without the epoch byte, at most 1 MiB."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class SnapshotEnded:
    """All pieces have come, and the hash of the whole content holds; or the transfer broke."""

    ok: bool


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """Let another member lead.

    Attributes:
        to: the other one; 0 is the most up to date of those that are `connected`, or of all if
            none is.
        connected: whom messages reach, as far as is known.
    """

    to: MemberID
    connected: frozenset[MemberID] = frozenset()


Input = (
    Received
    | SnapshotSent
    | SnapshotOffered
    | SnapshotPiece
    | SnapshotEnded
    | Unreachable
    | Reachable
    | TransferRequested
    | Tick
    | Proposed
    | Persisted
    | ReadRequested
    | LeaseAsked
    | BarrierRequested
    | Stopped
)
