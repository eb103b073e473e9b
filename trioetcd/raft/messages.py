"""What members say to each other, one value per message (Raft paper, figure 2, and dissertation).

Each names the member it goes `to`, its `sender`, and a `term`: the sender's, except in PreVote and
a granted PreVoteReply, which speak of a term that has not begun. A snapshot travels on a
connection of its own and is no message of this package; only the answer to it is.

A member takes any of these from anybody in any order, and ignores what makes no sense.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.raft.entry import Group
from trioetcd.values import Index, MemberID, Term

__all__ = [
    "AppendEntries",
    "AppendEntriesReply",
    "Heartbeat",
    "HeartbeatReply",
    "InstallSnapshotReply",
    "Message",
    "PreVote",
    "PreVoteReply",
    "Propose",
    "ReadIndex",
    "ReadIndexReply",
    "RequestVote",
    "RequestVoteReply",
    "TimeoutNow",
    "in_order",
]


class PreVote(NamedTuple):
    """Would I get your vote in `term`? Changes nobody's term or vote (dissertation, 9.6)."""

    to: MemberID
    sender: MemberID
    term: Term
    last_index: Index
    last_term: Term


class PreVoteReply(NamedTuple):
    """Granted with the term that was asked for, refused with the sender's own."""

    to: MemberID
    sender: MemberID
    term: Term
    granted: bool


class RequestVote(NamedTuple):
    """Vote for me in `term` (section 5.2).

    `transfer`: the leader asked for this election, so it disturbs nobody (dissertation, 3.10).
    """

    to: MemberID
    sender: MemberID
    term: Term
    last_index: Index
    last_term: Term
    transfer: bool


class RequestVoteReply(NamedTuple):
    """The answer to RequestVote; a granted vote is durable before it leaves."""

    to: MemberID
    sender: MemberID
    term: Term
    granted: bool


class AppendEntries(NamedTuple):
    """Entries that follow `prev_index`, or none; and how far the leader has committed (5.3)."""

    to: MemberID
    sender: MemberID
    term: Term
    prev_index: Index
    prev_term: Term
    commit: Index
    groups: tuple[Group, ...]


class AppendEntriesReply(NamedTuple):
    """The answer to AppendEntries.

    Accepted: everything up to `index` is durable at the sender and equal to the leader's.
    Rejected: there is no entry like the leader's at `index`; the sender's log agrees with it at
    the latest at `hint_index`, where its term is `hint_term` (section 5.3, fast back-up).
    """

    to: MemberID
    sender: MemberID
    term: Term
    index: Index  # type: ignore[assignment]  # Raft's word; tuple.index goes unused
    rejected: bool
    hint_index: Index
    hint_term: Term


class Heartbeat(NamedTuple):
    """I lead. `commit` is never beyond what the receiver has acknowledged.

    `round` is the leader's own count of read rounds, which the answer repeats.
    """

    to: MemberID
    sender: MemberID
    term: Term
    commit: Index
    round: int


class HeartbeatReply(NamedTuple):
    """I follow, and have heard `round` (dissertation, section 6.4)."""

    to: MemberID
    sender: MemberID
    term: Term
    round: int


class InstallSnapshotReply(NamedTuple):
    """A snapshot was installed, or not needed: all up to `index` is here, durable (section 7).

    Rejected: it was not taken, and nothing has changed.
    """

    to: MemberID
    sender: MemberID
    term: Term
    index: Index  # type: ignore[assignment]  # Raft's word; tuple.index goes unused
    rejected: bool


class TimeoutNow(NamedTuple):
    """Campaign now: your log is whole, and I want you to lead (dissertation, section 3.10)."""

    to: MemberID
    sender: MemberID
    term: Term


class Propose(NamedTuple):
    """Proposals that reached a follower, sent on to the leader (section 8)."""

    to: MemberID
    sender: MemberID
    term: Term
    datas: list[bytes]


class ReadIndex(NamedTuple):
    """From where may I read? `context` comes back with the answer (dissertation, 6.4)."""

    to: MemberID
    sender: MemberID
    term: Term
    context: int


class ReadIndexReply(NamedTuple):
    """Read when you have applied `index`."""

    to: MemberID
    sender: MemberID
    term: Term
    context: int
    index: Index  # type: ignore[assignment]  # Raft's word; tuple.index goes unused


Message = (
    AppendEntries
    | AppendEntriesReply
    | Heartbeat
    | HeartbeatReply
    | PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | InstallSnapshotReply
    | TimeoutNow
    | Propose
    | ReadIndex
    | ReadIndexReply
)


def in_order(message: AppendEntries) -> bool:
    """Say whether groups follow `prev_index` and each other, in terms the sender can have seen."""
    last, latest = message.prev_index, message.prev_term
    for first, term, datas in message.groups:
        if first != last + 1 or term < latest or not datas:
            return False
        last, latest = Index(last + len(datas)), term
    return not message.groups or latest <= message.term
