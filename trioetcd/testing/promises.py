"""What a message promises must be durable when it leaves (Raft paper, figure 2).

A vote that is forgotten is given twice, an entry that is acknowledged and lost was counted for
nothing, a term that was shown and forgotten may come again.
"""

from __future__ import annotations

from trioetcd.questions import Question
from trioetcd.raft import (
    AppendEntriesReply,
    InstallSnapshotReply,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from trioetcd.replica.rows import Meta
from trioetcd.testing.violation import require

__all__ = ["check_promise"]


def check_promise(message: Message | Question, durable: Meta, last: int) -> None:
    """Check one message.

    Args:
        message: what is about to leave.
        durable: the sender's last durable meta row.
        last: up to where its log is durable.

    Raises:
        Violation: a crash now would break what the message says.
    """
    match message:
        case PreVote() | PreVoteReply(granted=True):
            return
        case RequestVote(sender=candidate, term=term):
            voted = durable.term > term or (durable.term, durable.vote) == (term, candidate)
            require(voted, "{} leaves before its own vote is durable", message)
        case RequestVoteReply(granted=True, to=candidate, term=term):
            voted = durable.term > term or (durable.term, durable.vote) == (term, candidate)
            require(voted, "{} leaves before the vote is durable", message)
        case AppendEntriesReply(rejected=False, index=index):
            require(index <= last, "{} leaves, and durable is {}", message, last)
        case InstallSnapshotReply(rejected=False, index=index):
            require(index <= last, "{} leaves, and durable is {}", message, last)
        case _:
            pass
    require(message.term <= durable.term, "{} leaves in durable term {}", message, durable.term)
