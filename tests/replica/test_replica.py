"""The order of things: what is durable, committed, applied, answered, and when."""

from __future__ import annotations

import pytest

from trioetcd.cluster import MEMBER_ATTRIBUTES
from trioetcd.errors import NO_LEADER, STOPPED, TIMEOUT, TOO_MANY_REQUESTS, ErrorRow, EtcdError
from trioetcd.ports import FIRST_ROW, LAST_ROW, Row
from trioetcd.replica import (
    BarrierRequested,
    Persisted,
    Proposal,
    ReadRequested,
    ReplicaConfig,
    Stopped,
    Tick,
)
from trioetcd.replica.rows import META_ROW, chain_key, decode_meta, group_key
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, Outcome
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous


def member(backend: MemoryBackend | None = None, **settings: float) -> Synchronous:
    """Start a member with a few settings that differ from the usual."""
    config = ReplicaConfig(name="default", **settings)  # type: ignore[arg-type] # by name, in tests
    return Synchronous(backend or MemoryBackend(), config=config).start()


def put(ticket: object, key: bytes = b"k", value: bytes = b"v") -> Proposal:
    """Propose a put."""
    payload = messages.PutRequest(key=key, value=value).SerializeToString()
    return ticket, CommandKind.PUT, payload


def row(outcome: Outcome) -> ErrorRow:
    """Give the row of an outcome that must be an error."""
    assert isinstance(outcome, EtcdError)
    return outcome.row


def test_a_new_member_begins_as_etcd_does() -> None:
    """Term 2 with the first election; the members count as applied, the empty entry follows."""
    running = Synchronous(MemoryBackend())
    assert (running.replica.leader, running.replica.ready, running.replica.term) == (0, False, 2)
    running.start()
    replica = running.replica
    assert replica.leader == replica.member_id
    assert (replica.commit_index, replica.applied_index) == (2, 2)
    assert replica.store.revision == 1


def test_the_command_kind_of_attributes_is_the_state_machines() -> None:
    """Cluster cannot import statemachine, so the number stands twice."""
    assert int(CommandKind.MEMBER_ATTRIBUTES) == MEMBER_ATTRIBUTES


def test_a_member_tells_its_name_and_urls_once() -> None:
    """What the configuration says goes through the log when it differs, and not again."""
    backend = MemoryBackend()
    config = ReplicaConfig(name="other", client_urls=("https://localhost:2379",))
    running = Synchronous(backend, config=config).start()
    running.settle()
    me = running.replica.membership.get(running.replica.member_id)
    assert me is not None
    assert (me.name, me.client_urls) == (config.name, config.client_urls)
    applied = running.replica.applied_index
    again = Synchronous(backend, config=config, boot=2).start()
    assert again.replica.applied_index == applied + 1
    assert again.replica.membership.members() == [me]


def test_nothing_is_answered_or_seen_before_it_is_durable() -> None:
    """No outcome, no event and no read of a put before Persisted (RELIABILITY 1.1)."""
    running = member()
    outputs = running.propose(put("a"))
    assert outputs.persist is not None
    assert (outputs.resolved, outputs.published) == ([], [])
    for _ in range(3):
        outputs = running.step(Tick(running.now))
        assert (outputs.resolved, outputs.published, outputs.persist) == ([], [], None)
    assert running.replica.store.current(b"k") is None
    outputs = running.persist()
    assert outputs.resolved == [("a", (2, b""))]
    assert [revision for revision, _ in outputs.published] == [2]
    assert running.replica.store.current(b"k") is not None


def test_what_comes_while_a_batch_is_in_flight_shares_the_next() -> None:
    """Group commit: one batch at a time, everything gathered meanwhile in the next one."""
    running = member()
    running.propose(put("a"))
    running.propose(put("b"))
    outputs = running.propose(put("c"))
    assert outputs.persist is None
    outputs = running.persist()
    assert [ticket for ticket, _ in outputs.resolved] == ["a"]
    assert outputs.persist is not None
    groups = [key for key in outputs.persist.rows if key[:1] == b"e"]
    assert groups == [group_key(4)]
    outputs = running.persist()
    assert [ticket for ticket, _ in outputs.resolved] == ["b", "c"]


def test_effects_ride_in_the_next_batch_with_the_applied_index() -> None:
    """A batch holds an entry's effects if and only if its applied index counts it."""
    running = member()
    running.propose(put("a"))
    running.persist()
    outputs = running.propose(put("b", b"other"))
    assert outputs.persist is not None
    rows = outputs.persist.rows
    meta = rows[META_ROW]
    assert meta is not None
    marks = decode_meta(meta)
    assert (marks.applied, marks.commit, marks.last, marks.revision) == (3, 3, 4, 2)
    assert b"\x80ck" in rows
    assert b"\x80cother" not in rows


def test_effects_alone_are_flushed_after_a_while_or_a_megabyte() -> None:
    """With nothing to ride in, effects wait ten milliseconds, or less if they are many."""
    running = member()
    running.propose(put("a"))
    running.persist()
    assert running.replica.wants_flush
    running.now += 0.009
    assert running.step(Tick(running.now)).persist is None
    running.now += 0.002
    assert running.step(Tick(running.now)).persist is not None
    running.settle()
    assert not running.replica.wants_flush
    running.now += 10
    assert running.step(Tick(running.now)).persist is None, "nothing new, nothing written"
    running.propose(put("b", value=b"x" * 600_000))
    assert running.persist().persist is not None


def test_failed_and_empty_commands_advance_applied_in_a_batch() -> None:
    """An entry without effects is not repeated for ever."""
    running = member()
    outcome = running.do(CommandKind.LEASE_REVOKE, messages.LeaseRevokeRequest(ID=9))
    assert isinstance(outcome, EtcdError)
    assert running.replica.wants_flush
    running.now += 1
    running.step(Tick(running.now))
    running.settle()
    again = Synchronous(running.backend, boot=2)
    assert again.recovered.applied == 3
    assert again.recovered.entries == ()


def test_a_replayed_entry_answers_nobody() -> None:
    """Request ids carry the boot: the same count of another boot is another request."""
    running = member()
    running.propose(put("a"), put("b"))
    running.write()
    again = Synchronous(running.backend, boot=2)
    again.step()
    again.persist()
    again.propose(put("c", b"other"))
    again.settle()
    assert list(again.resolved) == ["c"]
    assert again.resolved["c"] == (4, b"")
    assert again.published == [2, 3, 4]


def test_the_same_boot_answers_a_count_once() -> None:
    """Every ticket is resolved exactly once, in the order of the log."""
    running = member()
    tickets = [f"t{number}" for number in range(300)]
    running.propose(*[put(ticket) for ticket in tickets])
    running.settle()
    assert tickets == list(running.resolved)


def test_entries_of_a_batch_are_bounded() -> None:
    """A batch takes four megabytes of entries at most; the rest goes next."""
    running = member(batch_bytes_max=1000)
    running.propose(*[put(number, value=b"x" * 300) for number in range(7)])
    sizes = []
    left = []
    while running.waiting is not None:
        left.append(running.replica.statistics().waiting_bytes // 300)
        groups = [value for key, value in running.waiting.rows.items() if key[:1] == b"e"]
        sizes.append(sum(len(group) for group in groups if group is not None))
        running.persist()
    assert len(running.resolved) == 7
    assert max(sizes) <= 1100
    assert len(sizes) >= 3
    assert left == [4, 1, 0, *[0] * (len(left) - 3)], "what waits is what no batch has taken"


def test_overload_is_refused_not_queued() -> None:
    """Beyond the bounds proposals are told TooManyRequests at once, in a step of their own."""
    running = member(proposals_max=10)
    outputs = running.propose(*[put(number) for number in range(15)])
    refused = [(ticket, row(outcome)) for ticket, outcome in outputs.resolved]
    assert refused == [(number, TOO_MANY_REQUESTS) for number in range(10, 15)]
    running.settle()
    assert all(running.resolved[number] == (number + 2, b"") for number in range(10))
    running = member(proposal_bytes_max=100)
    running.propose(put("a"))
    running.propose(put("b", value=b"x" * 100))
    running.propose(put("c"))
    assert row(running.resolved["c"]) is TOO_MANY_REQUESTS
    running.settle()
    running.propose(put("d"))
    running.settle()
    assert running.resolved["d"] == (4, b"")


def test_a_gap_between_commit_and_applied_refuses() -> None:
    """More than 5000 committed and not applied: no more proposals (etcd)."""
    running = member(gap_max=5)
    running.propose(*[put(number) for number in range(100)])
    replica = running.replica
    outputs = replica.step([Persisted(running.write())], running.now, lambda: True)
    assert outputs.more
    assert replica.commit_index - replica.applied_index > 5
    refused = running.propose(put("late"))
    assert ("late", TOO_MANY_REQUESTS) in [
        (ticket, row(outcome)) for ticket, outcome in refused.resolved if ticket == "late"
    ]


def test_without_a_leader_proposals_are_told_so() -> None:
    """Before the election a proposal is refused with NoLeader."""
    running = Synchronous(MemoryBackend())
    running.propose(put("a"))
    assert row(running.resolved["a"]) is NO_LEADER


def test_a_request_waits_seven_seconds() -> None:
    """Five seconds and two elections after its proposal a ticket is told; the put may happen."""
    running = member()
    running.propose(put("a"))
    running.now += 6.9
    running.step(Tick(running.now))
    assert running.resolved == {}
    running.now += 0.11
    running.step(Tick(running.now))
    assert row(running.resolved["a"]) is TIMEOUT
    running.settle()
    assert running.replica.store.revision == 2


def test_a_batch_in_flight_for_an_election_is_a_stall() -> None:
    """A disk that takes longer than an election timeout is reported, until it has answered."""
    running = member()
    running.propose(put("a"))
    running.now += 0.9
    running.step(Tick(running.now))
    assert not running.replica.stalled
    running.now += 0.2
    running.step(Tick(running.now))
    assert running.replica.stalled
    running.persist()
    assert not running.replica.stalled


def test_reads_are_current_once_the_term_has_committed() -> None:
    """No linearizable read before the first commit of the own term (Raft section 8)."""
    running = Synchronous(MemoryBackend())
    running.step(ReadRequested(["r"]))
    assert not running.replica.is_current
    running.persist()
    assert running.readable == []
    running.persist()
    assert running.replica.is_current
    assert running.readable == ["r"]
    running.step(ReadRequested(["s"]))
    assert running.readable == ["r", "s"], "a sole voter does not wait for the disk"


def test_a_read_waits_while_a_long_entry_is_applied() -> None:
    """What is committed and not applied yet is waited for; a read before it is not delayed."""
    running = member()
    for number in range(1200):
        running.propose(put(None, b"k%04d" % number))
    running.settle()
    delete = messages.DeleteRangeRequest(key=b"k", range_end=b"l").SerializeToString()
    running.propose(("d", CommandKind.DELETE_RANGE, delete))
    number = running.write()
    outputs = running.replica.step(
        [Persisted(number), ReadRequested(["r"])], running.now, lambda: True
    )
    assert outputs.more
    assert not running.replica.is_current
    assert (outputs.resolved, outputs.readable) == ([], [])
    applied = running.replica.applied_index
    assert applied < running.replica.commit_index
    steps = 0
    while not running.replica.is_current:
        assert running.replica.store.revision == 1201
        outputs = running.replica.step([], running.now, lambda: True)
        steps += 1
    assert steps > 1
    assert outputs.readable == ["r"]
    assert [ticket for ticket, _ in outputs.resolved] == ["d"]
    assert running.replica.applied_index == applied + 1
    assert running.replica.store.revision == 1202


def test_a_crash_within_a_long_entry_repeats_all_of_it() -> None:
    """While an entry is half applied no batch holds any of it, and a restart does it whole."""
    running = member()
    running.propose(*[put(None, b"k%04d" % number) for number in range(1200)])
    running.settle()
    delete = messages.DeleteRangeRequest(key=b"k", range_end=b"l").SerializeToString()
    running.propose(("d", CommandKind.DELETE_RANGE, delete), put(None, b"z"))
    number = running.write()
    running.replica.step([Persisted(number)], running.now, lambda: True)
    running.now += 1
    outputs = running.replica.step([Tick(running.now)], running.now, lambda: True)
    if outputs.persist is not None:
        running.backend.prepare(outputs.persist.rows).write()
    again = Synchronous(running.backend, boot=2).start()
    assert again.replica.store.current(b"k0000") is None
    assert again.replica.store.current(b"z") is not None
    assert again.replica.store.revision == 1203


def test_the_flush_barrier() -> None:
    """Reached when all that was applied is on the disk, at once if it is already."""
    running = member()
    running.settle()
    running.pass_time(1.0)
    running.step(BarrierRequested("now"))
    assert running.reached == ["now"]
    running.propose(put("a"))
    running.persist()
    outputs = running.step(BarrierRequested("then"))
    assert outputs.persist is not None, "a barrier does not wait ten milliseconds"
    assert running.reached == ["now"]
    running.step(BarrierRequested("too"))
    running.persist()
    assert running.reached == ["now", "then", "too"]


def test_stopping_tells_everybody_and_flushes() -> None:
    """What waits is told, nothing more is taken, effects go to the disk."""
    running = member()
    running.propose(put("a"))
    running.persist()
    running.propose(put("b"))
    running.step(Stopped())
    running.propose(put("c"))
    running.step(ReadRequested(["r"]))
    running.settle()
    assert [row(running.resolved[ticket]) for ticket in ("b", "c", "r")] == [STOPPED] * 3
    assert not running.replica.is_current
    again = Synchronous(running.backend, boot=2)
    assert again.recovered.applied == running.replica.applied_index
    assert again.recovered.revision == 3


def test_leases_end_through_the_log_and_not_early() -> None:
    """A lease's keys go in one revision, in an entry, when its whole time has passed."""
    running = member()
    _, _ = running.done(CommandKind.LEASE_GRANT, messages.LeaseGrantRequest(ID=7, TTL=10))
    running.done(CommandKind.PUT, messages.PutRequest(key=b"a", lease=7))
    running.done(CommandKind.PUT, messages.PutRequest(key=b"b", lease=7))
    running.pass_time(9.9)
    assert running.replica.store.current(b"a") is not None
    running.pass_time(0.2)
    assert running.replica.store.current(b"a") is None
    assert running.replica.store.revision == 4
    assert 7 not in running.replica.lessor


def test_a_restart_gives_leases_their_whole_time() -> None:
    """A new leader's clock begins when it leads: late is allowed, early is not."""
    running = member()
    running.done(CommandKind.LEASE_GRANT, messages.LeaseGrantRequest(ID=7, TTL=10))
    running.done(CommandKind.PUT, messages.PutRequest(key=b"a", lease=7))
    running.pass_time(9.0)
    again = Synchronous(running.backend, boot=2, now=running.now).start()
    again.pass_time(9.9)
    assert again.replica.store.current(b"a") is not None
    again.pass_time(1.2)
    assert again.replica.store.current(b"a") is None


def test_the_log_is_truncated_and_a_restart_still_finds_its_way() -> None:
    """Old groups and nothing else go; log terms, marks and the next restart hold."""
    backend = MemoryBackend()
    running = member(backend, snapshot_count=20, catch_up_entries=10)
    for number in range(60):
        running.done(CommandKind.PUT, messages.PutRequest(key=b"k", value=b"%d" % number))
    groups = [key for key, _ in backend.scan(group_key(0), b"f")]
    assert len(groups) <= 31
    again = Synchronous(backend, boot=2).start()
    assert again.recovered.first > 2
    assert again.replica.store.revision == 61


def test_compaction_goes_on_in_slices_and_ends() -> None:
    """Physical compaction is done in bounded slices and its rows reach the disk."""
    running = member(compaction_rows=8, slices_per_step=2)
    for number in range(100):
        running.propose(put(None, value=b"%d" % number))
    running.settle()
    running.pass_time(1.0)
    before = len(tables(running))
    running.done(CommandKind.COMPACT, messages.CompactionRequest(revision=100))
    assert not running.replica.store.compaction.pending
    running.pass_time(1.0)
    assert len(tables(running)) < before - 150
    again = Synchronous(running.backend, boot=2).start()
    assert again.replica.store.compact_revision == 100
    assert not again.replica.store.compaction.pending


def test_compaction_waits_for_the_disk_and_for_time() -> None:
    """A slice at a time when time is short, and no more than a batch can hold while one is out."""
    running = member(compaction_rows=8, slices_per_step=2)
    for number in range(100):
        running.propose(put(None, value=b"%d" % number))
    running.settle()
    compact = messages.CompactionRequest(revision=100).SerializeToString()
    running.propose((None, CommandKind.COMPACT, compact))
    outputs = running.replica.step([Persisted(running.write())], running.now, lambda: True)
    assert outputs.more
    steps = 1
    while outputs.more:
        if outputs.persist is not None:
            running.backend.prepare(outputs.persist.rows).write()
            news = [Persisted(outputs.persist.number)]
        else:
            news = []
        outputs = running.replica.step(news, running.now, lambda: True)
        steps += 1
    assert steps >= 100 // 8
    assert not running.replica.store.compaction.pending


def test_an_acknowledgement_of_nothing_is_a_programmers_error() -> None:
    """Persisted belongs to the batch in flight and to no other."""
    running = member()
    with pytest.raises(AssertionError):
        running.step(Persisted(1))
    running.propose(put("a"))
    with pytest.raises(AssertionError):
        running.step(Persisted(1))


def test_the_chain_is_written_with_every_batch() -> None:
    """Each batch holds the link of its own number and the meta row."""
    running = member()
    outputs = running.propose(put("a"))
    assert outputs.persist is not None
    assert {META_ROW, chain_key(outputs.persist.number)} <= outputs.persist.rows.keys()


def tables(running: Synchronous) -> list[Row]:
    """Give the rows of the state tables as the disk has them."""
    assert FIRST_ROW < b"\x80"
    return list(running.backend.scan(b"\x80", LAST_ROW))
