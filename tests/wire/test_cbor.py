"""Tests of `trioetcd.wire.cbor`: a strict part of CBOR, bounded before anything is built."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.wire.cbor import (
    DEPTH_MAX,
    Value,
    as_array,
    as_bytes,
    as_number,
    as_text,
    decode,
    encode,
)
from trioetcd.wire.errors import RemoteProtocolError


def values() -> st.SearchStrategy[Value]:
    leaves = st.one_of(
        st.integers(0, 2**64 - 1), st.booleans(), st.binary(max_size=300), st.text(max_size=30)
    )
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=30), max_leaves=60)


@given(st.lists(values(), max_size=30))
def test_there_and_back(value: list[Value]) -> None:
    """Whatever can be said comes back equal, and of the same types."""
    try:
        back = decode(encode(value), items_max=10_000)
    except RemoteProtocolError as error:
        assert "depth" in str(error)  # noqa: PT017 # an array nested too deeply is no mistake here
        return

    assert repr(value) == repr(back)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_array_or_refused(data: bytes) -> None:
    """Any bytes after the head of an array: a value of the known types, or RemoteProtocolError."""
    for prefix in (b"", b"\x81", b"\x83", b"\x98\x20"):
        try:
            value = decode(prefix + data, items_max=100)
        except RemoteProtocolError:
            continue
        check_types(value)


def check_types(value: Value) -> None:
    assert type(value) in {int, bool, bytes, str, list}
    if isinstance(value, list):
        for item in value:
            check_types(item)


@pytest.mark.parametrize(
    "item",
    [
        b"\x20",
        b"\xa0",
        b"\xa1\x01\x02",
        b"\xc1\x00",
        b"\xd8\x23\x61\x61",
        b"\xd8\x1c\x80",
        b"\xc2\x41\x01",
        b"\xf6",
        b"\xf7",
        b"\xf8\xff",
        b"\xf9\x3c\x00",
        b"\xfa\x00\x00\x00\x00",
        b"\xfb\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x9f\xff",
        b"\x5f\xff",
        b"\x7f\xff",
        b"\xff",
        b"\x1c",
        b"\x1f",
        b"\x61\xff",
    ],
    ids=bytes.hex,
)
def test_what_nobody_says_here_is_refused(item: bytes) -> None:
    """Negative numbers, maps, tags, floats, null, indefinite lengths, bad heads and bad text."""
    with pytest.raises(RemoteProtocolError):
        decode(b"\x81" + item, items_max=10)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\x41a", b"\x80\x80", b"\x81", b"\x82\x01", b"\x81\x42a", b"\x81\x18", b"\x9b"],
    ids=bytes.hex,
)
def test_only_one_whole_array_is_taken(data: bytes) -> None:
    """Nothing, another item, more than one array, and every kind of missing end are refused."""
    with pytest.raises(RemoteProtocolError):
        decode(data, items_max=10)


def test_claims_cost_nothing() -> None:
    """An array or a string that claims 2^64 - 1 items is refused by its head."""
    for head in (b"\x9b", b"\x81\x9b", b"\x81\x5b"):
        with pytest.raises(RemoteProtocolError):
            decode(head + b"\xff" * 8, items_max=2**20)


def test_items_are_counted_before_they_are_built() -> None:
    """One item more than allowed is refused, wherever it stands."""
    assert decode(encode([[1, 2], [3]]), items_max=5) == [[1, 2], [3]]
    with pytest.raises(RemoteProtocolError, match="more than 4 items"):
        decode(encode([[1, 2], [3]]), items_max=4)


def test_depth_is_bounded() -> None:
    """Arrays may be nested so deep and no deeper, whatever Python's own limit is."""
    assert decode(b"\x81" * (DEPTH_MAX - 1) + b"\x80", items_max=100)
    for depth in (DEPTH_MAX + 1, 100_000):
        with pytest.raises(RemoteProtocolError):
            decode(b"\x81" * depth + b"\x80", items_max=200_000)


def test_it_is_cbor() -> None:
    """What is written is what any CBOR decoder reads."""
    value: list[Value] = [1, 2**64 - 1, b"a", "ä", True, [False]]

    assert value == cbor2.loads(encode(value))


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        (lambda value: as_number(value, 8), [256, True, b"", "", []]),
        (lambda value: as_bytes(value, 2), [b"abc", 0, True, "", []]),
        (lambda value: as_text(value, 2), ["abc", 0, True, b"", []]),
        (as_array, [0, True, b"", ""]),
    ],
    ids=["number", "bytes", "text", "array"],
)
def test_fields_have_types_and_bounds(read: object, wrong: list[Value]) -> None:
    """Each reader takes its own type within its bound, and nothing else."""
    assert callable(read)
    good: list[Value] = [255, True, b"ab", "ab", [1]]
    taken = []
    for value in [*good, *wrong]:
        try:
            taken.append(read(value))
        except RemoteProtocolError:
            continue

    assert len(taken) == 1
    assert taken[0] in good
