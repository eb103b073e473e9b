"""Transfers of leadership that somebody waits for: begun here, ended by what a turn finds.

A transfer is Raft's business from the moment it is asked for; whoever asked only wants to know
when the other one leads. It may fail without a word (the transferee dies, Raft gives up after an
election timeout), so time ends the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from trioetcd.cluster import Membership
from trioetcd.errors import (
    BAD_LEADER_TRANSFEREE,
    NOT_LEADER,
    STOPPED,
    TIMEOUT_LEADER_TRANSFER,
    EtcdError,
)
from trioetcd.ports import Sink
from trioetcd.values import MemberID

__all__ = ["Transfers"]


class _Waiting(NamedTuple):
    caller: Sink
    call: int
    to: MemberID
    until: float


class Transfers:
    """Who waits for which member to lead.

    Attributes:
        waiting: those who wait; while there are any, every turn is to be told of (`turned`).

    Args:
        me: this member.
        membership: who may be transferred to.
        seconds: how long anybody waits.
        request: asks Raft for a transfer.
    """

    def __init__(
        self,
        *,
        me: MemberID,
        membership: Membership,
        seconds: float,
        request: Callable[[MemberID], None],
    ) -> None:
        self._me = me
        self._membership = membership
        self._seconds = seconds
        self._request = request
        self.waiting: list[_Waiting] = []

    def begin(self, caller: Sink, call: int, to: MemberID, *, leader: MemberID, now: float) -> bool:
        """Ask for a transfer; False if there is nothing to wait for, since `to` leads already.

        Raises:
            EtcdError: this member does not lead, or the other one cannot.
        """
        if leader != self._me:
            raise EtcdError(NOT_LEADER)
        member = self._membership.get(to)
        if member is None or member.is_learner:
            raise EtcdError(BAD_LEADER_TRANSFEREE)
        if to == leader:
            return False
        self._request(to)
        self.waiting.append(_Waiting(caller, call, to, now + self._seconds))
        return True

    def turned(self, *, leader: MemberID, now: float) -> None:
        """Answer those whose transfer has been made, or who have waited for too long."""
        left = []
        for waiting in self.waiting:
            caller, call, to, until = waiting
            if leader == to:
                caller.answer(call, b"")  # etcd leaves even the header out
            elif now < until:
                left.append(waiting)
                continue
            else:
                caller.fail(call, EtcdError(TIMEOUT_LEADER_TRANSFER))
            caller.flush()
        self.waiting = left

    def stop(self) -> None:
        """Let nobody wait for a member that ends."""
        waiting, self.waiting = self.waiting, []
        for caller, call, _, _ in waiting:
            caller.fail(call, EtcdError(STOPPED))
            caller.flush()
