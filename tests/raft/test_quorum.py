"""Majorities, against a naive twin that tries every subset."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.raft import (
    ConfState,
    VoteOutcome,
    committed_index,
    joint_committed_index,
    joint_vote_outcome,
    vote_outcome,
)
from trioetcd.values import Index, MemberID

voters = st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True).map(
    lambda ids: tuple(MemberID(number) for number in sorted(ids))
)


@given(voters, st.dictionaries(st.integers(1, 9).map(MemberID), st.integers(0, 20).map(Index)))
def test_committed_is_the_highest_that_some_majority_holds(
    ids: tuple[MemberID, ...], match: dict[MemberID, Index]
) -> None:
    """Of all majorities take the one whose least member is furthest (section 5.3)."""
    majorities = combinations(ids, len(ids) // 2 + 1)
    expected = max(min(match.get(voter, 0) for voter in some) for some in majorities)
    assert expected == committed_index(ids, match)


@given(voters, st.dictionaries(st.integers(1, 9).map(MemberID), st.booleans()))
def test_votes(ids: tuple[MemberID, ...], votes: dict[MemberID, bool]) -> None:
    """Won when a majority granted, lost when none can any more, open otherwise (section 5.2)."""
    needed = len(ids) // 2 + 1
    granted = [voter for voter in ids if votes.get(voter) is True]
    possible = [voter for voter in ids if votes.get(voter) is not False]
    expected = VoteOutcome.PENDING
    if len(granted) >= needed:
        expected = VoteOutcome.WON
    elif len(possible) < needed:
        expected = VoteOutcome.LOST
    assert expected is vote_outcome(ids, votes)


@given(
    voters,
    st.one_of(st.just(()), voters),
    st.dictionaries(st.integers(1, 9).map(MemberID), st.integers(0, 20).map(Index)),
)
def test_joint_commit_needs_both_majorities(
    new: tuple[MemberID, ...], old: tuple[MemberID, ...], match: dict[MemberID, Index]
) -> None:
    """Section 6: agreement needs separate majorities from both configurations."""
    expected = min(committed_index(ids, match) for ids in (new, old) if ids)
    assert expected == joint_committed_index(ConfState(new, voters_outgoing=old), match)


@given(
    voters,
    st.one_of(st.just(()), voters),
    st.dictionaries(st.integers(1, 9).map(MemberID), st.booleans()),
)
def test_joint_election_needs_both_majorities(
    new: tuple[MemberID, ...], old: tuple[MemberID, ...], votes: dict[MemberID, bool]
) -> None:
    """Section 6: won when both are, lost when either is."""
    outcomes = {vote_outcome(ids, votes) for ids in (new, old) if ids}
    expected = VoteOutcome.PENDING
    if VoteOutcome.LOST in outcomes:
        expected = VoteOutcome.LOST
    elif outcomes == {VoteOutcome.WON}:
        expected = VoteOutcome.WON
    assert expected is joint_vote_outcome(ConfState(new, voters_outgoing=old), votes)
