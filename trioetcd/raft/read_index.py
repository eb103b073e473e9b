"""Linearizable reads without a log entry (Raft dissertation, section 6.4).

A sole voter needs no round of heartbeats: nobody else can be leader. It reads at its commit
index, once it has committed an entry of its own term (before that it may not know what its
predecessor promised), and without waiting for the disk.
"""

from __future__ import annotations

from trioetcd.raft.log import Log
from trioetcd.values import Index, Term

__all__ = ["sole_voter_read_index"]


def sole_voter_read_index(log: Log, term: Term) -> Index | None:
    """Give the index a read must wait for, or None while none may be promised."""
    return log.commit if log.term(log.commit) == term else None
