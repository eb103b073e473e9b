"""A member's log as its batches tell it."""

from __future__ import annotations

from trioetcd.replica.rows import Meta
from trioetcd.testing.member_log import MemberLog, Stretch
from trioetcd.testing.truth import Entry
from trioetcd.values import ClusterID, Index, MemberID, Revision, Term


def meta(last: int, *, first: int = 2, applied: int = 1, term: int = 2) -> Meta:
    return Meta(
        batch=1,
        chain_first=1,
        term=Term(term),
        vote=MemberID(0),
        commit=Index(applied),
        applied=Index(applied),
        applied_term=Term(1),
        revision=Revision(1),
        compact_revision=Revision(-1),
        chain_bytes=0,
        epoch=0x80,
        first=Index(first),
        first_term=Term(1),
        last=Index(last),
        cluster_id=ClusterID(1),
        member_id=MemberID(1),
    )


def stretch(first: int, term: int, *names: bytes) -> Stretch:
    return Stretch(first, [Entry(term, name) for name in names])


def names(log: MemberLog) -> list[bytes]:
    return [entry.data for entry in log.entries]


def test_a_batch_counts_when_it_is_synced() -> None:
    """Entries are held by a member once their batch is durable."""
    log = MemberLog(2)
    log.begin(meta(3), [stretch(2, 2, b"a", b"b")])

    assert not log.holds(2, 2)
    log.synced()
    assert log.holds(2, 2)
    assert log.holds(3, 2)
    assert not log.holds(3, 1)
    assert not log.holds(4, 2)


def test_a_lost_batch_leaves_the_log_as_it_was() -> None:
    """A crash that takes a batch also takes back the conflict it resolved."""
    log = MemberLog(2)
    log.begin(meta(4), [stretch(2, 2, b"a", b"b", b"c")])
    log.synced()
    log.begin(meta(4, term=3), [stretch(3, 3, b"x", b"y")])

    assert names(log) == [b"a", b"x", b"y"]
    assert log.durable_last == 2
    log.lost()
    assert names(log) == [b"a", b"b", b"c"]
    assert log.durable_last == 4


def test_a_conflict_may_shorten_the_log() -> None:
    """A batch whose meta row ends the log earlier takes the rest away."""
    log = MemberLog(2)
    log.begin(meta(4), [stretch(2, 2, b"a", b"b", b"c")])
    log.synced()
    log.begin(meta(2), [])
    log.synced()

    assert names(log) == [b"a"]
    assert log.durable_last == 2


def test_a_snapshot_voids_entries_below_it_that_were_here() -> None:
    """What a log held below a snapshot may never have been committed, and counts no more."""
    log = MemberLog(2)
    log.begin(meta(4), [stretch(2, 2, b"a", b"b", b"c")])
    log.synced()
    log.begin(meta(3, first=4, applied=3), [])

    assert log.at(3) is None
    log.lost()
    assert names(log) == [b"a", b"b", b"c"]


def test_a_snapshot_begins_the_log_anew() -> None:
    """After a snapshot the log begins behind it, and what it covers counts as held."""
    log = MemberLog(2)
    log.begin(meta(3), [stretch(2, 2, b"a", b"b")])
    log.synced()
    log.begin(meta(90, first=91, applied=90), [])

    assert log.entries == []
    log.synced()
    assert log.holds(50, 2)
    log.begin(meta(91, first=91, applied=90), [stretch(91, 3, b"z")])
    assert log.at(91) == Entry(3, b"z")
    log.lost()
    log.begin(meta(91, first=91, applied=90), [stretch(91, 4, b"w")])
    log.synced()
    assert log.holds(91, 4)
