"""The quantities of a member, one type each, so that an index is never taken for a revision.

Here live names and bounds, nothing that acts. Terms, indexes and entries are the Raft paper's
words; revisions, leases and members are etcd's.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

__all__ = [
    "SERVER_VERSION",
    "ClusterID",
    "Index",
    "LeaseID",
    "MemberID",
    "RequestID",
    "Revision",
    "Term",
]

Term = NewType("Term", int)
"""A Raft term: 0 before the first election, never decreases (Raft paper, section 5.1)."""

Index = NewType("Index", int)
"""The position of an entry in the Raft log, from 1 (Raft paper, section 5.3)."""

Revision = NewType("Revision", int)
"""The store's logical clock: a new store is at 1, every modifying request adds one (etcd)."""

LeaseID = NewType("LeaseID", int)
"""A lease's number, 1 to 2**63 - 1; 0 means "no lease" (etcd)."""

MemberID = NewType("MemberID", int)
"""A member's number, 64 bits; 0 means "none" (etcd)."""

ClusterID = NewType("ClusterID", int)
"""A cluster's number, 64 bits (etcd)."""

SERVER_VERSION: Final = "3.7.1"
"""The etcd release whose behaviour is answered for; here, where `--version` gets it at once."""

INT64_MAX: Final = 2**63 - 1
UINT64_MAX: Final = 2**64 - 1


class RequestID(NamedTuple):
    """What names one proposal for ever: a replayed entry answers no ticket of another boot.

    Attributes:
        member: the member that proposed.
        boot: 64 random bits drawn when that member started.
        counter: a count from 1 within that boot.
    """

    member: int
    boot: int
    counter: int
