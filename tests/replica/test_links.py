"""Whether a lost link may be why something got no answer; what is told then."""

from __future__ import annotations

import pytest

from tests.replica.living import A, B, C, Living, done, member, others, refusal
from trioetcd import errors
from trioetcd.replica import Reachable, ReadRequested, TransferRequested, Unreachable
from trioetcd.replica.links import Links
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.values import MemberID

PUT = messages.PutRequest(key=b"k", value=b"v").SerializeToString()


def with_links() -> tuple[Living, MemberID, MemberID, MemberID]:
    """Give three members, who leads, and the two who follow."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    following, third = others(leader, A, B, C)
    return living, leader, following, third


def links_of(living: Living, number: MemberID) -> Links:
    return living.replicas[number]._proposing.links


def test_a_follower_looks_at_the_link_to_its_leader() -> None:
    """What came before it was made (again), or while it is broken, may have been lost with it."""
    living, leader, following, third = with_links()
    links = links_of(living, following)
    links.made(leader, 5.0)
    assert not links.lost_since(1.0), "it had not been broken"
    links.broke(third)
    assert not links.lost_since(1.0)
    links.broke(leader)
    assert links.lost_since(1.0)
    links.made(leader, 7.0)
    assert [True, False] == [links.lost_since(then) for then in (6.9, 7.0)]


def test_a_leader_looks_at_the_links_to_a_majority() -> None:
    """One of two other voters is enough."""
    living, leader, following, third = with_links()
    links = links_of(living, leader)
    links.broke(following)
    assert not links.lost_since(1.0)
    links.broke(third)
    assert links.lost_since(1.0)
    links.made(following, 7.0)
    assert [True, False] == [links.lost_since(then) for then in (6.9, 7.0)]


def test_without_a_leader_no_link_is_the_reason() -> None:
    """What a member waits for then is a leader (etcd)."""
    living, leader, following, _ = with_links()
    links_of(living, following).broke(leader)
    living.cut = {following}
    living.pass_time(3.0)
    assert not living.replicas[following].leader
    assert not links_of(living, following).lost_since(1.0)


def test_links_to_strangers_are_not_kept_in_mind() -> None:
    """Whoever may dial this member could fill its memory with them."""
    living, leader, following, _ = with_links()
    links = links_of(living, following)
    for stranger in range(100, 200):
        links.broke(MemberID(stranger))
        links.made(MemberID(stranger), 5.0)
    links.broke(leader)
    assert {leader} == links._whole_since.keys()


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_write_that_its_leader_cannot_be_told_of(*, is_made_again: bool) -> None:
    """Its member hears the leader still: it says what was lost, however short the break was.

    A write that comes when all is well again is done.
    """
    living, leader, following, _ = with_links()
    living.loses = lambda envelope: (envelope.sender, envelope.to) == (following, leader)
    ticket = living.ask(following, CommandKind.PUT, PUT)
    living.give(following, Unreachable(leader))
    living.pass_time(1.0)
    if is_made_again:
        living.loses = lambda _envelope: False
        living.give(following, Reachable(leader))
    living.pass_time(5.8)
    assert ticket not in living.outcomes
    living.pass_time(0.4)
    assert errors.TIMEOUT_DUE_TO_CONNECTION_LOST.name == refusal(living.outcomes[ticket])
    assert 1 == living.replicas[following].statistics().proposals_failed
    living.loses = lambda _envelope: False
    living.give(following, Reachable(leader))
    done(living.put(following))


def test_a_read_that_no_leader_can_be_told_of() -> None:
    """It is asked of the next leader, too; when time is up it is told that there was another."""
    living, leader, following, third = with_links()
    living.loses = lambda envelope: envelope.sender == following
    tickets = [object(), object()]
    living.give(following, ReadRequested(tickets[:1]))
    living.pass_time(0.5)
    living.give(leader, TransferRequested(third))
    living.pass_time(0.5)
    assert third == living.replicas[following].leader
    living.give(following, ReadRequested(tickets[1:]))
    living.pass_time(8.0)
    expected = [errors.LEADER_CHANGED.name, errors.TIMEOUT.name]
    assert expected == [refusal(living.outcomes[ticket]) for ticket in tickets]
    statistics = living.replicas[following].statistics()
    assert (2, 1) == (statistics.reads_failed, statistics.reads_unanswered)
    assert 2 == statistics.leaders
