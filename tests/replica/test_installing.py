"""Tests of `trioetcd.replica.installing` and `state_cut`: one member's state becomes another's."""

from __future__ import annotations

import pytest

from tests.replica.states import LEADER, follower, source
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import RangeQuery
from trioetcd.ports import EPOCH_FIRST, Row
from trioetcd.replica import (
    Outputs,
    SnapshotEnded,
    SnapshotMeta,
    SnapshotOffered,
    SnapshotPiece,
    Tick,
    recover,
)
from trioetcd.replica.state_cut import after_epoch
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Index, MemberID, Term


def offer(member: Synchronous, meta: SnapshotMeta) -> Outputs:
    """Offer a snapshot."""
    outputs = member.step(SnapshotOffered(LEADER, Term(5), meta))
    member.settle()
    return outputs


def install(member: Synchronous, meta: SnapshotMeta, pieces: list[list[Row]]) -> bool:
    """Send all of it; gives whether the state was replaced."""
    assert offer(member, meta).accepting is True
    for piece in pieces:
        member.step(SnapshotPiece(piece))
        member.settle()
    member.step(SnapshotEnded(ok=True))
    reloaded = member.outputs.reloaded
    while member.waiting is not None or member.outputs.more:
        outputs = member.persist() if member.waiting is not None else member.step()
        reloaded = reloaded or outputs.reloaded
    return reloaded


def keys(member: Synchronous) -> int:
    """Count the keys a member has."""
    cursor = member.replica.store.range(RangeQuery(KeyRange.from_wire(b"\0", b"\0")))
    while not cursor.step(1000, 1 << 20):
        pass
    return cursor.count


def kept(member: Synchronous) -> int:
    """Add up the bytes of keys, history and leases' keys, row by row."""
    epoch = member.replica.store.tables.current[:1]
    return sum(
        len(raw) + len(row)
        for raw, row in member.replica.space.scan(epoch, after_epoch(epoch))
        if raw[1:2] in {b"c", b"o", b"r", b"l"} and raw[1:] != b"r"
    )


def foreign_rows(member: Synchronous) -> int:
    """Count the rows of other epochs than the one in use."""
    recovered = recover(member.backend)
    assert recovered is not None
    epoch = recovered.epoch
    everything = sum(1 for _ in member.backend.scan(EPOCH_FIRST, b"\xff"))
    return everything - sum(1 for _ in member.backend.scan(epoch, after_epoch(epoch)))


def test_a_snapshot_replaces_everything() -> None:
    """Keys, revision, leases and marks are the sender's, at once and after a restart."""
    meta, pieces = source()
    member = follower()
    assert install(member, meta, pieces)

    def check(found: Synchronous) -> None:
        replica = found.replica
        assert (meta.revision, 500) == (replica.store.revision, replica.applied_index)
        assert 100 == keys(found)
        assert 77 in replica.lessor
        assert Term(5) == replica.term
        assert kept(found) == replica.store.kept_bytes

    check(member)
    member.pass_time(1.0)
    assert 0 == foreign_rows(member), "the old state is swept away"
    assert isinstance(member.backend, MemoryBackend)
    check(follower(member.backend))


def test_until_the_switch_the_old_state_stands() -> None:
    """A crash before the last batch is durable leaves the old state, and what came is swept."""
    meta, pieces = source()
    member = follower()
    offer(member, meta)
    for piece in pieces:
        member.step(SnapshotPiece(piece))
        member.settle()
        member.pass_time(0.02)  # long enough for a batch of its own
    member.step(SnapshotEnded(ok=True))
    assert member.waiting is not None, "the switch waits for the disk"
    assert foreign_rows(member) > 100
    assert isinstance(member.backend, MemoryBackend)

    again = follower(member.backend)
    assert (1, 2) == (again.replica.store.revision, again.replica.applied_index)
    again.pass_time(1.0)
    assert 0 == foreign_rows(again)
    assert install(again, meta, pieces), "and then it can come once more"


def test_a_transfer_that_breaks_leaves_nothing() -> None:
    """What came is swept away; another offer is refused until then, and taken after."""
    meta, pieces = source()
    member = follower()
    offer(member, meta)
    assert offer(member, meta).accepting is False, "one at a time"
    member.step(SnapshotPiece(pieces[0]))
    member.settle()
    outputs = member.step(SnapshotEnded(ok=False), SnapshotOffered(LEADER, Term(5), meta))
    assert outputs.accepting is False
    member.settle()
    member.pass_time(1.0)
    assert 0 == foreign_rows(member)
    member.step(SnapshotPiece(pieces[0]), SnapshotEnded(ok=True))
    member.settle()
    assert 1 == member.replica.store.revision, "pieces of nothing are nothing"
    assert install(member, meta, pieces)


@pytest.mark.parametrize(
    ("index", "term"), [(2, 5), (500, 0)], ids=["already here", "of a term that was"]
)
def test_what_nobody_needs_is_refused(index: int, term: int) -> None:
    """A snapshot of what is committed here, or of an older term than this member's, is refused."""
    meta, _ = source()
    member = follower()
    meta = meta._replace(last_index=Index(index))
    outputs = member.step(SnapshotOffered(LEADER, Term(term), meta))
    assert outputs.accepting is False


def test_a_stranger_counts_for_nothing() -> None:
    """Nobody, as a sender, is refused."""
    meta, _ = source()
    member = follower()
    assert member.step(SnapshotOffered(MemberID(0), Term(5), meta)).accepting is False
    assert member.step(Tick(member.now)).accepting is None
