"""Everything that may happen to a member, as values. The driver makes them, so does a simulator."""

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.replica.envelope import Envelope
from trioetcd.values import MemberID

__all__ = [
    "BarrierRequested",
    "Input",
    "Persisted",
    "Proposal",
    "Proposed",
    "ReadRequested",
    "Received",
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
    """The link to a peer broke."""

    peer: MemberID


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """Let another member lead (0: whoever is most up to date)."""

    to: MemberID


Input = (
    Received
    | Unreachable
    | TransferRequested
    | Tick
    | Proposed
    | Persisted
    | ReadRequested
    | BarrierRequested
    | Stopped
)
