"""Physical compaction: nothing is left over, whatever comes between its steps."""

from __future__ import annotations

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
