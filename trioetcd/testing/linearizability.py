"""Linearizability, twice: fast with revisions, and by search without any.

Every answer of etcd's carries its revision, so the order is given and only has to be checked
(`RevisionOrder`, constant time per answer). A history without revisions, or with outcomes nobody
knows, is searched for an order that explains it (`explain`): Wing and Gong's search with Lowe's
memory of what was tried ("Testing for linearizability", 2017), one register at a time, because a
history is linearizable if its part on each object is (Herlihy and Wing, 1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from trioetcd.testing.violation import Violation, require

__all__ = ["Action", "Call", "RevisionOrder", "check_registers", "explain"]


class RevisionOrder:
    """Checks, answer by answer, that revisions agree with real time.

    An answer that was there before another request was made has a revision no greater than the
    other's, a smaller one if the other is a write. Writes have revisions of their own.

    Attributes:
        revision: the greatest revision any answer has carried so far.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._written: dict[int, object] = {}

    def invoke(self) -> int:
        """Note that a request is made; gives what `answer` wants to know."""
        return self.revision

    def answer(self, floor: int, revision: int, *, write: bool, who: object) -> None:
        """Check an answer.

        Args:
            floor: what `invoke` gave for the request.
            revision: what the answer carries.
            write: whether it took that revision.
            who: the request, for the sentence.

        Raises:
            Violation: the answer contradicts one that was there before the request was made.
        """
        if write:
            require(
                revision > floor, "{}: wrote revision {} after {} was seen", who, revision, floor
            )
            other = self._written.setdefault(revision, who)
            require(other is who, "revision {} was given to both {} and {}", revision, other, who)
        else:
            require(
                revision >= floor, "{}: read revision {} after {} was seen", who, revision, floor
            )
        self.revision = max(self.revision, revision)


class Action(Enum):
    """What may be done to a register, whose value is None at first."""

    READ = "read"
    WRITE = "write"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on one register.

    Attributes:
        register: which one.
        action: what was done.
        invoked: when.
        returned: when the answer came; None if nobody knows whether it ever took place.
        value: what was read (READ) or is to be written.
        expected: for SWAP, what the register had to hold.
        succeeded: for SWAP, whether it did; irrelevant if the outcome is unknown.
    """

    register: object
    action: Action
    invoked: int
    returned: int | None
    value: object = None
    expected: object = None
    succeeded: bool = field(default=True)

    def follow(self, state: object) -> tuple[bool, object]:
        """Say whether this can happen in a state, and which one it leaves."""
        match self.action:
            case Action.READ:
                return self.returned is None or state == self.value, state
            case Action.WRITE:
                return True, self.value
            case Action.SWAP:
                holds = state == self.expected
                if self.returned is not None and holds != self.succeeded:
                    return False, state
                return True, self.value if holds else state
            case _:
                assert_never(self.action)


def check_registers(calls: Iterable[Call]) -> None:
    """Search an explanation for each register's history.

    Raises:
        Violation: there is none for one of them.
    """
    by_register: dict[object, list[Call]] = {}
    for call in calls:
        by_register.setdefault(call.register, []).append(call)
    for register, history in by_register.items():
        if explain(history) is None:
            raise Violation(f"the history of {register!r} ({len(history)} calls) has no order")


def explain(calls: Sequence[Call]) -> list[Call] | None:
    """Find an order of one register's calls that explains every answer.

    Args:
        calls: the history, in any order. A call without an answer may have happened at any time
            after it was made, or never.

    Returns:
        The calls in the order found, those without answer left out where they are not needed;
        None if there is no such order.
    """
    certain = [call for call in calls if call.returned is not None]
    order = sorted(calls, key=lambda call: call.invoked)
    end = max((call.returned or 0 for call in certain), default=0) + 1
    events: list[tuple[int, int, int]] = []
    for number, call in enumerate(order):
        # At equal times a call counts as made before another one's answer: they overlap.
        events.append((call.invoked, 0, number))
        events.append((call.returned if call.returned is not None else end, 1, number))
    events.sort()
    return _Search(order, events, len(certain)).run()


class _Search:
    """One search: a list of calls and answers in which calls are taken out and put back."""

    def __init__(self, calls: list[Call], events: list[tuple[int, int, int]], certain: int) -> None:
        size = len(events)
        self._calls = calls
        self._certain = certain
        # Positions 1 to size; 0 is the head. Each list is a doubly linked one over positions.
        self._number = [-1] + [number for _, _, number in events]
        self._is_answer = [False] + [kind == 1 for _, kind, _ in events]
        self._next = [*range(1, size + 1), 0]
        self._previous = [size, *range(size)]
        self._answer = [0] * (size + 1)
        answers = {number: at for at, (_, kind, number) in enumerate(events, 1) if kind == 1}
        for at, (_, kind, number) in enumerate(events, 1):
            if kind == 0:
                self._answer[at] = answers[number]

    def run(self) -> list[Call] | None:
        """Search depth first, backwards as soon as an answer comes that nothing explains."""
        following = self._next
        calls = self._calls
        state: object = None
        done = 0
        left = self._certain
        tried: set[tuple[int, object]] = set()
        stack: list[tuple[int, object]] = []
        at = following[0]
        while left:
            if at and not self._is_answer[at]:
                number = self._number[at]
                call = calls[number]
                possible, after = call.follow(state)
                if possible and (done | 1 << number, after) not in tried:
                    done |= 1 << number
                    tried.add((done, after))
                    stack.append((at, state))
                    state = after
                    left -= call.returned is not None
                    self._lift(at)
                    at = following[0]
                else:
                    at = following[at]
                continue
            if not stack:
                return None
            at, state = stack.pop()
            number = self._number[at]
            done &= ~(1 << number)
            left += calls[number].returned is not None
            self._put_back(at)
            at = following[at]
        return [calls[self._number[at]] for at, _ in stack]

    def _lift(self, at: int) -> None:
        """Take a call and its answer out of the list."""
        following, previous = self._next, self._previous
        for position in (at, self._answer[at]):
            before, behind = previous[position], following[position]
            following[before] = behind
            previous[behind] = before

    def _put_back(self, at: int) -> None:
        """Undo `_lift`."""
        following, previous = self._next, self._previous
        for position in (self._answer[at], at):
            following[previous[position]] = position
            previous[following[position]] = position
