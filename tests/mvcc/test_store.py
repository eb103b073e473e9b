"""The store's own promises: what is refused, what is hashed, what is kept in memory."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import RangeQuery, Store
from trioetcd.mvcc.layout import value_of
from trioetcd.testing.space import DictSpace

EVERYTHING = KeyRange(b"\0", None)


def filled(puts: int, space: DictSpace | None = None) -> Store:
    """Make a store with as many puts of three keys."""
    store = Store(space or DictSpace(), epoch=b"\x80", revision=1, compact_revision=-1)
    for at in range(puts):
        key = b"k%d" % (at % 3)
        store.put(key, b"v%d" % at, 0, store.current(key))
    return store


@pytest.mark.parametrize(
    ("revision", "row"),
    [(4, errors.COMPACTED), (1, errors.COMPACTED), (12, errors.FUTURE_REVISION)],
)
def test_refused(revision: int, row: ErrorRow) -> None:
    """Reads and hashes below the compact revision and above the revision are refused."""
    store = filled(10)
    store.compact(5)
    for refused in (
        lambda: store.range(RangeQuery(EVERYTHING, revision)),
        lambda: store.hash_kv(revision),
        lambda: store.content_hash(revision),
    ):
        with pytest.raises(EtcdError) as caught:
            refused()
        assert row == caught.value.row


def test_hash() -> None:
    """The hash of a revision is the same after more has happened, been compacted, and reopened."""
    space = DictSpace()
    store = filled(6, space)
    value, compact_revision, revision = store.hash_kv(0)
    assert (compact_revision, revision) == (-1, 7)
    for at in range(4):
        store.put(b"more", b"%d" % at, 0, store.current(b"more"))
    assert store.hash_kv(7) == (value, -1, 7)
    assert store.hash_kv(0)[0] != value
    store.compact(7)
    while store.compact_step(2):
        pass
    assert store.hash_kv(7) == (value, 7, 7)
    again = Store(space, epoch=b"\x80", revision=11, compact_revision=7)
    assert store.hash_kv(0) == again.hash_kv(0)
    assert not again.compaction.pending


def test_hash_tells_differences() -> None:
    """Another value, another key, or another order gives another hash."""
    hashes = set()
    for changes in (
        [(b"a", b"1"), (b"b", b"2")],
        [(b"b", b"2"), (b"a", b"1")],
        [(b"a", b"1"), (b"b", b"3")],
        [(b"a", b"1"), (b"c", b"2")],
    ):
        store = filled(0)
        for key, value in changes:
            store.put(key, value, 0, None)
        hashes.add(store.hash_kv(0)[0])
    assert len(hashes) == 4


def content(store: Store, revision: int = 0) -> int:
    hashing = store.content_hash(revision)
    while not hashing.step(2, 1000):
        pass
    return hashing.value


def test_content_tells_what_the_chain_cannot() -> None:
    """A row that was changed or lost behind the chain changes the hash of the content, and only it.

    Of a key that was put again, the old row counts at the revisions it was current at.
    """
    space = DictSpace()
    store = filled(6, space)
    healthy = {at: (store.hash_kv(at)[0], content(store, at)) for at in range(1, 8)}
    rows = dict(space.rows)
    damage = {
        store.tables.current + b"k1": range(6, 8),
        next(raw for raw, _ in space.scan(store.tables.old, store.tables.old_end)): range(2, 5),
    }

    for raw, revisions in damage.items():
        for planted in (None, rows[raw][:-1] + b"x"):
            damaged = dict(rows)
            if planted is None:
                del damaged[raw]
            else:
                damaged[raw] = planted
            other = Store(DictSpace(damaged), epoch=b"\x80", revision=7, compact_revision=-1)
            found = {at: (other.hash_kv(at)[0], content(other, at)) for at in range(1, 8)}
            assert list(revisions) == [at for at in healthy if healthy[at] != found[at]]
            assert all(healthy[at][0] == found[at][0] for at in healthy)


def test_hashing_lets_go_of_what_it_pinned() -> None:
    """Done or given up, nothing stays pinned; closing twice does no harm."""
    space = DictSpace()
    store = filled(6, space)
    for revision in (0, 3):
        for steps in (0, 1, 100):
            hashing = store.content_hash(revision)
            assert space.pinned
            for _ in range(steps):
                if hashing.step(1, 1000):
                    break
            hashing.close()
            assert not space.pinned
            hashing.close()


def test_compaction_goes_on_after_restart() -> None:
    """Physical compaction that was interrupted is finished by a store opened later."""
    space = DictSpace()
    store = filled(50, space)
    store.compact(40)
    assert store.compact_step(7)
    again = Store(space, epoch=b"\x80", revision=51, compact_revision=40)
    assert again.compaction.pending
    while again.compact_step(7):
        pass
    fresh = filled(50)
    fresh.compact(40)
    while fresh.compact_step(10_000):
        pass
    assert isinstance(fresh.space, DictSpace)
    assert fresh.space.rows == space.rows
    # Table r keeps the records from the compact revision on, and the mark; o what they name.
    assert len([raw for raw in space.rows if raw.startswith(b"\x80r")]) == 51 - 40 + 1 + 1


def test_bulk_deletions_are_told() -> None:
    """Whoever compacts very many records away says where, so that the space can be given back."""
    store = filled(12_000)
    store.compact(11_990)
    while store.compact_step(1000):
        pass
    ((start, stop),) = store.freed
    assert start < stop
    assert start.startswith(b"\x80r")
    store.put(b"k", b"v", 0, None)
    store.compact(12_000)
    while store.compact_step(1000):
        pass
    assert len(store.freed) == 1


def test_epochs_are_apart() -> None:
    """A store of another epoch in the same space is empty."""
    space = DictSpace()
    filled(5, space)
    other = Store(space, epoch=b"\x81", revision=1, compact_revision=-1)
    assert other.counts.total == 0
    assert other.current(b"k0") is None
    assert other.chain == 0


def test_many_versions_of_a_key() -> None:
    """A key with very many old versions is read right at each of them, beside its neighbours."""
    store = Store(DictSpace(), epoch=b"\x80", revision=1, compact_revision=-1)
    for key in (b"a", b"b\0", b"c"):
        store.put(key, b"first", 0, None)
    for at in range(40):
        store.put(b"b", b"%d" % at, 0, store.current(b"b"))
    for revision in range(4, 45):
        cursor = store.range(RangeQuery(EVERYTHING, revision))
        while not cursor.step(3, 10_000):
            pass
        found = [value_of(kv) for kv in cursor.kvs]
        middle = [b"%d" % (revision - 5)] if revision > 4 else []
        assert [b"first", *middle, b"first", b"first"] == found
        single = store.range(RangeQuery(KeyRange.from_wire(b"b", b""), revision))
        assert single.step(1, 1)
        assert middle == [value_of(kv) for kv in single.kvs]


def test_count_of_old_revision_without_walking_keys() -> None:
    """Counting an interval at an old revision and at a limit agree, whichever walk is shorter."""
    store = Store(DictSpace(), epoch=b"\x80", revision=1, compact_revision=-1)
    for at in range(1500):
        store.put(b"k%05d" % at, b"", 0, None)
    for revision, expected in ((1501, 1500), (1400, 1399), (300, 299), (2, 1), (1, 0)):
        for query in (
            RangeQuery(EVERYTHING, revision, count_only=True),
            RangeQuery(EVERYTHING, revision, limit=1),
            RangeQuery(EVERYTHING, revision),
        ):
            cursor = store.range(query)
            while not cursor.step(100, 10_000):
                pass
            assert expected == cursor.count
