"""Leases among three members where etcd once went wrong: nobody is told of a lease that is gone."""

from __future__ import annotations

from tests.replica.living import A, B, C, Living, done, member, others, refusal
from trioetcd.errors import EtcdError
from trioetcd.replica import Input, Persisted, Proposed, Tick
from trioetcd.replica.applying import STEP_ENTRIES_MAX
from trioetcd.schema import messages
from trioetcd.statemachine import HEAD, CommandKind
from trioetcd.storage import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import MemberID

PUT = messages.PutRequest(key=b"k").SerializeToString()
GRANT = messages.LeaseGrantRequest(ID=7, TTL=60).SerializeToString()
REVOKE = messages.LeaseRevokeRequest(ID=7).SerializeToString()


def three() -> tuple[Living, MemberID, list[MemberID]]:
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    return living, leader, others(leader, A, B, C)


def answered_behind_the_leader(living: Living, leader: MemberID, at: MemberID, kind: int) -> None:
    """Let a command be answered by a follower while the leader cannot apply it yet.

    The others are a majority without the leader's disk.
    """
    living.stuck.add(leader)
    payload = GRANT if kind == CommandKind.LEASE_GRANT else REVOKE
    ticket = living.ask(at, kind, payload)
    living.settle()
    done(living.outcomes[ticket])


def test_a_keep_alive_that_races_its_grant_finds_the_lease() -> None:
    """Whoever was told of a lease may keep it alive anywhere, also where it is not applied yet.

    etcd answered from the state as it stood (issue 13932).
    """
    living, leader, following = three()
    answered_behind_the_leader(living, leader, following[0], CommandKind.LEASE_GRANT)
    assert 7 not in living.replicas[leader].lessor
    tickets = [living.ask_lease(at, 7, renew=True) for at in (leader, *following)]
    living.settle()
    assert not living.leases
    living.unstick(leader)
    living.settle()
    assert [60, 60, 60] == [living.leases[ticket] for ticket in tickets]


def test_a_revoked_lease_is_not_kept_alive() -> None:
    """Once anybody has been told that a lease is revoked, nobody is told that it lives.

    etcd's leader answered while the revoke was committed and not applied (issue 20615).
    """
    living, leader, following = three()
    done(living.propose(leader, CommandKind.LEASE_GRANT, GRANT))
    answered_behind_the_leader(living, leader, following[0], CommandKind.LEASE_REVOKE)
    assert 7 in living.replicas[leader].lessor
    tickets = [
        living.ask_lease(at, 7, renew=renew)
        for at in (leader, *following)
        for renew in (True, False)
    ]
    living.settle()
    assert not living.leases
    living.unstick(leader)
    living.settle()
    assert [None] * 6 == [living.leases[ticket] for ticket in tickets]


def test_an_old_leader_ends_no_lease() -> None:
    """What a leader wants that was deposed without knowing it stays in its own log, and goes.

    etcd's old leader sent its revokes on to the new one, whose clock knew better (issue 17425).
    """
    living, leader, _ = three()
    done(living.propose(leader, CommandKind.LEASE_GRANT, GRANT))
    living.cut = {leader}
    living.now += 100.0  # it stood still, and knows of nobody else yet
    living.give(leader, Tick(living.now))
    living.settle()
    old = living.replicas[leader]
    kinds = [HEAD.unpack_from(data)[1] for data in old._log.tail() if data]
    assert [CommandKind.LEASE_REVOKE] == kinds
    living.pass_time(4.0)
    new = living.lead()
    ticket = living.ask_lease(new, 7, renew=True)
    living.settle()
    assert living.leases[ticket] == 60
    living.cut = set()
    living.pass_time(10.0)
    assert [[7]] * 3 == [list(replica.lessor) for replica in living.replicas.values()]


def test_leases_end_while_clients_are_refused() -> None:
    """A member that has more to apply than it should refuses clients, and ends leases all the same.

    etcd refused its own revokes too, and keys that should go away stayed (issue 20492).
    """
    living = Living([member(A)])
    leader = living.lead()
    replica = living.replicas[leader]
    done(living.propose(leader, CommandKind.LEASE_GRANT, GRANT))
    over = living.now + 61.0
    many = replica.config.gap_max + 3 * STEP_ENTRIES_MAX
    persist = replica.step([Proposed([(None, CommandKind.PUT, PUT)] * many)], living.now).persist
    assert persist is not None
    inputs: list[Input] = [
        Persisted(persist.number),
        Proposed([("late", CommandKind.PUT, PUT)]),
        Tick(over),
    ]
    outputs = replica.step(inputs, over)
    (resolved,) = outputs.resolved
    assert resolved[0] == "late"
    assert isinstance(resolved[1], EtcdError)
    assert refusal(resolved[1]) == "TooManyRequests"
    last = replica._log.tail()[-1]
    assert HEAD.unpack_from(last)[1] == CommandKind.LEASE_REVOKE


def test_a_restart_gives_back_the_time_that_was_left() -> None:
    """All of it, where it had not been long since; what the last checkpoint says, where it had."""
    living = Living([member(A)])
    leader = living.lead()
    for lease, ttl in ((7, 100), (8, 1000)):
        request = messages.LeaseGrantRequest(ID=lease, TTL=ttl).SerializeToString()
        done(living.propose(leader, CommandKind.LEASE_GRANT, request))
    living.pass_time(50.0)
    living.restart(leader)
    living.lead()
    found = []
    for lease in (7, 8):
        ticket = living.ask_lease(leader, lease, renew=False)
        living.settle()
        found.append(living.leases[ticket])
    assert found[0] in {99, 100, 101}
    assert found[1] in {999, 1000, 1001}
    living.pass_time(310.0)
    living.restart(leader)
    living.lead()
    ticket = living.ask_lease(leader, 8, renew=False)
    living.settle()
    seconds = living.leases[ticket]
    assert seconds is not None
    assert 695 <= seconds <= 702


def test_a_lease_granted_anew_does_not_die_of_the_old_ones_end() -> None:
    """While its revoke waits for a disk the same number is granted anew: no other one follows."""
    alone = Synchronous(MemoryBackend()).start()
    alone.done(CommandKind.LEASE_GRANT, messages.LeaseGrantRequest(ID=7, TTL=5))

    def tick(seconds: float) -> None:
        alone.now += seconds
        alone.step(Tick(alone.now))
        while alone.outputs.more:
            alone.step()

    tick(7)
    assert alone.waiting is not None, "the revoke waits for the disk"
    again = messages.LeaseGrantRequest(ID=7, TTL=600).SerializeToString()
    alone.propose(("again", CommandKind.LEASE_GRANT, again))
    for _ in range(20):
        tick(0.2)
    alone.settle()
    assert isinstance(alone.resolved["again"], tuple)
    assert 7 in alone.replica.lessor
