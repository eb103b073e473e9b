"""The key space as etcd stores it: what comes out, read as etcd reads it, is what was there."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.mvcc.test_sorting import Scratch
from trioetcd.errors import CORRUPT, EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Event, Sorter, Store, WriteTxn, export_revisions
from trioetcd.mvcc.sorting import Bounds
from trioetcd.schema import messages
from trioetcd.testing.space import DictSpace

State = dict[bytes, bytes]
"""Keys and their KeyValue messages."""

BOUNDS = Bounds(chunk_rows=8, run_chunks=2, runs=3, read_bytes=60)


class Life:
    """A store with everything that it has ever been.

    Attributes:
        states: the keys as of each revision.
        events: the events of each revision.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.space = DictSpace()
        self.store = Store(self.space, epoch=b"\x80", revision=1, compact_revision=-1)
        self.states: list[State] = [{}, {}]
        self.events: list[list[Event]] = [[], []]

    def key(self) -> bytes:
        return self.random.choice((b"a", b"b", b"a\0", b"\xff")) * self.random.randint(1, 8)

    def change(self) -> None:
        """Do something to the keys."""
        random, store = self.random, self.store
        if random.random() < 0.6:
            key = self.key()
            value = random.randbytes(random.choice((0, 5, 200)))
            self.note(store.put(key, value, random.choice((0, 7)), store.current(key)))
            return
        txn = WriteTxn(store, Lessor(self.space, epoch=b"\x80"))
        for key in {self.key() for _ in range(random.randint(1, 6))}:
            old = txn.current(key)
            if random.random() < 0.5:
                txn.put(key, random.randbytes(3), 0)
            elif old is not None:
                txn.delete(key, old)
        if random.random() < 0.2:
            keys = KeyRange(self.key(), b"b")
            for _ in txn.delete_range(keys, want_previous=False):
                pass
        self.note(txn.commit())

    def note(self, events: list[Event]) -> None:
        if not events:
            return
        state = dict(self.states[-1])
        for key, _, _ in events:
            kv = self.store.current_kv(key)
            if kv is None:
                state.pop(key, None)
            else:
                state[key] = messages.RangeResponse.FromString(kv).kvs[0].SerializeToString()
        self.states.append(state)
        self.events.append(events)

    def compact(self, steps: int) -> None:
        """Compact, and forget only a part of it by now."""
        store = self.store
        low, high = max(store.compact_revision + 1, 1), store.revision
        if low <= high:
            store.compact(self.random.randint(low, high))
            for _ in range(steps):
                store.compact_step(3)


def export(space: DictSpace, store: Store) -> list[tuple[bytes, bytes]]:
    rows: list[tuple[bytes, bytes]] = []
    sorter = Sorter(BOUNDS)
    Scratch(sorter).run(
        export_revisions(
            space,
            store.tables,
            store.compact_revision,
            sorter,
            lambda key, value: rows.append((key, value)),
        )
    )
    return rows


def replay(rows: list[tuple[bytes, bytes]], compact: int) -> Iterator[tuple[int, State]]:
    """Give the states that etcd makes of the rows, from the compact revision on."""
    state: State = {}
    now = max(compact, 0)
    for name, value in rows:
        revision = int.from_bytes(name[:8], "big")
        while now < revision:
            yield now, dict(state)
            now += 1
        kv = messages.KeyValue.FromString(value)
        if name.endswith(b"t"):
            assert kv == messages.KeyValue(key=kv.key)
            state.pop(kv.key, None)
        else:
            assert kv.mod_revision == revision
            state[kv.key] = value
    yield now, state


@pytest.mark.parametrize("seed", range(60))
def test_etcd_finds_what_was_there(seed: int) -> None:
    """Every state from the compact revision on, and every event, is that of the store."""
    random = Random(seed)
    life = Life(random)
    for _ in range(random.choice((0, 3, 80, 200))):
        life.change()
        if random.random() < 0.03:
            life.compact(random.choice((0, 2, 1000)))
    store = life.store
    compact = store.compact_revision
    rows = export(life.space, store)

    names = [name for name, _ in rows]
    assert names == sorted(names)
    assert len({name[:17] for name in names}) == len(names)
    assert all(len(name) in {17, 18} and name[8:9] == b"_" for name in names)
    last = None
    for revision, state in replay(rows, compact):
        if revision >= max(compact, 2):
            assert (revision, life.states[revision]) == (revision, state)
        last = revision
    assert last == max(store.revision if rows else 0, compact, 0)
    since = [
        (int.from_bytes(name[:8], "big"), messages.KeyValue.FromString(value).key)
        for name, value in rows
        if int.from_bytes(name[:8], "big") > compact
    ]
    assert since == [
        (revision, key)
        for revision in range(max(compact + 1, 0), store.revision + 1)
        for key, _, _ in life.events[revision]
    ]
    before = sum(1 for name in names if int.from_bytes(name[:8], "big") < compact)
    older = [
        value
        for value in life.states[max(compact, 0)].values()
        if messages.KeyValue.FromString(value).mod_revision < compact
    ]
    assert before == len(older)


def test_a_row_that_is_missing_is_told() -> None:
    """What the tables promise and do not have is an error, not a backup that lacks it."""
    life = Life(Random(1))
    store = life.store
    for key in (b"a", b"b", b"a", b"b"):
        life.note(store.put(key, b"", 0, store.current(key)))
    store.compact(3)
    store.put(b"c", b"", 0, None)
    store.compact(4)
    store.compact_step(100)
    lost = next(raw for raw in life.space.rows if raw[1:2] == b"o")
    life.space.delete(lost)
    with pytest.raises(EtcdError) as caught:
        export(life.space, store)
    assert caught.value.row == CORRUPT
