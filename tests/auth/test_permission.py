"""Unions of intervals against a twin that looks at every key there is."""

from __future__ import annotations

from itertools import pairwise, product

from hypothesis import example, given
from hypothesis import strategies as st

from trioetcd.auth import READ, READWRITE, WRITE, KeySet, Permission, Rights
from trioetcd.keyrange import KeyRange

LETTERS = b"\0ab\xff"
UNIVERSE = [bytes(key) for size in range(1, 4) for key in product(LETTERS, repeat=size)]
"""Every key of one to three of four letters: between any two ends drawn below lies one of these,
if there is any key between them."""

ends = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=2).map(bytes)
intervals = st.builds(KeyRange, ends, st.none() | ends)
singles = ends.map(lambda key: KeyRange(key, key + b"\0"))


@given(st.lists(intervals | singles, max_size=6), intervals | singles)
@example([KeyRange(b"a", b"b"), KeyRange(b"b", b"\xff")], KeyRange(b"a", b"\xff"))
@example([KeyRange(b"a", b"\xff"), KeyRange(b"b", b"ba")], KeyRange(b"a", b"\xff"))
@example([KeyRange(b"a", None), KeyRange(b"b", b"\xff")], KeyRange(b"\xff", None))
@example([KeyRange(b"\0", None)], KeyRange(b"\0", None))
def test_covers(known: list[KeyRange], asked: KeyRange) -> None:
    """An interval is covered if every key of it lies in one of the intervals; no end is so too."""
    keys = KeySet(known)
    assert keys.covers(asked) == covers_naively(known, asked)


def covers_naively(known: list[KeyRange], asked: KeyRange) -> bool:
    if asked.empty:
        return any(asked.start in each for each in known)
    if asked.end is None and all(each.end is not None for each in known):
        return False  # above all ends there is always another key
    return all(any(key in each for each in known) for key in UNIVERSE if key in asked)


@given(st.lists(intervals, max_size=6))
def test_made_of_as_few_as_can_be(known: list[KeyRange]) -> None:
    """What a set is made of is sorted and disjoint, does not touch, and holds the same keys."""
    found = KeySet(known).intervals()
    for one, next_one in pairwise(found):
        assert one.end is not None
        assert one.end < next_one.start
    for key in UNIVERSE:
        assert any(key in each for each in found) == any(key in each for each in known)


def test_an_empty_set_covers_nothing() -> None:
    """Nobody may anything, not even something that is no key."""
    for asked in (KeyRange(b"a", b"a\0"), KeyRange(b"b", b"a"), KeyRange(b"\0", None)):
        assert not KeySet([]).covers(asked)
        assert not KeySet([KeyRange(b"b", b"a")]).covers(asked)


def test_an_empty_interval_must_begin_in_the_set() -> None:
    """A range that holds no key is allowed where a range from there on could be (etcd)."""
    keys = KeySet([KeyRange(b"k", b"m")])
    assert keys.covers(KeyRange(b"l", b"a"))
    assert not keys.covers(KeyRange(b"m", b"a"))
    assert not keys.covers(KeyRange(b"a", b"a"))


def test_kinds() -> None:
    """Reading and writing are told apart, and a kind that does not exist allows nothing."""
    key = KeyRange(b"k", b"k\0")
    expected = {
        READ: (True, False),
        WRITE: (False, True),
        READWRITE: (True, True),
        3: (False, False),
    }
    for kind, allowed in expected.items():
        rights = Rights([Permission(kind, b"k", b"")])
        assert allowed == (rights.reading.covers(key), rights.writing.covers(key))


def test_permissions_of_both_kinds_do_not_mix() -> None:
    """Reading here and writing there do not make a range that may be read or written whole."""
    rights = Rights([Permission(READ, b"a", b"m"), Permission(WRITE, b"m", b"z")])
    whole = KeyRange(b"a", b"z")
    assert not rights.reading.covers(whole)
    assert not rights.writing.covers(whole)
