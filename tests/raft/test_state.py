"""The one way out for messages, and the one way back to being a follower."""

from __future__ import annotations

from tests.raft.member import ME, THREE, B, C, group, leader, make
from trioetcd.raft import HeartbeatReply, Role
from trioetcd.values import Term


def test_messages_are_released_in_order_when_what_they_need_is_durable() -> None:
    """Term and vote first, then the log up to an index; what is of an older term never leaves."""
    state = make(voters=THREE)
    state.follow(Term(1), B)
    old, low, high, free = (
        HeartbeatReply(B, ME, Term(term), number) for number, term in enumerate((1, 2, 2, 2))
    )
    state.send(old)
    state.follow(Term(2), C)
    state.log.append_groups(state.log.last, [group(1, 2, b"a", b"b")])
    state.send(low, 1)
    state.send(high, 2)
    state.send(free)
    assert state.outbox == []
    state.durable = (Term(2), state.vote)
    state.log.stable = state.log.last
    state.release()
    assert [low, high, free] == state.outbox
    assert state.held == []


def test_a_follower_keeps_nothing_of_another_role() -> None:
    """Section 5.1: the vote stays within a term and is free in the next one."""
    state = leader()
    state.follow(Term(1), B)
    assert (state.role, state.leader, state.vote) == (Role.FOLLOWER, B, ME)
    assert (state.progress, state.match, state.term_start) == ({}, {}, 0)
    state.follow(Term(2), C)
    assert (state.term, state.vote) == (2, 0)
