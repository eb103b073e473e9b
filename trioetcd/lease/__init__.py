"""Leases: keys that go away when nobody renews them.

Here live which leases there are, which keys hang on them, and, on the leader, when each expires.
That an expired lease is revoked through the log, and that its keys are deleted, is decided
elsewhere; time comes in as an argument.
"""

from __future__ import annotations

from trioetcd.lease.lease import LEASE_TTL_MAX, read_leases
from trioetcd.lease.lessor import CHECKPOINT_SECONDS, Lessor
from trioetcd.lease.listing import KeyListing, LeaseListing, Listing

__all__ = [
    "CHECKPOINT_SECONDS",
    "LEASE_TTL_MAX",
    "KeyListing",
    "LeaseListing",
    "Lessor",
    "Listing",
    "read_leases",
]
