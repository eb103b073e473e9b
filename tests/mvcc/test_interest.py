"""Who wants a key, against asking every interval."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.interest import Interests

names = st.sampled_from([b"\0", b"a", b"a\0", b"ab", b"b", b"c", b"d", b"\xff"])


@given(
    steps=st.lists(st.tuples(st.booleans(), names, st.one_of(st.none(), names)), max_size=30),
    asked=st.one_of(names, st.binary(min_size=1, max_size=3)),
)
def test_any_intervals(steps: list[tuple[bool, bytes, bytes | None]], asked: bytes) -> None:
    """After any coming and going, a key finds exactly the intervals that hold it."""
    interests: Interests[list[KeyRange]] = Interests(list)
    known: dict[KeyRange, list[KeyRange]] = {}
    for come, start, end in steps:
        keys = KeyRange(start, end)
        if keys.empty:
            continue
        if come:
            value = interests.obtain(keys)
            if keys not in known:
                value.append(keys)
                known[keys] = value
            assert known[keys] is value
        elif keys in known:
            interests.drop(keys)
            del known[keys]
        assert len(known) == len(interests)
    for key in (asked, b"a", b"a\0", b"c"):
        expected = sorted(keys.start + b"|" + (keys.end or b"") for keys in known if key in keys)
        got = sorted(
            keys.start + b"|" + (keys.end or b"") for value in interests.at(key) for keys in value
        )
        assert expected == got
