"""Leases end in rounds, clients' commands between them, and never early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.replica.living import A, B, C, Living, done, member
from trioetcd.lease import Lessor
from trioetcd.raft import AppendEntriesReply
from trioetcd.replica import Replica
from trioetcd.replica.lease_keeper import REVOKES_PER_ROUND, SETTLED_PER_STEP
from trioetcd.schema import messages
from trioetcd.statemachine import HEAD, HEAD_SIZE, CommandKind
from trioetcd.testing.space import DictSpace
from trioetcd.values import MemberID

LONG = 300.0
"""How often what leases have left is written down."""


def grant(living: Living, at: MemberID, lease: int, ttl: int) -> None:
    request = messages.LeaseGrantRequest(ID=lease, TTL=ttl)
    done(living.propose(at, CommandKind.LEASE_GRANT, request.SerializeToString()))


def tail(replica: Replica, kind: int) -> Iterator[bytes]:
    """Give the payloads of the commands of a kind that are in the log and not applied."""
    for data in replica._log.tail():
        if data and HEAD.unpack_from(data)[1] == kind:
            yield data[HEAD_SIZE:]


def test_a_mass_of_leases_ends_in_rounds() -> None:
    """At most two rounds are under way, each lease is named once, and clients go between."""
    living = Living([member(A)])
    leader = living.lead()
    replica = living.replicas[leader]
    number = 5 * REVOKES_PER_ROUND
    for lease in range(1, number + 1):
        replica.lessor.grant(lease, 5, living.now)
    end = living.now + 5.0
    living.pass_time(4.9)
    assert len(replica.lessor) == number
    rounds: list[int] = []
    under_way: list[int] = []
    watched = replica._lease_keeper._append

    def append(kind: int, payloads: Sequence[bytes]) -> bool:
        assert living.now >= end
        rounds.append(len(payloads))
        taken = watched(kind, payloads)
        under_way.append(len(list(tail(replica, CommandKind.LEASE_REVOKE))))
        return taken

    replica._lease_keeper._append = append
    put = living.ask(leader, CommandKind.PUT, messages.PutRequest(key=b"k").SerializeToString())
    living.pass_time(1.0)
    assert [REVOKES_PER_ROUND] * 5 == rounds
    assert max(under_way) <= 2 * REVOKES_PER_ROUND
    assert len(replica.lessor) == 0
    assert put in living.outcomes
    assert (number, number) == (replica.lessor.revoked_total, replica.lessor.expired_total)


def test_a_new_leader_sets_times_in_steps() -> None:
    """Whoever comes to lead has many leases' times to set, so many a step, and then ends them."""
    living = Living([member(A)])
    leader = living.lead()
    for lease in range(1, 2 * SETTLED_PER_STEP + 10):
        living.replicas[leader].lessor.grant(lease, 2, living.now)
    living.put(leader)  # what the lessor has written goes to the disk with it
    living.restart(leader)
    living.settle()
    replica = living.replicas[leader]
    known = len(replica.lessor)
    living.lead()
    living.pass_time(10.0)
    assert known in {0, 2 * SETTLED_PER_STEP + 9}
    assert len(replica.lessor) == 0


@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0, 30)), min_size=1, max_size=10))
def test_no_lease_ends_early(grants: list[tuple[int, float]]) -> None:
    """Whenever the lessor names a lease, its whole time has passed since its grant or renewal."""
    lessor = Lessor(DictSpace(), epoch=b"\x80")
    lessor.promote(0.0)
    until: dict[int, float] = {}
    for number, (ttl, at) in enumerate(sorted(grants, key=lambda grant: grant[1]), start=1):
        until[number] = at + lessor.grant(number, ttl, at)
        if number > 1 and number - 1 in lessor and until[number - 1] > at:
            until[number - 1] = at + lessor.renew(number - 1, at)
        for lease in lessor.expired(at, 100):
            assert until[lease] <= at
            lessor.forget(lease, at)


def test_no_lease_ends_while_the_state_is_corrupt() -> None:
    """A revoke would be refused by every member: none is proposed until the alarm is off."""
    living = Living([member(A)])
    leader = living.lead()
    replica = living.replicas[leader]
    grant(living, leader, 7, 12)
    replica.alarms.activate(messages.CORRUPT, leader)
    applied = replica.applied_index
    living.pass_time(20.0)
    assert (applied, [7]) == (replica.applied_index, list(replica.lessor))
    replica.alarms.deactivate(messages.CORRUPT, leader)
    living.pass_time(1.0)
    assert [] == list(replica.lessor)


# -- checkpoints -----------------------------------------------------------------------------


def left(living: Living, at: MemberID, lease: int, *, renew: bool = False) -> int | None:
    """Ask a member how long a lease lives."""
    ticket = living.ask_lease(at, lease, renew=renew)
    living.settle()
    return living.leases[ticket]


def follower(living: Living, leader: MemberID) -> MemberID:
    return next(number for number in living.replicas if number != leader)


def fail_over(living: Living, leader: MemberID) -> MemberID:
    """Cut the leader off until another one leads; gives that one."""
    living.cut = {leader}
    living.pass_time(4.0)
    new = living.lead()
    living.cut = set()
    living.pass_time(1.0)
    assert new != leader
    return new


def test_the_next_leader_gives_what_was_left() -> None:
    """A long lease loses no more than the interval to a change of leaders; a short one is whole."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    grant(living, leader, 1, 1000)
    grant(living, leader, 2, 300)
    living.pass_time(250.0)
    assert left(living, leader, 2, renew=True) == 300
    living.pass_time(60.0)
    new = fail_over(living, leader)
    seconds = left(living, new, 1)
    assert seconds is not None
    assert 1000 - LONG - 15 <= seconds <= 1000 - LONG + 1
    assert left(living, new, 2) in range(295, 302)


def test_the_next_leader_gives_a_renewed_lease_its_full_time() -> None:
    """A renewal is answered when the checkpoint before it has been taken back (etcd 13508)."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    grant(living, leader, 1, 1000)
    living.pass_time(LONG + 5)
    assert living.replicas[leader].lessor.is_checkpointed(1)
    assert left(living, follower(living, leader), 1, renew=True) == 1000
    assert not living.replicas[leader].lessor.is_checkpointed(1)
    new = fail_over(living, leader)
    assert left(living, new, 1) in range(990, 1002)


def test_a_renewal_waits_for_a_majority_to_take_its_checkpoint_back() -> None:
    """As long as nobody else knows of it, a renewal has no answer."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    grant(living, leader, 1, 1000)
    living.pass_time(LONG + 5)
    replica = living.replicas[leader]
    ticket = living.ask_lease(leader, 1, renew=True)
    while not list(tail(replica, CommandKind.LEASE_CHECKPOINT)):
        assert living._round()
    living.cut = {leader}
    living.settle()
    assert ticket not in living.leases
    living.pass_time(4.0)
    assert ticket not in living.leases
    living.cut = set()
    living.pass_time(3.0)
    assert living.leases[ticket] == 1000
    new = living.lead()
    assert left(living, new, 1) in range(990, 1002)
    assert not any(each.lessor.is_checkpointed(1) for each in living.replicas.values())


def test_a_checkpoint_on_its_way_is_taken_back_too() -> None:
    """A renewal that comes between a checkpoint's proposal and its end is not forgotten."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    grant(living, leader, 1, 1000)
    replica = living.replicas[leader]
    due = replica.lessor.next_checkpoint
    assert due is not None
    living.pass_time(due - living.now - 0.3)
    living.loses = lambda envelope: isinstance(envelope.message, AppendEntriesReply)
    living.pass_time(0.6)
    assert len(list(tail(replica, CommandKind.LEASE_CHECKPOINT))) == 1
    ticket = living.ask_lease(leader, 1, renew=True)
    living.settle()
    assert ticket not in living.leases
    assert len(list(tail(replica, CommandKind.LEASE_CHECKPOINT))) == 2
    living.loses = lambda _envelope: False
    living.pass_time(2.0)
    assert living.leases[ticket] == 1000
    assert not replica.lessor.is_checkpointed(1)


def test_a_lease_that_is_being_revoked_is_not_written_down() -> None:
    """Who is granted its number next must not be given what it had left."""
    living = Living([member(A)])
    leader = living.lead()
    replica = living.replicas[leader]
    for lease in (1, 2):
        replica.lessor.grant(lease, 1000, living.now)
    revoke = messages.LeaseRevokeRequest(ID=1).SerializeToString()
    again = messages.LeaseGrantRequest(ID=1, TTL=1000).SerializeToString()
    while not replica.lessor.is_checkpointed(2):
        # Both stand in the log, and are not applied, at every tick.
        living.ask(leader, CommandKind.LEASE_REVOKE, revoke)
        living.ask(leader, CommandKind.LEASE_GRANT, again)
        living.pass_time(5.0)
        assert living.now < 2 * LONG
    assert not replica.lessor.is_checkpointed(1)
