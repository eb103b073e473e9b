"""Who waits for another leader is told when it leads, or when it will not."""

from __future__ import annotations

import pytest

from tests.runtime.member import Caller
from trioetcd.cluster import Member, Membership, encode_member, member_row
from trioetcd.errors import Code, EtcdError
from trioetcd.runtime.transfers import Transfers
from trioetcd.testing.space import DictSpace
from trioetcd.values import MemberID

EPOCH = b"\x80"
ME, OTHER, LEARNER = MemberID(1), MemberID(2), MemberID(3)


class Asked:
    """Transfers of member 1, and which of them Raft was asked for."""

    def __init__(self) -> None:
        rows = {}
        for number in (ME, OTHER, LEARNER):
            member = Member(number, "m", (f"https://{number}:1",), is_learner=number == LEARNER)
            rows[member_row(EPOCH, number)] = encode_member(member)
        self.asked: list[MemberID] = []
        self.transfers = Transfers(
            me=ME,
            membership=Membership(DictSpace(rows), epoch=EPOCH),
            seconds=7.0,
            request=self.asked.append,
        )


def test_who_waits_is_answered_when_the_other_one_leads() -> None:
    """The answer is empty, as etcd's, and comes once, however the leadership goes on."""
    member = Asked()
    caller = Caller()
    transfers = member.transfers
    assert transfers.begin(caller, 1, OTHER, leader=ME, now=0.0)
    for leader in (ME, MemberID(0)):
        transfers.turned(leader=leader, now=1.0)
    assert ([OTHER], {}) == (member.asked, caller.answers)
    for leader in (OTHER, ME):
        transfers.turned(leader=leader, now=2.0)
    assert {1: b""} == caller.answers


def test_a_transfer_may_fail_without_a_word() -> None:
    """Then time ends the waiting, for each caller when its own time is up."""
    transfers = Asked().transfers
    caller = Caller()
    transfers.begin(caller, 1, OTHER, leader=ME, now=0.0)
    transfers.begin(caller, 2, OTHER, leader=ME, now=1.0)
    transfers.turned(leader=ME, now=7.5)
    assert [1] == list(caller.answers)
    error = caller.answers[1]
    assert isinstance(error, EtcdError)
    expected = "etcdserver: request timed out, leader transfer took too long"
    assert (Code.UNKNOWN, expected) == (error.code, error.text)


def test_who_leads_already_need_not_be_waited_for() -> None:
    """Moving the leader to itself succeeds at once, and Raft hears nothing of it."""
    member = Asked()
    assert not member.transfers.begin(Caller(), 1, ME, leader=ME, now=0.0)
    assert [] == member.asked


@pytest.mark.parametrize(
    ("leader", "to", "text"),
    [
        (OTHER, OTHER, "etcdserver: not leader"),
        (MemberID(0), ME, "etcdserver: not leader"),
        (ME, LEARNER, "etcdserver: bad leader transferee"),
        (ME, MemberID(9), "etcdserver: bad leader transferee"),
    ],
)
def test_what_cannot_be_is_refused(leader: MemberID, to: MemberID, text: str) -> None:
    """Only a leader can give its place away, and only to a voter; etcd's words."""
    member = Asked()
    with pytest.raises(EtcdError, match=text) as caught:
        member.transfers.begin(Caller(), 1, to, leader=leader, now=0.0)
    assert (Code.FAILED_PRECONDITION, []) == (caught.value.code, member.asked)


def test_nobody_waits_for_a_member_that_ends() -> None:
    """They are told that the server stops, and only once."""
    transfers = Asked().transfers
    caller = Caller()
    transfers.begin(caller, 1, OTHER, leader=ME, now=0.0)
    transfers.stop()
    transfers.turned(leader=OTHER, now=1.0)
    error = caller.answers[1]
    assert isinstance(error, EtcdError)
    assert error.text == "etcdserver: server stopped"
