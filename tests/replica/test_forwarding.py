"""Tests of `trioetcd.replica.forwarding`: commands that go to a leader go in company."""

from __future__ import annotations

from tests.replica.states import FOLLOWER, LEADER, follower
from trioetcd.raft import Heartbeat, Propose
from trioetcd.replica import Envelope, Outputs, Received, Tick
from trioetcd.replica.forwarding import GATHER_SECONDS, Forwarding
from trioetcd.replica.inputs import Ticket
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Index, Term


def sent_on(outputs: Outputs) -> list[int]:
    """Give how many commands each Propose of a step holds."""
    return [len(each.message.datas) for each in outputs.sends if isinstance(each.message, Propose)]


def put(member: Synchronous, key: bytes) -> list[int]:
    """Ask for a write; gives what is sent on."""
    payload = messages.PutRequest(key=key).SerializeToString()
    return sent_on(member.propose((key, CommandKind.PUT, payload)))


def test_a_lone_command_goes_at_once_and_the_next_ones_together() -> None:
    """What comes before the first is answered is gathered, but not for long."""
    member = follower()
    heartbeat = Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0)
    member.step(Received([Envelope(LEADER, FOLLOWER, 1, 1, heartbeat)]))
    member.settle()
    member.now += 10  # what it tells of itself has been sent, and is given up
    member.step(Tick(member.now))

    assert put(member, b"a") == [1]
    assert put(member, b"b") == []
    assert put(member, b"c") == []
    member.now += GATHER_SECONDS
    assert sent_on(member.step(Tick(member.now))) == []
    member.now += 0.001
    assert sent_on(member.step(Tick(member.now))) == [2]


def test_the_answer_lets_the_next_ones_go() -> None:
    """Nothing is gathered once all that was sent on is answered."""
    waiting: dict[int, Ticket] = {1: "a", 2: "b"}
    forwarding = Forwarding(waiting, patience=2.0)
    assert not forwarding.gathers(0.0)
    forwarding.sent(1, 100, 0.0)
    assert forwarding.gathers(0.0)
    del waiting[1]
    assert not forwarding.gathers(0.0)
