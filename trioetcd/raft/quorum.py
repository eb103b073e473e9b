"""Majorities: what is committed, and who is elected. Pure functions of what voters said.

With a joint configuration (paper, section 6) both majorities are needed: the lesser index, and the
worse outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from trioetcd.raft.entry import ConfState
from trioetcd.values import Index, MemberID

__all__ = [
    "VoteOutcome",
    "committed_index",
    "joint_committed_index",
    "joint_vote_outcome",
    "vote_outcome",
]


class VoteOutcome(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def committed_index(voters: tuple[MemberID, ...], match: Mapping[MemberID, Index]) -> Index:
    """Give the highest index that a majority of `voters` holds durably (paper, section 5.3).

    Whether it may be *called* committed also depends on its term (section 5.4.2); that is the
    caller's rule.
    """
    assert voters, "a cluster without voters commits nothing"
    if len(voters) == 1:
        return match.get(voters[0], Index(0))
    held = sorted([match.get(voter, Index(0)) for voter in voters])
    return held[(len(voters) - 1) // 2]


def joint_committed_index(conf: ConfState, match: Mapping[MemberID, Index]) -> Index:
    """Give the highest index that every majority that counts in `conf` holds durably."""
    index = committed_index(conf.voters, match)
    if conf.voters_outgoing:
        return min(index, committed_index(conf.voters_outgoing, match))
    return index


def vote_outcome(voters: tuple[MemberID, ...], votes: Mapping[MemberID, bool]) -> VoteOutcome:
    """Say whether the votes so far elect, reject, or leave it open (paper, section 5.2)."""
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteOutcome.WON
    if len(voters) - refused < needed:
        return VoteOutcome.LOST
    return VoteOutcome.PENDING


def joint_vote_outcome(conf: ConfState, votes: Mapping[MemberID, bool]) -> VoteOutcome:
    """Say how the votes stand where each majority of `conf` must agree."""
    outcome = vote_outcome(conf.voters, votes)
    if not conf.voters_outgoing:
        return outcome
    old = vote_outcome(conf.voters_outgoing, votes)
    if VoteOutcome.LOST in {outcome, old}:
        return VoteOutcome.LOST
    return outcome if outcome is old else VoteOutcome.PENDING
