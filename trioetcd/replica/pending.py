"""Proposals whose outcome somebody waits for: request ids, deadlines, overload.

A request id is member, boot and a count (`values.RequestID`); boot is drawn when the member
starts, so an entry replayed from an earlier boot answers nobody. Outcomes leave in the order of
the log, time runs out in the order of arrival, and both are the order of the count.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from trioetcd.errors import (
    TIMEOUT,
    TIMEOUT_DUE_TO_CONNECTION_LOST,
    TIMEOUT_DUE_TO_LEADER_FAIL,
    ErrorRow,
    EtcdError,
)
from trioetcd.replica.inputs import Ticket
from trioetcd.replica.outputs import Resolved

__all__ = ["Pending"]


class Pending:
    """The tickets of this boot.

    Attributes:
        counter: the count of the latest request id given out.
        waiting: count to ticket, oldest first; the replica takes from it as entries are applied.
        failed: how many have been given up.

    Args:
        timeout: seconds after which a waiting ticket is told that it waited in vain.
        election: what came for so many seconds before a leader was known may have been lost with
            the leader before; two election timeouts (etcd).
    """

    def __init__(self, *, timeout: float, election: float = 0.0) -> None:
        self.counter = 0
        self.failed = 0
        self.waiting: dict[int, Ticket] = {}
        self._timeout = timeout
        self._election = election
        self._deadlines: deque[tuple[float, int]] = deque()

    def stamp(self, now: float) -> None:
        """Note that everything up to `counter` had arrived by `now`."""
        deadlines = self._deadlines
        if not deadlines or deadlines[-1][1] != self.counter:
            deadlines.append((now + self._timeout, self.counter))

    def expire(
        self,
        now: float,
        elected: float = -math.inf,
        unlinked: Callable[[float], bool] = lambda _then: False,
    ) -> list[Resolved]:
        """Give up on the tickets that have waited for too long; their commands may yet happen.

        Args:
            now: the time.
            elected: since when the leader has been known.
            unlinked: whether what came then may have got lost with a link.
        """
        expired: list[Resolved] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            until, upto = deadlines.popleft()
            expired += self.give_up(upto, self._reason(until - self._timeout, elected, unlinked))
        return expired

    def _reason(self, then: float, elected: float, unlinked: Callable[[float], bool]) -> ErrorRow:
        """Say why what came `then` may have got no answer, in etcd's order."""
        if elected - self._election < then < elected:
            return TIMEOUT_DUE_TO_LEADER_FAIL
        return TIMEOUT_DUE_TO_CONNECTION_LOST if unlinked(then) else TIMEOUT

    def give_up(self, upto: int, row: ErrorRow) -> list[Resolved]:
        """Give up on the tickets up to a count, with one reason."""
        waiting = self.waiting
        given_up: list[Resolved] = []
        while waiting and (oldest := next(iter(waiting))) <= upto:
            given_up.append((waiting.pop(oldest), EtcdError(row)))
        self.failed += len(given_up)
        return given_up

    def give_up_one(self, counter: int, row: ErrorRow) -> list[Resolved]:
        """Give up on the ticket of one count, if it waits, with a reason."""
        if counter not in self.waiting:
            return []
        self.failed += 1
        return [(self.waiting.pop(counter), EtcdError(row))]

    def fail(self, row: ErrorRow) -> list[Resolved]:
        """Give up on all tickets, with one reason."""
        failed: list[Resolved] = [(ticket, EtcdError(row)) for ticket in self.waiting.values()]
        self.waiting.clear()
        self._deadlines.clear()
        self.failed += len(failed)
        return failed
