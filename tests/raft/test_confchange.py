"""Changes of the membership: always two majorities that meet."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.raft import (
    AddLearner,
    AddVoter,
    ConfChange,
    ConfChangeError,
    ConfState,
    Remove,
    enter_joint,
    leave_joint,
    simple,
)
from trioetcd.values import MemberID


class Wrong(NamedTuple):
    """No change of any kind."""

    member: MemberID


members = st.integers(1, 6).map(MemberID)
kinds: tuple[type[AddVoter | AddLearner | Remove], ...] = (AddVoter, AddLearner, Remove)
changes = st.one_of(*(st.builds(kind, members) for kind in kinds))


@st.composite
def confs(draw: st.DrawFn) -> ConfState:
    roles = draw(st.lists(st.sampled_from("vl-"), min_size=6, max_size=6))
    voters = [MemberID(i) for i, role in enumerate(roles, 1) if role == "v"] or [MemberID(9)]
    return ConfState(
        tuple(voters), tuple(MemberID(i) for i, role in enumerate(roles, 1) if role == "l")
    )


def naive(conf: ConfState, some: list[ConfChange]) -> dict[MemberID, str]:
    """Give everybody's part after the changes, one after the other."""
    parts = dict.fromkeys(conf.voters, "v") | dict.fromkeys(conf.learners, "l")
    for change in some:
        if isinstance(change, Remove):
            parts.pop(change.member, None)
        else:
            parts[change.member] = "v" if isinstance(change, AddVoter) else "l"
    return parts


def parts_of(conf: ConfState) -> dict[MemberID, str]:
    return dict.fromkeys(conf.voters, "v") | dict.fromkeys(conf.learners, "l")


@given(confs(), changes)
def test_after_a_simple_change_any_two_majorities_meet(conf: ConfState, change: ConfChange) -> None:
    """Dissertation 4.1: a majority of the old and one of the new configuration overlap."""
    expected = naive(conf, [change])
    if "v" not in expected.values():
        with pytest.raises(ConfChangeError):
            simple(conf, change)
        return
    after = simple(conf, change)
    assert expected == parts_of(after)
    for old in combinations(conf.voters, len(conf.voters) // 2 + 1):
        for new in combinations(after.voters, len(after.voters) // 2 + 1):
            assert set(old) & set(new)


@given(confs(), st.lists(changes, max_size=5))
def test_through_a_joint_configuration_any_change_is_safe(
    conf: ConfState, some: list[ConfChange]
) -> None:
    """Section 6: both halves vote in between, and the new half is what was asked for."""
    expected = naive(conf, some)
    if "v" not in expected.values():
        with pytest.raises(ConfChangeError):
            enter_joint(conf, some)
        return
    joint = enter_joint(conf, some)
    assert joint.joint
    assert conf.voters == joint.voters_outgoing
    assert set(joint.voting) == {*conf.voters, *joint.voters}
    with pytest.raises(ConfChangeError):
        enter_joint(joint, [])
    with pytest.raises(ConfChangeError):
        simple(joint, AddVoter(MemberID(1)))
    after = leave_joint(joint)
    assert expected == parts_of(after)
    assert not after.joint
    with pytest.raises(ConfChangeError):
        leave_joint(after)


def test_member_zero_is_nobody() -> None:
    """The number that means "none" is no member's."""
    with pytest.raises(ConfChangeError):
        simple(ConfState((MemberID(1),)), AddVoter(MemberID(0)))


def test_a_change_of_another_kind_is_a_mistake() -> None:
    """There are three kinds of change."""
    wrong = cast("ConfChange", Wrong(MemberID(2)))
    with pytest.raises(AssertionError):
        simple(ConfState((MemberID(1),)), wrong)


def test_a_promoted_learner_votes() -> None:
    """Adding a learner as a voter is its promotion; a demoted voter waits for the joint's end."""
    one, two = MemberID(1), MemberID(2)
    assert simple(ConfState((one,), (two,)), AddVoter(two)) == ConfState((one, two))
    joint = enter_joint(ConfState((one, two)), [AddLearner(two)])
    assert joint == ConfState((one,), (), (one, two), (two,))
    assert leave_joint(joint) == ConfState((one,), (two,))
