"""What can go wrong for a client besides the server's own answer.

An answer of the server that is an error is raised as `trioetcd.errors.EtcdError`, recognised by
its text. What is here is about requests that got no answer.
"""

from __future__ import annotations

from typing import Final

from trioetcd import errors
from trioetcd.errors import Code, ErrorRow, EtcdError

__all__ = [
    "DisconnectedError",
    "OutcomeUnknownError",
    "WatchCompactedError",
    "error_from_wire",
    "leaves_open",
]


class DisconnectedError(Exception):
    """No endpoint could be reached, or the connection ended; nothing was changed."""


class OutcomeUnknownError(Exception):
    """A write was sent and no clear answer came: it may have been done, or not, or be done yet.

    The client never sends such a request again by itself. Read, and then decide.
    """


class WatchCompactedError(EtcdError):
    """The history a watch needed is gone: read anew, then watch from that revision on.

    Attributes:
        compact_revision: the first revision that is still there.
    """

    def __init__(self, compact_revision: int) -> None:
        super().__init__(errors.COMPACTED)
        self.compact_revision = compact_revision


_OPEN: Final = frozenset(
    {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)


def leaves_open(error: EtcdError) -> bool:
    """Whether an error in answer to a write leaves open if it was done, or will be.

    A request that timed out at the server, or whose leader changed, may be in the log by then. One
    that an alarm refused was, and changed nothing.
    """
    return error.code in _OPEN and error.row != errors.CORRUPT


_ROWS_BY_TEXT: Final = {row.text: row for row in errors.ROWS.values()}
_CODES: Final = {code.value: code for code in Code}


def error_from_wire(code: int, text: str) -> EtcdError:
    """Turn a gRPC status into the error it stands for; an unknown text keeps its code."""
    row = _ROWS_BY_TEXT.get(text)
    if row is None:
        row = ErrorRow("Unlisted", _CODES.get(code, Code.UNKNOWN), text)
    return EtcdError(row)
