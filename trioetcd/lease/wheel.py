"""Leases by the moment at which they are to be looked at next, however many there are.

A timing wheel whose moments stand in a heap: to set, to move and to let go of a lease takes the
same short time whether there are ten or a million, and nothing is left of one that is let go.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil
from typing import Final

__all__ = ["MOMENTS_PER_SECOND", "Wheel"]

MOMENTS_PER_SECOND: Final = 4
"""A lease is given out no earlier than its time, and up to so much of a second later."""

_STALE_MAX: Final = 1024
"""So many moments of which nothing is left are not worth a clearing."""


class Wheel:
    """Leases, each with one moment."""

    __slots__ = ("_at", "_moments", "_order")

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._moments: dict[int, dict[int, None]] = {}
        # Each moment that has leases, and some that have had.
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, lease: int) -> bool:
        return lease in self._at

    def put(self, lease: int, at: float) -> None:
        """Set when a lease is to be given out; an earlier time of its own counts no more."""
        moment = ceil(at * MOMENTS_PER_SECOND)
        self.drop(lease)
        self._at[lease] = moment
        there = self._moments.get(moment)
        if there is None:
            self._moments[moment] = {lease: None}
            heappush(self._order, moment)
        else:
            there[lease] = None

    def drop(self, lease: int) -> None:
        """Let go of a lease, which need not be here."""
        moment = self._at.pop(lease, None)
        if moment is None:
            return
        there = self._moments[moment]
        del there[lease]
        if not there:
            self._forget(moment)

    def take(self, now: float) -> int | None:
        """Give a lease whose time has come and let go of it; None if there is none."""
        moment = self._first()
        if moment is None or moment > now * MOMENTS_PER_SECOND:
            return None
        there = self._moments[moment]
        lease, _ = there.popitem()
        del self._at[lease]
        if not there:
            self._forget(moment)
        return lease

    @property
    def next(self) -> float | None:
        """When `take` will give something; None if there is nothing here."""
        moment = self._first()
        return None if moment is None else moment / MOMENTS_PER_SECOND

    def _first(self) -> int | None:
        order = self._order
        while order and order[0] not in self._moments:
            heappop(order)
        return order[0] if order else None

    def _forget(self, moment: int) -> None:
        del self._moments[moment]
        if len(self._order) > _STALE_MAX + 2 * len(self._moments):
            self._order = list(self._moments)
            heapify(self._order)
