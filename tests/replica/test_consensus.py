"""Tests of `trioetcd.replica.consensus`: what Raft knows of entries, and what a leader refuses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd import errors
from trioetcd.cluster import (
    CONF_CHANGES,
    REFUSED,
    Addition,
    Change,
    Member,
    Promotion,
    Removal,
    Update,
    encode_change,
    encode_refused,
)
from trioetcd.replica import ReplicaConfig
from trioetcd.replica import consensus as replica_consensus
from trioetcd.schema import messages
from trioetcd.statemachine import COMMAND_FORMAT, HEAD, HEAD_SIZE, CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import MemberID

CONFIG = ReplicaConfig(name="default")
REQUEST = (MemberID(7), 8, 9)
"""Who proposes, in which boot, and the number of the proposal."""


def command(kind: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(COMMAND_FORMAT, kind, *REQUEST) + payload


def change(what: Change) -> bytes:
    return command(*encode_change(what))


PUT = command(CommandKind.PUT, messages.PutRequest(key=b"k").SerializeToString())


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda rest: b"\x01\x22" + rest))
def test_any_bytes_may_be_asked_about(data: bytes) -> None:
    """What is no command is no change of members, and nothing is raised by any bytes."""
    changes = replica_consensus.is_conf_change(data)
    assert not changes or len(data) >= HEAD_SIZE
    assert changes or not replica_consensus.is_removal(data, MemberID(1))
    assert replica_consensus.is_command(data) == (len(data) >= HEAD_SIZE and data[0] == 1)


def test_changes_of_members_are_known_by_their_kind() -> None:
    """Those that change who votes or learns, and no others; a removal by whom it removes."""
    member = Member(MemberID(5), "", ("https://a:1",))
    changes: list[Change] = [Addition(member, 1), Removal(member.id), Promotion(member.id)]
    others = [PUT, change(Update(member.id, ("https://b:1",)))]
    assert all(replica_consensus.is_conf_change(change(each)) for each in changes)
    assert not any(map(replica_consensus.is_conf_change, others))
    removals = [
        (number, replica_consensus.is_removal(change(each), MemberID(number)))
        for each in changes
        for number in (5, 6)
    ]
    assert [(5, True)] == [each for each in removals if each[1]]


def test_a_refusal_is_answered_to_who_proposed() -> None:
    """It carries the same request, so the proposer's client gets the row, and nobody else."""
    refused = replica_consensus.refuse(change(Removal(MemberID(5))), errors.UNHEALTHY)
    assert (COMMAND_FORMAT, REFUSED, *REQUEST) == HEAD.unpack_from(refused)
    assert encode_refused(errors.UNHEALTHY) == refused[HEAD_SIZE:]
    assert not replica_consensus.is_conf_change(refused)
    assert PUT == replica_consensus.refuse_removal(PUT, MemberID(5), errors.UNHEALTHY)


def test_a_leader_refuses_in_place() -> None:
    """Order and number of commands stay, and only what must not be appended is replaced."""
    running = Synchronous(MemoryBackend()).start()
    replica = running.replica
    me = replica.member_id
    datas = [
        PUT,
        change(Promotion(MemberID(5))),
        change(Addition(Member(MemberID(6), "", ("https://b:1",), is_learner=True), 1)),
        change(Promotion(me)),
        command(min(CONF_CHANGES), b"no addition"),
        PUT,
    ]
    screened = replica_consensus.screen(datas, replica._raft, replica.membership, CONFIG)
    refused = {1: errors.MEMBER_NOT_FOUND, 3: errors.MEMBER_NOT_LEARNER}
    expected = [
        replica_consensus.refuse(data, refused[at]) if at in refused else data
        for at, data in enumerate(datas)
    ]
    assert expected == screened


def test_a_leader_knows_when_it_has_committed_in_its_term() -> None:
    """Not when it is elected, but when the first entry of its term is durable on a majority."""
    running = Synchronous(MemoryBackend())
    raft = running.replica._raft
    seen = [replica_consensus.has_committed_in_term(raft)]
    running.step()
    while running.waiting is not None:
        running.persist()
        seen.append(replica_consensus.has_committed_in_term(raft))
    assert [False, True] == [seen[0], seen[-1]]
