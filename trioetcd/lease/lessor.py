"""All leases of a member: granted and revoked by the log, expiring on the leader only.

What is granted and which key hangs on what is the same on every member. When a lease expires is
known to the leader alone (the *primary*): a new leader gives every lease its full time again,
so that no lease dies because its keep-alives went to a leader that failed (etcd).
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.lease.lease import LEASE_TTL_MAX, Tables, pack_ttl, read_leases
from trioetcd.ports import Space, WriteBatch

__all__ = ["RETRY_SECONDS", "Lessor"]

RETRY_SECONDS: Final = 3.0
"""An expired lease that is still there after so long is named again: its revoke was lost."""


class Lessor:
    """The leases of one epoch.

    Args:
        space: where the rows are.
        epoch: the byte every table begins with.
        ttl_min: the least time to live in seconds; every member must have the same.
    """

    def __init__(self, space: Space, *, epoch: bytes, ttl_min: int = 1) -> None:
        self._space = space
        self._ttl_min = ttl_min
        self._primary = False
        self.load(epoch=epoch)

    def load(self, *, epoch: bytes) -> None:
        """Start again from the rows of an epoch; the member is no primary then."""
        self._tables = Tables(epoch)
        self._primary = False
        self._granted: dict[int, int] = {}
        self._remaining: dict[int, int] = {}
        self._expiry: dict[int, float] = {}
        self._queue: list[tuple[float, int]] = []
        self._queued: dict[int, float] = {}
        for lease, granted, remaining in read_leases(self._space, epoch):
            self._granted[lease] = granted
            if remaining:
                self._remaining[lease] = remaining

    def __contains__(self, lease: int) -> bool:
        return lease in self._granted

    def __len__(self) -> int:
        return len(self._granted)

    @property
    def primary(self) -> bool:
        """Whether this member lets leases expire."""
        return self._primary

    # -- applied -----------------------------------------------------------------------------

    def grant(self, lease: int, ttl: int, now: float) -> int:
        """Grant a lease whose number the proposer has drawn.

        Returns:
            The seconds granted, raised to the least there are.

        Raises:
            EtcdError: LEASE_NOT_FOUND for number 0, LEASE_TTL_TOO_LARGE, LEASE_EXIST.
        """
        if lease == 0:
            raise EtcdError(errors.LEASE_NOT_FOUND)
        if ttl > LEASE_TTL_MAX:
            raise EtcdError(errors.LEASE_TTL_TOO_LARGE)
        if lease in self._granted:
            raise EtcdError(errors.LEASE_EXIST)
        ttl = max(ttl, self._ttl_min)
        self._granted[lease] = ttl
        self._space.put(self._tables.lease_row(lease), pack_ttl(ttl, 0))
        if self._primary:
            self._expiry[lease] = now + ttl
            self._enqueue(lease, now + ttl)
        return ttl

    def forget(self, lease: int) -> None:
        """Remove a lease whose keys are gone."""
        del self._granted[lease]
        self._remaining.pop(lease, None)
        self._expiry.pop(lease, None)
        self._queued.pop(lease, None)
        self._space.delete(self._tables.lease_row(lease))

    def checkpoint(self, lease: int, remaining: int) -> None:
        """Note the seconds a lease had left, for the next primary; unknown ones are ignored."""
        granted = self._granted.get(lease)
        if granted is None:
            return
        if remaining > 0:
            self._remaining[lease] = remaining
        else:
            self._remaining.pop(lease, None)
        row = self._tables.lease_row(lease)
        self._space.put(row, pack_ttl(granted, max(remaining, 0)))

    def attach(self, rows: WriteBatch, lease: int, key: bytes) -> None:
        """Write that `key` hangs on `lease`."""
        rows.put(self._tables.keys_prefix(lease) + key, b"")

    def detach(self, rows: WriteBatch, lease: int, key: bytes) -> None:
        """Write that it no longer does."""
        rows.delete(self._tables.keys_prefix(lease) + key)

    # -- asked -------------------------------------------------------------------------------

    def keys_from(self, lease: int, start: bytes, limit: int) -> list[bytes]:
        """Give up to `limit` keys on a lease, in order, from `start` on."""
        prefix = self._tables.keys_prefix(lease)
        skip = len(prefix)
        return [raw[skip:] for raw, _ in islice(self._scan(prefix, start), limit)]

    def _scan(self, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        # Everything with the prefix: no key begins with so many ff bytes in practice, and one
        # that does still lies below the prefix counted up by one.
        stop = (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")
        return self._space.scan(prefix + start, stop)

    def keys(self, lease: int) -> list[bytes]:
        """Give all keys on a lease, in order."""
        prefix = self._tables.keys_prefix(lease)
        skip = len(prefix)
        return [raw[skip:] for raw, _ in self._scan(prefix, b"")]

    def leases(self) -> list[int]:
        """Give all leases, the next to expire first (etcd's order), else by number."""
        expiry = self._expiry
        return sorted(self._granted, key=lambda lease: (expiry.get(lease, 0.0), lease))

    def time_to_live(self, lease: int, now: float) -> tuple[int, float] | None:
        """Give the seconds granted and the seconds left; None for an unknown lease."""
        granted = self._granted.get(lease)
        if granted is None:
            return None
        expiry = self._expiry.get(lease)
        return granted, float(granted) if expiry is None else expiry - now

    # -- the primary's -----------------------------------------------------------------------

    def renew(self, lease: int, now: float) -> int:
        """Give a lease its full time again; gives the seconds.

        Raises:
            EtcdError: NOT_PRIMARY_LESSOR elsewhere than on the leader; LEASE_NOT_FOUND, also for
                a lease that has expired and only waits to be revoked.
        """
        if not self._primary:
            raise EtcdError(errors.NOT_PRIMARY_LESSOR)
        expiry = self._expiry.get(lease)
        if expiry is None or expiry <= now:
            raise EtcdError(errors.LEASE_NOT_FOUND)
        granted = self._granted[lease]
        # The queue keeps the old time: it is looked at then and put back, which is cheaper.
        self._expiry[lease] = now + granted
        return granted

    def promote(self, now: float, extend: float = 0.0) -> None:
        """Become primary: every lease gets its full (or checkpointed) time, and `extend` more."""
        self._primary = True
        self._queue = []
        self._queued = {}
        for lease, granted in self._granted.items():
            expiry = now + extend + self._remaining.get(lease, granted)
            self._expiry[lease] = expiry
            self._queue.append((expiry, lease))
            self._queued[lease] = expiry
        heapify(self._queue)

    def demote(self) -> None:
        """Stop being primary: no lease expires here any more."""
        self._primary = False
        self._expiry.clear()
        self._queue = []
        self._queued = {}

    def expired(self, now: float, limit: int) -> list[int]:
        """Give up to `limit` leases to be revoked; each is named again after `RETRY_SECONDS`."""
        found: list[int] = []
        queue = self._queue
        queued = self._queued
        while queue and queue[0][0] <= now and len(found) < limit:
            due, lease = heappop(queue)
            if queued.get(lease) != due:
                continue  # revoked, or granted anew since
            expiry = self._expiry[lease]
            if expiry <= now:
                found.append(lease)
                expiry = now + RETRY_SECONDS
            self._enqueue(lease, expiry)
        return found

    @property
    def next_expiry(self) -> float | None:
        """When `expired` should be asked next; None if nothing can expire."""
        return self._queue[0][0] if self._queue else None

    def _enqueue(self, lease: int, due: float) -> None:
        self._queued[lease] = due
        heappush(self._queue, (due, lease))
