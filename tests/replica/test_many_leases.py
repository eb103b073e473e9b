"""A hundred thousand leases that end together: all do, none early, and nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioetcd.ports import Backend
from trioetcd.replica import Persisted, Proposed, Tick
from trioetcd.replica.applying import STEP_ENTRIES_MAX
from trioetcd.replica.lease_keeper import REVOKES_PER_ROUND, SETTLED_PER_STEP
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.testing.synchronous import Synchronous

LEASES = 100_000
FEWER = 10_000
TTL = 60
CROWD = 2_000
STEP_SECONDS = 0.001
CLIENT_STEPS = 8
"""A client asks for something so often, and has been answered by the next time."""


def open_disk(directory: Path) -> Backend:
    """Make a disk: the one in memory is made for few rows."""
    return open_leveldb(directory, create=True)


def grant_all(member: Synchronous, number: int) -> None:
    """Grant so many leases and put a key on each, within a second of the member's clock."""
    applier = member.replica.applier
    for first in range(1, number + 1, CROWD):
        member.now += CROWD / number
        applier.now = member.now
        for lease in range(first, first + CROWD):
            grant = messages.LeaseGrantRequest(ID=lease, TTL=TTL)
            applier.apply(CommandKind.LEASE_GRANT, grant.SerializeToString())
            put = messages.PutRequest(key=b"k%06d" % lease, lease=lease)
            applier.apply(CommandKind.PUT, put.SerializeToString())
        applier.published.clear()
        member.pass_time(0.0)  # what was applied rides in a batch, as that of entries does


def step(member: Synchronous, ticket: object | None) -> tuple[int, int]:
    """Let a millisecond pass; give how many entries were appended and how many applied."""
    replica = member.replica
    last, applied = replica._log.last, replica.applied_index
    member.now += STEP_SECONDS
    put = messages.PutRequest(key=b"client").SerializeToString()
    inputs = [] if member.waiting is None else [Persisted(member.write())]
    proposed = [] if ticket is None else [Proposed([(ticket, CommandKind.PUT, put)])]
    member.step(*inputs, *proposed, Tick(member.now))
    return replica._log.last - last, replica.applied_index - applied


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_leases_end_together(tmp_path: Path) -> None:
    """Each step appends a round and applies a slice; a client's put is done within a few steps."""
    member = Synchronous(open_disk(tmp_path)).start()
    begin = member.now
    grant_all(member, LEASES)
    granted = member.now
    replica = member.replica
    assert len(replica.lessor) == replica.store.counts.total == LEASES
    member.pass_time(begin + TTL - member.now)
    assert len(replica.lessor) == LEASES
    steps = tickets = 0
    while len(replica.lessor):
        asks = steps % CLIENT_STEPS == 0
        if asks and tickets:
            assert isinstance(member.resolved[tickets], tuple), "not done, or refused"
        tickets += asks
        appended, applied = step(member, tickets if asks else None)
        assert appended <= REVOKES_PER_ROUND + asks
        assert applied <= STEP_ENTRIES_MAX + REVOKES_PER_ROUND
        assert len(replica._log.tail()) <= 2 * REVOKES_PER_ROUND + CLIENT_STEPS
        steps += 1
        assert member.now < granted + TTL + 10.0, "too late"
    assert replica.lessor.expired_total == LEASES
    assert replica.store.counts.total == 1  # the client's
    # A round needs a step to be found, one to reach the disk, one to be applied.
    assert steps <= 4 * LEASES // REVOKES_PER_ROUND + (granted - begin + 1) / STEP_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_leader_sets_many_leases_times_and_ends_none_early(tmp_path: Path) -> None:
    """Whenever one is ended its whole time has passed; who takes over needs bounded steps, too."""
    backend = open_disk(tmp_path)
    member = Synchronous(backend).start()
    grant_all(member, FEWER)
    member.pass_time(1.0)
    again = Synchronous(backend, boot=2, now=member.now)
    again.step()
    settling = 0
    while again.waiting is not None or again.outputs.more:
        if again.waiting is not None:
            again.persist()
        else:
            before = len(again.replica.lessor._expiring)
            again.step()
            set_now = len(again.replica.lessor._expiring) - before
            assert set_now <= SETTLED_PER_STEP
            settling += set_now > 0
    assert settling >= FEWER // SETTLED_PER_STEP
    promoted = again.now
    again.pass_time(TTL + 1.0 - 0.01)  # a new leader gives an election timeout more
    assert len(again.replica.lessor) == FEWER
    assert again.now < promoted + TTL + 1.0
    again.pass_time(1.0)
    assert len(again.replica.lessor) == 0
