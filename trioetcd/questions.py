"""What members ask each other besides what consensus needs, as values (for `wire` and `replica`).

Only a leader knows when a lease ends, so whoever follows asks it. A question and its answer are
told apart from others by `context`, which the member that asks chose; `to`, `sender` and `term` are
as in `trioetcd.raft.messages`, but no question changes anybody's term.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.values import MemberID, Term

__all__ = ["LeaseAnswer", "LeaseQuestion", "Question"]


class LeaseQuestion(NamedTuple):
    """How long does this lease live? And if `renew`, give it its full time first.

    `lease` is its number as 64 bits without a sign. Asking twice does no harm.
    """

    to: MemberID
    sender: MemberID
    term: Term
    context: int
    lease: int
    renew: bool


class LeaseAnswer(NamedTuple):
    """So many whole seconds; `known` is false if there is no such lease, or it has ended."""

    to: MemberID
    sender: MemberID
    term: Term
    context: int
    known: bool
    seconds: int


Question = LeaseQuestion | LeaseAnswer
