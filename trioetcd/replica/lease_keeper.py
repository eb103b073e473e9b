"""Expiry of leases: only the leader's clock counts, and only an entry of the log ends a lease.

The keeper says how many of the leases that are over may be ended now: no more than etcd does,
1000 a second. A lease is never ended early:

* The end is an entry that the leader appends to its own log, in its own term, in the very step
  in which it found the lease over; it is never forwarded, so the entry's term *is* the term of
  the decision, and nothing is left to compare when it is applied.
* A new leader starts all leases anew (`Lessor.promote`) when it applies the first entry of its
  own term, and renews none before. Whatever an earlier leader decided lies below that entry.
"""

from __future__ import annotations

from typing import Final

from trioetcd.lease import Lessor
from trioetcd.schema import messages

__all__ = ["REVOKES_PER_ROUND", "ROUND_SECONDS", "LeaseKeeper"]

ROUND_SECONDS: Final = 0.5
"""etcd looks at its leases as often."""

REVOKES_PER_ROUND: Final = 500
"""1000 a second, as in etcd: a mass of leases that ends at once does not crowd out clients."""


class LeaseKeeper:
    """Paces the ends of leases on the leader.

    Args:
        lessor: who knows the leases, and names one again whose end has come to nothing.
    """

    def __init__(self, lessor: Lessor) -> None:
        self._lessor = lessor
        self._next = 0.0

    def due(self, now: float) -> list[bytes]:
        """Give the requests that end the leases which are to end now."""
        lessor = self._lessor
        first = lessor.next_expiry
        if first is None or first > now or now < self._next:
            return []
        self._next = now + ROUND_SECONDS
        return [
            messages.LeaseRevokeRequest(ID=lease).SerializeToString()
            for lease in lessor.expired(now, REVOKES_PER_ROUND)
        ]
