"""Physical compaction: nothing is left over, whatever comes between its steps."""

from __future__ import annotations

import pytest

from trioetcd.lease import Lessor
from trioetcd.mvcc import Store, WriteTxn
from trioetcd.mvcc.layout import ONE
from trioetcd.testing.space import DictSpace


def old_ends(space: DictSpace) -> list[int]:
    """Give the end revisions of all old rows."""
    return sorted(
        ONE.unpack_from(value)[0] for raw, value in space.rows.items() if raw[1:2] == b"o"
    )


def records(space: DictSpace) -> list[int]:
    """Give the revisions that have records."""
    return sorted(
        ONE.unpack_from(raw, 2)[0] for raw in space.rows if raw[1:2] == b"r" and len(raw) > 2
    )


def test_target_moves_between_steps() -> None:
    """A record kept as the last of one compaction goes with the next, even if that came early."""
    space = DictSpace()
    store = Store(space, epoch=b"\x80", revision=1, compact_revision=-1)
    for _ in range(6):
        store.put(b"a", b"", 0, store.current(b"a"))
    store.compact(3)
    assert store.compact_step(2)
    store.compact(5)
    while store.compact_step(2):
        pass
    assert records(space) == [5, 6, 7]
    assert old_ends(space) == [6, 7]


def test_twice_in_one_revision() -> None:
    """The old row of a key that was put and deleted in one request goes with its revision."""
    space = DictSpace()
    store = Store(space, epoch=b"\x80", revision=1, compact_revision=-1)
    store.put(b"a", b"", 0, None)
    change = WriteTxn(store, Lessor(space, epoch=b"\x80"))
    change.put(b"a", b"", 0)
    row = change.current(b"a")
    assert row is not None
    change.delete(b"a", row)
    change.commit()
    assert old_ends(space) == [3, 3]
    store.put(b"b", b"", 0, None)
    store.compact(4)
    while store.compact_step(1):
        pass
    assert old_ends(space) == []
    assert records(space) == [4]


def kept(space: DictSpace) -> int:
    """Add up the bytes of keys, history and leases' keys, row by row."""
    return sum(
        len(raw) + len(row)
        for raw, row in space.rows.items()
        if raw[1:2] in {b"c", b"o", b"r", b"l"} and raw != b"\x80r"
    )


def test_the_third_change_of_a_key_in_one_request() -> None:
    """The bytes kept are exact when a request replaces the old row that it wrote itself."""
    space = DictSpace()
    store = Store(space, epoch=b"\x80", revision=1, compact_revision=-1)
    lessor = Lessor(space, epoch=b"\x80")
    store.put(b"a", b"first", 0, None)
    change = WriteTxn(store, lessor)
    for value, lease in ((b"a long one" * 9, 5), (b"short", 6), (b"", 0), (b"last", 7)):
        change.put(b"a", value, lease)
    row = change.current(b"a")
    assert row is not None
    change.delete(b"a", row)
    change.put(b"a", b"again", 5)
    change.commit()
    assert store.kept_bytes == kept(space)
    store.compact(store.revision)
    while store.compact_step(1):
        pass
    assert store.kept_bytes == kept(space)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_bytes_are_given_back_once(rows: int) -> None:
    """Old rows count once as gone, though their records are met again by the next compaction.

    A request that changed many keys is the last revision kept: its old rows go with the first
    compaction, its records with the second, and there may be a restart wherever it stands.
    """
    space = DictSpace()
    store = Store(space, epoch=b"\x80", revision=1, compact_revision=-1)
    for number in range(7):
        store.put(b"%d" % number, b"v" * 30, 0, None)
    change = WriteTxn(store, Lessor(space, epoch=b"\x80"))
    for number in range(7):
        row = change.current(b"%d" % number)
        assert row is not None
        change.delete(b"%d" % number, row)
    change.commit()
    gone = store.revision
    store.put(b"z", b"", 0, None)
    store.put(b"z", b"", 0, store.current(b"z"))
    for target in (gone, store.revision):
        store.compact(target)
        more = True
        while more:
            more = store.compact_step(rows)
            assert store.kept_bytes == kept(space)
            store = Store(space, epoch=b"\x80", revision=store.revision, compact_revision=target)
            assert store.kept_bytes == kept(space)
    assert records(space) == [store.revision]


def test_an_allowance_is_not_passed() -> None:
    """With pauses so many records go between two of them, and it is known that more are to go."""
    space = DictSpace()
    store = Store(space, epoch=b"\x80", revision=1, compact_revision=-1)
    for _ in range(20):
        store.put(b"a", b"", 0, store.current(b"a"))
    store.compact(21)
    gone = []
    while store.compaction.pending:
        store.compaction.allowance = 7
        while store.compact_step(3):
            pass
        gone.append(20 - len(records(space)))
    assert [7, 14, 19] == gone
