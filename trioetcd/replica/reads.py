"""Linearizable reads: a read waits until the store has come as far as its read index.

With one voter the index is there at once and the store is usually there too, so this is for the
moments in between: before the first commit of a term, and while a long entry is being applied.
"""

from __future__ import annotations

from collections import deque

from trioetcd.errors import TIMEOUT, ErrorRow, EtcdError
from trioetcd.replica.inputs import Ticket
from trioetcd.replica.outputs import Resolved
from trioetcd.values import Index

__all__ = ["Reads"]


class Reads:
    """Reads that wait: first for an index, then for the store to reach it.

    Attributes:
        count: how many there are.

    Args:
        timeout: seconds after which a read is told that it waited in vain.
    """

    def __init__(self, *, timeout: float) -> None:
        self.count = 0
        self._timeout = timeout
        self._gathering: list[tuple[float, Ticket]] = []
        self._waiting: deque[tuple[Index, float, Ticket]] = deque()

    def add(self, tickets: list[Ticket], now: float) -> None:
        """Take reads that want an index."""
        self.count += len(tickets)
        deadline = now + self._timeout
        self._gathering.extend((deadline, ticket) for ticket in tickets)

    def confirm(self, index: Index) -> None:
        """Give the reads gathered so far their index."""
        self._waiting.extend((index, deadline, ticket) for deadline, ticket in self._gathering)
        self._gathering.clear()

    def readable(self, applied: Index) -> list[Ticket]:
        """Give the reads that the store has come far enough for."""
        tickets: list[Ticket] = []
        waiting = self._waiting
        while waiting and waiting[0][0] <= applied:
            tickets.append(waiting.popleft()[2])
        self.count -= len(tickets)
        return tickets

    def expire(self, now: float) -> list[Resolved]:
        """Give up on the reads that have waited for too long."""
        expired: list[Resolved] = []
        waiting = self._waiting
        while waiting and waiting[0][1] <= now:
            expired.append((waiting.popleft()[2], EtcdError(TIMEOUT)))
        while self._gathering and self._gathering[0][0] <= now:
            expired.append((self._gathering.pop(0)[1], EtcdError(TIMEOUT)))
        self.count -= len(expired)
        return expired

    def fail(self, row: ErrorRow) -> list[Resolved]:
        """Give up on all reads, with one reason."""
        failed: list[Resolved] = [(ticket, EtcdError(row)) for _, _, ticket in self._waiting]
        failed += [(ticket, EtcdError(row)) for _, ticket in self._gathering]
        self._waiting.clear()
        self._gathering.clear()
        self.count = 0
        return failed
