"""Proposals whose outcome somebody waits for: request ids, deadlines, overload.

A request id is member, boot and a count (`values.RequestID`); boot is drawn when the member
starts, so an entry replayed from an earlier boot answers nobody. Outcomes leave in the order of
the log, time runs out in the order of arrival, and both are the order of the count.
"""

from __future__ import annotations

from collections import deque

from trioetcd.errors import TIMEOUT, ErrorRow, EtcdError
from trioetcd.replica.inputs import Ticket
from trioetcd.replica.outputs import Resolved

__all__ = ["Pending"]


class Pending:
    """The tickets of this boot.

    Attributes:
        counter: the count of the latest request id given out.
        waiting: count to ticket, oldest first; the replica takes from it as entries are applied.

    Args:
        timeout: seconds after which a waiting ticket is told that it waited in vain.
    """

    def __init__(self, *, timeout: float) -> None:
        self.counter = 0
        self.waiting: dict[int, Ticket] = {}
        self._timeout = timeout
        self._deadlines: deque[tuple[float, int]] = deque()

    def stamp(self, now: float) -> None:
        """Note that everything up to `counter` had arrived by `now`."""
        deadlines = self._deadlines
        if not deadlines or deadlines[-1][1] != self.counter:
            deadlines.append((now + self._timeout, self.counter))

    def expire(self, now: float) -> list[Resolved]:
        """Give up on the tickets that have waited for too long; their commands may yet happen."""
        expired: list[Resolved] = []
        deadlines = self._deadlines
        waiting = self.waiting
        while deadlines and deadlines[0][0] <= now:
            upto = deadlines.popleft()[1]
            while waiting and (oldest := next(iter(waiting))) <= upto:
                expired.append((waiting.pop(oldest), EtcdError(TIMEOUT)))
        return expired

    def fail(self, row: ErrorRow) -> list[Resolved]:
        """Give up on all tickets, with one reason."""
        failed: list[Resolved] = [(ticket, EtcdError(row)) for ticket in self.waiting.values()]
        self.waiting.clear()
        self._deadlines.clear()
        return failed
