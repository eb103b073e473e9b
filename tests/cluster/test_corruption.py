"""Tests of `trioetcd.cluster.corruption`: who is named, and that nobody is named without cause."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.cluster import NOBODY_KNOWS, Standing, corrupt_members, standing
from trioetcd.values import MemberID

Told = tuple[list[MemberID], dict[MemberID, int]]

RIGHT, WRONG, OTHER = 7, 8, 9
A, B, C, D, E = map(MemberID, (11, 12, 13, 14, 15))


@pytest.mark.parametrize(
    ("members", "hashes", "named"),
    [
        ([A], {A: RIGHT}, ()),
        ([A, B, C], {A: RIGHT, B: RIGHT, C: RIGHT}, ()),
        ([A, B, C], {A: RIGHT}, ()),
        ([A, B, C], {A: WRONG, B: RIGHT, C: RIGHT}, (A,)),
        ([A, B, C], {A: RIGHT, B: RIGHT, C: WRONG}, (C,)),
        ([A, B, C], {A: RIGHT, B: WRONG}, NOBODY_KNOWS),
        ([A, B, C], {A: RIGHT, B: WRONG, C: OTHER}, NOBODY_KNOWS),
        ([A, B], {A: RIGHT, B: WRONG}, NOBODY_KNOWS),
        ([A, B, C, D], {A: RIGHT, B: RIGHT, C: WRONG}, NOBODY_KNOWS),
        ([A, B, C, D], {A: RIGHT, B: RIGHT, C: WRONG, D: RIGHT}, (C,)),
        ([A, B, C, D, E], {A: RIGHT, B: WRONG, C: RIGHT, D: OTHER, E: RIGHT}, (B, D)),
        ([A, B], {A: RIGHT, B: RIGHT, C: WRONG}, ()),
    ],
)
def test_the_minority_is_named(
    members: list[MemberID], hashes: dict[MemberID, int], named: tuple[MemberID, ...]
) -> None:
    """Who differs from a majority of all members; nobody in particular without a majority."""
    assert named == corrupt_members(members, hashes)


def clusters() -> st.SearchStrategy[Told]:
    """Up to seven members, of whom any may have told anything, and strangers who told as well."""
    ids = st.integers(1, 2**64 - 1).map(MemberID)

    def told(members: list[MemberID]) -> st.SearchStrategy[Told]:
        whose = st.one_of(st.sampled_from(members), ids)
        hashes = st.dictionaries(whose, st.sampled_from([RIGHT, WRONG, OTHER]))
        return st.tuples(st.just(members), hashes)

    return st.lists(ids, unique=True, min_size=1, max_size=7).flatmap(told)


@given(cluster=clusters(), order=st.randoms(use_true_random=False))
def test_whom_hashes_accuse(cluster: Told, order: Random) -> None:
    """Nobody is accused who told nothing, or agrees with all, or with a majority; order is naught.

    And whoever differs from a majority is.
    """
    members, hashes = cluster
    named = corrupt_members(members, hashes)
    told = {member: value for member, value in hashes.items() if member in members}
    count = Counter(told.values())
    majority = [value for value in count if count[value] >= len(members) // 2 + 1]

    if len(count) <= 1:
        assert named == ()
    elif not majority:
        assert named == NOBODY_KNOWS
    else:
        assert set(named) == {member for member in told if told[member] != majority[0]}
    shuffled = list(hashes.items())
    order.shuffle(shuffled)
    assert named == corrupt_members(members[::-1], dict(shuffled))


@given(cluster=clusters())
def test_how_a_member_stands(cluster: Told) -> None:
    """A member is vouched for exactly if it is of a majority; doubted if it is contradicted else.

    So of two members of one majority neither ends the other, and whoever is named is doubted.
    """
    members, hashes = cluster
    for me in members:
        if me not in hashes:
            continue
        told = [hashes[member] for member in members if member in hashes]
        if 2 * told.count(hashes[me]) > len(members):
            expected = Standing.VOUCHED
        elif all(value == hashes[me] for value in told):
            expected = Standing.UNKNOWN
        else:
            expected = Standing.DOUBTED
        assert expected == standing(me, members, hashes)
        if me in corrupt_members(members, hashes):
            assert expected is Standing.DOUBTED
