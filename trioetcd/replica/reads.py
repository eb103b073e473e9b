"""Linearizable reads: a read waits for its index, then until the store has come that far.

A sole voter has the index at once and the store is usually there too. Everybody else asks Raft:
what gathers until then is asked for in one question, under a number that is never used again, not
even after a restart, so that no answer is taken for another's. A question that stays without an
answer, because the leader changed or a message was lost, is asked again.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from trioetcd.errors import (
    LEADER_CHANGED,
    TIMEOUT,
    TIMEOUT_WAIT_APPLIED_INDEX,
    ErrorRow,
    EtcdError,
)
from trioetcd.replica.inputs import Ticket
from trioetcd.replica.outputs import Outputs, Resolved
from trioetcd.values import Index

__all__ = ["GATHER_SECONDS", "RETRY_SECONDS", "Reads"]

RETRY_SECONDS: Final = 0.5
"""etcd asks again as often."""

GATHER_SECONDS: Final = 0.01
"""Reads wait no longer than this for the answer to an earlier question."""

_COUNT_BITS: Final = 32

Waiting = tuple[float, Ticket]
"""A read, and when it has waited for too long."""


class Reads:
    """Reads that wait: first for an index, then for the store to reach it.

    Attributes:
        count: how many there are.
        failed: how many have been given up.
        unanswered: those among them that no leader answered, though none came meanwhile.

    Args:
        timeout: seconds after which a read is told that it waited in vain.
        boot: random bits drawn for this start; they make its questions its own.
    """

    def __init__(self, *, timeout: float, boot: int = 0) -> None:
        self.count = 0
        self.failed = 0
        self.unanswered = 0
        self._timeout = timeout
        self._context = (boot & (1 << _COUNT_BITS) - 1) << _COUNT_BITS
        self._gathering: list[Waiting] = []
        self._asked: dict[int, tuple[float, list[Waiting]]] = {}
        self._confirmed: deque[tuple[Index, float, Ticket]] = deque()

    def ask_for(
        self, tickets: list[Ticket], now: float, refusal: ErrorRow | None, outputs: Outputs
    ) -> None:
        """Take clients' reads, unless they are to be refused."""
        if refusal is None:
            self.add(tickets, now)
        else:
            outputs.resolved.extend((ticket, EtcdError(refusal)) for ticket in tickets)

    def add(self, tickets: list[Ticket], now: float) -> None:
        """Take reads that want an index."""
        self.count += len(tickets)
        deadline = now + self._timeout
        self._gathering.extend((deadline, ticket) for ticket in tickets)

    def ask(self, now: float) -> int | None:
        """Put what has gathered into one question; gives its number, None if there is none now.

        While an answer is awaited reads gather, so that many share the next question; but not for
        long, as that answer may have been lost.
        """
        if not self._gathering:
            return None
        latest = self._asked.get(self._context)
        if latest is not None and now - latest[0] <= GATHER_SECONDS:
            return None
        self._context += 1
        self._asked[self._context] = (now, self._gathering)
        self._gathering = []
        return self._context

    def confirm(self, index: Index, context: int | None = None) -> None:
        """Give reads their index: those of one question, or without one all that have none."""
        if context is None:
            self.ask_again()
            waiting, self._gathering = self._gathering, []
        elif context in self._asked:
            _, waiting = self._asked.pop(context)
        else:
            return  # asked again meanwhile, under another number
        self._confirmed.extend((index, deadline, ticket) for deadline, ticket in waiting)

    def ask_again(self, before: float | None = None) -> None:
        """Gather anew what was asked earlier than `before`, or all that was asked."""
        if not self._asked:
            return
        again = [
            context for context, (at, _) in self._asked.items() if before is None or at <= before
        ]
        waiting = [read for context in again for read in self._asked.pop(context)[1]]
        self._gathering = waiting + self._gathering

    def readable(self, applied: Index) -> list[Ticket]:
        """Give the reads that the store has come far enough for."""
        tickets: list[Ticket] = []
        confirmed = self._confirmed
        while confirmed and confirmed[0][0] <= applied:
            tickets.append(confirmed.popleft()[2])
        self.count -= len(tickets)
        return tickets

    def expire(self, now: float, led_since: float = -math.inf) -> list[Resolved]:
        """Give up on the reads that have waited for too long; ask again for the others.

        They are told what they waited for: the store, or an answer of the leader; of the next one
        after one that came meanwhile, where etcd tells them so as soon as it has come.

        Args:
            now: the time.
            led_since: since when the leader has been known that is known now, or was last.
        """
        self.ask_again(now - RETRY_SECONDS)
        expired: list[Resolved] = []
        confirmed = self._confirmed
        while confirmed and confirmed[0][1] <= now:
            expired.append((confirmed.popleft()[2], EtcdError(TIMEOUT_WAIT_APPLIED_INDEX)))
        while self._gathering and self._gathering[0][0] <= now:
            until, ticket = self._gathering.pop(0)
            row = LEADER_CHANGED if until - self._timeout < led_since else TIMEOUT
            expired.append((ticket, EtcdError(row)))
            self.unanswered += row is TIMEOUT
        self.count -= len(expired)
        self.failed += len(expired)
        return expired

    def fail(self, row: ErrorRow) -> list[Resolved]:
        """Give up on all reads, with one reason."""
        self.ask_again()
        failed: list[Resolved] = [(ticket, EtcdError(row)) for _, _, ticket in self._confirmed]
        failed += [(ticket, EtcdError(row)) for _, ticket in self._gathering]
        self._confirmed.clear()
        self._gathering.clear()
        self.count = 0
        self.failed += len(failed)
        return failed
