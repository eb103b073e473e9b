"""The members table follows applied entries, and a restart reads the same from its rows."""

from __future__ import annotations

import pytest

from trioetcd.cluster import (
    MEMBER_ATTRIBUTES,
    Member,
    Membership,
    attributes_command,
    encode_member,
    member_row,
)
from trioetcd.errors import MEMBER_NOT_FOUND, Code, EtcdError
from trioetcd.testing.space import DictSpace
from trioetcd.values import MemberID

EPOCH = b"\x80"
ONE = Member(id=MemberID(1), name="", peer_urls=("https://a:2380",))
TWO = Member(id=MemberID(2), name="b", peer_urls=("https://b:2380",), is_learner=True)


def fresh() -> DictSpace:
    """Make a space with two members."""
    return DictSpace({member_row(EPOCH, m.id): encode_member(m) for m in (TWO, ONE)})


def test_members_are_listed_by_number() -> None:
    """MemberList's order is that of the numbers, and learners do not vote."""
    membership = Membership(fresh(), epoch=EPOCH)
    assert membership.members() == [ONE, TWO]
    assert membership.voters() == (1,)
    assert len(membership) == 2
    assert membership.get(MemberID(3)) is None


def test_attributes_change_what_a_member_tells_of_itself_only() -> None:
    """Name and client URLs change, peer URLs and learner do not, and a restart sees the same."""
    space = fresh()
    membership = Membership(space, epoch=EPOCH)
    membership.set_attributes(attributes_command(TWO.id, "new", ("https://b:2379",)))
    expected = Member(TWO.id, "new", TWO.peer_urls, ("https://b:2379",), is_learner=True)
    assert expected == membership.get(TWO.id)
    assert [ONE, expected] == Membership(space, epoch=EPOCH).members()


def test_attributes_of_a_stranger_are_refused() -> None:
    """A member that is gone cannot come back by telling its name."""
    membership = Membership(fresh(), epoch=EPOCH)
    with pytest.raises(EtcdError) as caught:
        membership.set_attributes(attributes_command(MemberID(9), "x", ()))
    assert caught.value.row is MEMBER_NOT_FOUND


def test_commands_have_outcomes() -> None:
    """Applied attributes answer with no revision; errors and unknown kinds are outcomes too."""
    membership = Membership(fresh(), epoch=EPOCH)
    assert membership.apply(MEMBER_ATTRIBUTES, attributes_command(ONE.id, "a", ())) == (0, b"")
    gone = membership.apply(MEMBER_ATTRIBUTES, attributes_command(MemberID(9), "a", ()))
    assert isinstance(gone, EtcdError)
    assert gone.row is MEMBER_NOT_FOUND
    unknown = membership.apply(63, b"")
    assert isinstance(unknown, EtcdError)
    assert unknown.code == Code.UNIMPLEMENTED
