"""Key forms: their order, and what is cut out of a stored key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.mvcc.layout import ONE, escape, unescape, value_of
from trioetcd.mvcc.revision import Place
from trioetcd.schema.fastpath import kv_field

names = st.one_of(st.binary(max_size=6), st.lists(st.sampled_from(b"\0\x01\xff")).map(bytes))


@given(one=names, other=names, numbers=st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)))
def test_escape_keeps_order(one: bytes, other: bytes, numbers: tuple[int, int]) -> None:
    """Escaped keys with numbers behind them lie as the pairs of key and number do."""
    first = escape(one) + ONE.pack(numbers[0])
    second = escape(other) + ONE.pack(numbers[1])
    assert ((one, numbers[0]) < (other, numbers[1])) == (first < second)
    assert one == unescape(escape(one))


@given(
    key=st.binary(min_size=1, max_size=300),
    value=st.binary(max_size=300),
    numbers=st.tuples(*[st.integers(1, 2**62)] * 3),
    lease=st.integers(-(2**63), 2**63 - 1),
)
def test_value_of(key: bytes, value: bytes, numbers: tuple[int, int, int], lease: int) -> None:
    """The value is cut out of any stored key, whatever its other fields."""
    create, mod, version = numbers
    assert value == value_of(kv_field(key, create, mod, version, value, lease))


@given(
    one=st.tuples(st.integers(0, 2**62), st.integers(0, 2**32 - 1)),
    other=st.tuples(st.integers(0, 2**62), st.integers(0, 2**32 - 1)),
)
def test_place(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Packed places lie as places do, and are read back from the end of a row's key."""
    assert (Place(*one) < Place(*other)) == (Place(*one).pack() < Place(*other).pack())
    assert Place(*one) == Place.unpack(b"\x80r" + Place(*one).pack())
