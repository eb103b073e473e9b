"""The directory of counts against counting."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.counts import BLOCK_KEYS, Counts
from trioetcd.mvcc.layout import Tables
from trioetcd.testing.space import DictSpace

TABLES = Tables(b"\x80")


def name(number: int) -> bytes:
    """Give a key; some have zero bytes."""
    return b"k%05d\0" % number if number % 7 else b"k%05d" % number


def check(space: DictSpace, counts: Counts, present: set[int]) -> None:
    """Compare the directory with the keys, whole and in its rows."""
    assert len(present) == counts.total
    assert all(number <= BLOCK_KEYS for number in counts.numbers)
    assert sorted(set(counts.starts)) == counts.starts
    again = Counts(space, TABLES)
    assert (counts.starts, counts.numbers) == (again.starts, again.numbers)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 4000), st.integers(1, 900), st.booleans()),
        max_size=12,
    ),
    edges=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000)), max_size=8),
)
def test_any_interval(
    steps: list[tuple[bool, int, int, bool]], edges: list[tuple[int, int]]
) -> None:
    """After any creates and deletes, one by one or at once, every interval's count is right."""
    space = DictSpace()
    counts = Counts(space, TABLES)
    present: set[int] = set()
    for create, first, number, at_once in steps:
        chosen = [at for at in range(first, min(first + number, 4000)) if (at in present) != create]
        changes: dict[int, int] = {}
        for at in chosen:
            key = name(at)
            if at_once:
                block = counts.block_of(key)
                changes[block] = changes.get(block, 0) + (1 if create else -1)
            if create:
                space.put(TABLES.current + key, b"")
                present.add(at)
            else:
                space.delete(TABLES.current + key)
                present.discard(at)
            if at_once:
                continue
            if create:
                counts.add(key)
            else:
                counts.remove(key)
        if at_once:
            counts.change(changes)
        check(space, counts, present)
    for low, high in edges:
        keys = KeyRange(name(low), name(high))
        assert len([at for at in present if name(at) in keys]) == counts.count(keys)
    for keys in (KeyRange(b"\0", None), KeyRange(b"", None), KeyRange(b"k01", b"k03")):
        assert len([at for at in present if name(at) in keys]) == counts.count(keys)
    for start in counts.starts:
        keys = KeyRange(start, None)
        assert len([at for at in present if name(at) in keys]) == counts.count(keys)


def test_memory_is_sparse() -> None:
    """Ten thousand keys put in order need no more than forty blocks."""
    space = DictSpace()
    counts = Counts(space, TABLES)
    for at in range(10_000):
        space.put(TABLES.current + name(at), b"")
        counts.add(name(at))
    assert len(counts.starts) <= 40
