"""What a simulated client asks of a member, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from trioetcd.errors import EtcdError
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind

__all__ = [
    "Ask",
    "KeepAlive",
    "Operation",
    "Pause",
    "Propose",
    "Read",
    "Result",
    "Status",
    "plain",
    "result_of",
]


class Propose(NamedTuple):
    """Carry out a command; `payload` must be one that nobody else ever proposes."""

    kind: CommandKind
    payload: bytes


class Read(NamedTuple):
    """Read a range, linearizably or from what the member has."""

    request: messages.RangeRequest
    serializable: bool = False


class KeepAlive(NamedTuple):
    """Renew a lease."""

    lease: int


class Pause(NamedTuple):
    """Do nothing for a while."""

    micros: int


Ask = Propose | Read | KeepAlive | Pause


def plain(ask: Ask) -> tuple[object, ...]:
    """Give what is asked in a form that looks the same in every process."""
    match ask:
        case Propose(kind, payload):
            return (kind.name, payload)
        case Read(request, serializable):
            return (request.SerializeToString(), serializable)
        case _:
            return tuple(ask)


class Status(Enum):
    """What a client knows of what it asked for."""

    DONE = "done"
    ERROR = "error"
    """It was looked at and turned down, for good."""
    REFUSED = "refused"
    """It has not happened and never will."""
    UNKNOWN = "unknown"
    """It may have happened, may yet, or never."""


class Result(NamedTuple):
    """The answer.

    Attributes:
        status: see there.
        revision: of the header; 0 without an answer.
        body: the answer without header; empty without one.
        error: the name of the error's row, or empty.
    """

    status: Status
    revision: int = 0
    body: bytes = b""
    error: str = ""


REFUSALS = frozenset({"NoLeader", "TooManyRequests", "NotSupportedForLearner"})
"""Errors that say that nothing was put under way."""

DOUBTS = frozenset(
    {
        "Stopped",
        "Timeout",
        "LeaderChanged",
        "TimeoutDueToLeaderFail",
        "TimeoutDueToConnectionLost",
        "TimeoutWaitAppliedIndex",
    }
)
"""Errors that say nothing of what becomes of the request."""


class Operation:
    """One request under way.

    Attributes:
        number: of all in this run.
        ask: what is asked.
        place: which member is asked.
        invoked: when, in microseconds.
        floor: the greatest revision any answer had carried by then.
        floor_index: likewise for the index of a command.
        committed: the greatest commit index any member knew by then.
        done: told the result.
    """

    __slots__ = (
        "ask",
        "committed",
        "done",
        "floor",
        "floor_index",
        "invoked",
        "number",
        "place",
    )

    def __init__(
        self, number: int, ask: Ask, place: int, invoked: int, done: Callable[[Result], None]
    ) -> None:
        self.number = number
        self.ask = ask
        self.place = place
        self.invoked = invoked
        self.floor = 0
        self.floor_index = 0
        self.committed = 0
        self.done = done

    def __repr__(self) -> str:
        """Name it as the trace does."""
        match self.ask:
            case Propose(kind, payload):
                return f"op {self.number} ({kind.name} {payload!r} at {self.place})"
            case _:
                return f"op {self.number} ({self.ask!r} at {self.place})"


def result_of(outcome: tuple[int, bytes] | EtcdError) -> Result:
    """Turn what a member says into what its client knows."""
    if not isinstance(outcome, EtcdError):
        return Result(Status.DONE, *outcome)
    name = outcome.row.name
    if name in REFUSALS:
        return Result(Status.REFUSED, error=name)
    if name in DOUBTS:
        return Result(Status.UNKNOWN, error=name)
    return Result(Status.ERROR, error=name)
