"""One member, deterministic: consensus, state machine and the order of persistence, as one value.

``step(inputs, now) -> outputs`` and nothing else; `runtime` drives it with a real disk and clock,
a simulator with bad ones.

What must not live here: what commands mean (`statemachine`), how rows reach a disk (`storage`),
tasks, threads, time.
"""

from __future__ import annotations

from trioetcd.replica.backup import Backup
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.envelope import Envelope
from trioetcd.replica.inputs import (
    BarrierRequested,
    Input,
    LeaseAsked,
    Persisted,
    Proposal,
    Proposed,
    Reachable,
    ReadRequested,
    Received,
    SnapshotEnded,
    SnapshotOffered,
    SnapshotPiece,
    SnapshotSent,
    Stopped,
    Tick,
    Ticket,
    TransferRequested,
    Unreachable,
)
from trioetcd.replica.outputs import Outputs, Persist, Published, Resolved
from trioetcd.replica.overlay import Overlay
from trioetcd.replica.replica import Replica
from trioetcd.replica.rows import CorruptLog, Recovered, bootstrap, check_chain, recover
from trioetcd.replica.state_cut import SnapshotMeta, StateCut
from trioetcd.replica.statistics import ReplicaStatistics

__all__ = [
    "Backup",
    "BarrierRequested",
    "CorruptLog",
    "Envelope",
    "Input",
    "LeaseAsked",
    "Outputs",
    "Overlay",
    "Persist",
    "Persisted",
    "Proposal",
    "Proposed",
    "Published",
    "Reachable",
    "ReadRequested",
    "Received",
    "Recovered",
    "Replica",
    "ReplicaConfig",
    "ReplicaStatistics",
    "Resolved",
    "SnapshotEnded",
    "SnapshotMeta",
    "SnapshotOffered",
    "SnapshotPiece",
    "SnapshotSent",
    "StateCut",
    "Stopped",
    "Tick",
    "Ticket",
    "TransferRequested",
    "Unreachable",
    "bootstrap",
    "check_chain",
    "recover",
]
