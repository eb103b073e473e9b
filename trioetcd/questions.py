"""What members ask each other besides what consensus needs, as values (for `wire` and `replica`).

Only a leader knows when a lease ends, so whoever follows asks it. A question and its answer are
told apart from others by `context`, which the member that asks chose; `to`, `sender` and `term` are
as in `trioetcd.raft.messages`, but no question changes anybody's term.

What a member's data hashes to is asked over a connection of its own, which tells all but the hash.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.values import MemberID, Term

__all__ = ["Hashed", "LeaseAnswer", "LeaseQuestion", "Question"]


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


class Hashed(NamedTuple):
    """What a member's key space hashes to as of the revision that was asked about.

    Attributes:
        hash: the same at every member that holds the same.
        revision: the last revision the member has.
        compact_revision: its compact revision; 0 if there was no compaction.
    """

    hash: int
    revision: int
    compact_revision: int
