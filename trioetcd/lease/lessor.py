"""All leases of a member: granted and revoked by the log, expiring on the leader only.

What is granted and which key hangs on what is the same on every member. When a lease expires is
known to the leader alone (the *primary*): a new leader gives every lease its full time again, or
what a checkpoint said it had left, so that no lease dies because its keep-alives went to a leader
that failed (etcd). Nothing here takes longer the more leases there are, but `load`: a new primary
sets their times in steps (`settle`), and a lease whose time is not set does not expire yet.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from itertools import islice
from math import ceil
from typing import Final

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.lease.lease import LEASE_TTL_MAX, Tables, pack_ttl, read_leases
from trioetcd.lease.listing import KeyListing, LeaseListing
from trioetcd.lease.wheel import Wheel
from trioetcd.ports import Space, WriteBatch

__all__ = ["CHECKPOINT_SECONDS", "RETRY_SECONDS", "Lessor"]

RETRY_SECONDS: Final = 3.0
"""An expired lease that is still there after so long is named again: its revoke was lost."""

CHECKPOINT_SECONDS: Final = 300.0
"""How often it is written down what a lease has left, if that is more (etcd)."""


class Lessor:
    """The leases of one epoch.

    Attributes:
        granted_total, revoked_total, renewed_total, expired_total: what has happened here.
        note_granted: called with the seconds of each lease that is granted.

    Args:
        space: where the rows are.
        epoch: the byte every table begins with.
        ttl_min: the least time to live in seconds; every member must have the same.
        checkpoint_seconds: see `CHECKPOINT_SECONDS`; members may differ.
    """

    def __init__(
        self,
        space: Space,
        *,
        epoch: bytes,
        ttl_min: int = 1,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.granted_total = 0
        self.revoked_total = 0
        self.renewed_total = 0
        self.expired_total = 0
        self.note_granted: Callable[[int], None] = _nobody
        self._space = space
        self._ttl_min = ttl_min
        self._checkpoint_seconds = checkpoint_seconds
        self.load(epoch=epoch)

    def load(self, *, epoch: bytes) -> None:
        """Start again from the rows of an epoch; the member is no primary then."""
        self._tables = Tables(epoch)
        self._granted: dict[int, int] = {}
        # What the latest checkpoint of a lease says, unless that it has its full time.
        self._remaining: dict[int, int] = {}
        for lease, granted, remaining in read_leases(self._space, epoch):
            self._granted[lease] = granted
            if remaining:
                self._remaining[lease] = remaining
        self.demote()

    def __contains__(self, lease: int) -> bool:
        return lease in self._granted

    def __len__(self) -> int:
        return len(self._granted)

    def __iter__(self) -> Iterator[int]:
        return iter(self._granted)

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
            self._set(lease, now + ttl, now)
        self.granted_total += 1
        self.note_granted(ttl)
        return ttl

    def forget(self, lease: int, now: float) -> None:
        """Remove a lease whose keys are gone."""
        if self._primary and self._end(lease) <= now:
            self.expired_total += 1
        del self._granted[lease]
        self._remaining.pop(lease, None)
        self._ends.pop(lease, None)
        self._expiring.drop(lease)
        self._unwritten.drop(lease)
        self._space.delete(self._tables.lease_row(lease))
        self.revoked_total += 1

    def checkpoint(self, lease: int, remaining: int) -> None:
        """Note the seconds a lease had left, for the next primary; unknown ones are ignored."""
        if remaining > 0:
            self._under_way.discard(lease)
        granted = self._granted.get(lease)
        if granted is None:
            return
        if self._primary:
            self._ends[lease] = self._end(lease)  # which depends on it no more
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
        tables = self._tables
        prefix = tables.keys_prefix(lease)
        skip = len(prefix)
        rows = self._space.scan(prefix + start, tables.keys_end(lease))
        return [raw[skip:] for raw, _ in islice(rows, limit)]

    def list_keys(self, lease: int) -> KeyListing:
        """Begin to read all keys on a lease as they are now, in order."""
        tables = self._tables
        return KeyListing(self._space, tables.keys_prefix(lease), tables.keys_end(lease))

    def list_leases(self) -> LeaseListing:
        """Begin to list all leases of now: the next to expire first (etcd), else by number."""
        return LeaseListing(list(self._granted), self._order)

    def _order(self, lease: int) -> float:
        """Give when a lease expires, if that is known and it is still there."""
        return self._end(lease) if self._primary and lease in self._granted else 0.0

    def time_to_live(self, lease: int, now: float) -> tuple[int, float] | None:
        """Give the seconds granted and the seconds left, 0 or less for a lease that is over.

        None for an unknown lease. Who is no primary gives the full time.
        """
        granted = self._granted.get(lease)
        if granted is None:
            return None
        return granted, self._end(lease) - now if self._primary else float(granted)

    def _end(self, lease: int) -> float:
        """Give when a lease of a primary's expires."""
        end = self._ends.get(lease)
        if end is None:
            end = self._base + self._remaining.get(lease, self._granted[lease])
        return end

    # -- the primary's -----------------------------------------------------------------------

    def demote(self) -> None:
        """Stop being primary: no lease expires here any more."""
        self._primary = False
        self._base = 0.0
        self._ends: dict[int, float] = {}
        self._expiring = Wheel()
        self._unwritten = Wheel()
        # Leases of which a checkpoint has been proposed that is not applied yet.
        self._under_way: set[int] = set()
        self._unsettled: list[int] = []

    def promote(self, now: float, extend: float = 0.0) -> None:
        """Become primary: every lease gets its full (or checkpointed) time, and `extend` more.

        The times are set in steps, by `settle`; until then they are worked out when asked for.
        """
        self.demote()
        self._primary = True
        self._base = now + extend
        self._unsettled = list(self._granted)

    def settle(self, now: float, limit: int) -> bool:
        """Set the times of up to `limit` leases after a promotion; True while there are more."""
        unsettled = self._unsettled
        for lease in unsettled[-limit:]:
            if lease in self._granted and lease not in self._expiring:
                self._set(lease, self._end(lease), now)
        del unsettled[-limit:]
        return bool(unsettled)

    def _set(self, lease: int, end: float, now: float) -> None:
        self._ends[lease] = end
        self._expiring.put(lease, end)
        if end - now > self._checkpoint_seconds:
            self._unwritten.put(lease, now + self._checkpoint_seconds)

    def renew(self, lease: int, now: float) -> int:
        """Give a lease its full time again; gives the seconds.

        What a checkpoint says of it must have been taken back before (`is_checkpointed`).

        Raises:
            EtcdError: NOT_PRIMARY_LESSOR elsewhere than on the leader; LEASE_NOT_FOUND, also for
                a lease that has expired and only waits to be revoked.
        """
        if not self._primary:
            raise EtcdError(errors.NOT_PRIMARY_LESSOR)
        granted = self._granted.get(lease)
        if granted is None or self._end(lease) <= now:
            raise EtcdError(errors.LEASE_NOT_FOUND)
        assert not self.is_checkpointed(lease), "the next primary would give it less"
        self._ends[lease] = now + granted
        # A wheel keeps the old time: it is looked at then and put back, which is cheaper.
        if lease not in self._expiring:
            self._expiring.put(lease, now + granted)
        if granted > self._checkpoint_seconds and lease not in self._unwritten:
            self._unwritten.put(lease, now + self._checkpoint_seconds)
        self.renewed_total += 1
        return granted

    def expired(self, now: float, limit: int) -> list[int]:
        """Give leases to be revoked, of up to `limit` looked at; again after `RETRY_SECONDS`."""
        found: list[int] = []
        wheel = self._expiring
        for _ in range(limit):
            lease = wheel.take(now)
            if lease is None:
                break
            end = self._ends[lease]
            if end <= now:
                found.append(lease)
                end = now + RETRY_SECONDS
            wheel.put(lease, end)
        return found

    @property
    def next_expiry(self) -> float | None:
        """When `expired` should be asked next; None if nothing can expire."""
        return self._expiring.next

    # -- checkpoints -------------------------------------------------------------------------

    def is_checkpointed(self, lease: int) -> bool:
        """Whether the next primary would, or soon might, give a lease less than its full time."""
        return lease in self._remaining or lease in self._under_way

    def to_write(
        self, now: float, limit: int, ending: Container[int] = ()
    ) -> list[tuple[int, int]]:
        """Give leases, of up to `limit` looked at, and what they have left, to be written down.

        Each counts as checkpointed from now on: what is given must be proposed, or this member
        be demoted. A lease that was renewed since the last time is not worth it.

        Args:
            now: the time.
            limit: see above.
            ending: leases that are about to be revoked, of which nothing may be said: who is
                granted the same number next must not be taken for them.
        """
        found: list[tuple[int, int]] = []
        seconds = self._checkpoint_seconds
        for _ in range(limit):
            lease = self._unwritten.take(now)
            if lease is None:
                break
            left = ceil(self._ends[lease] - now)
            known = self._remaining.get(lease, self._granted[lease])
            worth = 0 < left <= known - seconds / 2
            if worth and lease not in ending and lease not in self._under_way:
                found.append((lease, left))
                self._under_way.add(lease)
            if left > seconds:
                self._unwritten.put(lease, now + seconds)
        return found

    @property
    def next_checkpoint(self) -> float | None:
        """When `to_write` should be asked next; None if there is nothing to write."""
        return self._unwritten.next


def _nobody(_seconds: int) -> None:
    """Nobody counts."""
