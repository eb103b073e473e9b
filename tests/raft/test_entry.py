"""Groups: one form on the wire and on the disk, and any changed bit is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.raft import (
    GROUP_OVERHEAD,
    ConfState,
    CorruptGroupError,
    Group,
    decode_group,
    encode_group,
)
from trioetcd.values import Index, MemberID, Term

groups = st.builds(
    Group,
    st.integers(1, 2**64 - 1).map(Index),
    st.integers(0, 2**64 - 1).map(Term),
    st.lists(st.binary(max_size=40), min_size=1, max_size=8),
)


@given(groups)
def test_round_trip(group: Group) -> None:
    """What is encoded is decoded again, and the overhead is the head and a length per entry."""
    encoded = encode_group(*group)
    expected = GROUP_OVERHEAD + 4 * len(group.datas) + sum(map(len, group.datas))
    assert expected == len(encoded)
    assert group == decode_group(encoded)


@given(groups, st.data())
def test_any_flipped_bit_is_noticed(group: Group, data: st.DataObject) -> None:
    """No single flipped bit yields a group."""
    encoded = bytearray(encode_group(*group))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptGroupError):
        decode_group(bytes(encoded))


@given(groups, st.data())
def test_any_cut_is_noticed(group: Group, data: st.DataObject) -> None:
    """No proper prefix, and nothing with a tail, is a group."""
    encoded = encode_group(*group)
    size = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CorruptGroupError):
        decode_group(encoded[:size])
    with pytest.raises(CorruptGroupError):
        decode_group(encoded + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=80))
def test_garbage_is_refused_in_one_way(garbage: bytes) -> None:
    """Any bytes decode to a group or raise `CorruptGroupError`, nothing else."""
    try:
        group = decode_group(garbage)
    except CorruptGroupError:
        return
    assert garbage == encode_group(*group)


def test_a_checksum_over_nonsense_does_not_help() -> None:
    """A valid checksum over lengths that do not add up, or an unknown format, is refused."""
    from zlib import crc32

    sound = encode_group(1, 1, [b"ab"])

    def sealed(body: bytes) -> bytes:
        return crc32(body).to_bytes(4, "big") + body

    for body in (sound[4:-1], sound[4:] + b"x", b"\x09" + sound[5:], sound[4:21] + b"\0\0\0\x63"):
        with pytest.raises(CorruptGroupError):
            decode_group(sealed(body))
    empty = sealed(b"\x01" + bytes(20))
    with pytest.raises(CorruptGroupError):
        decode_group(empty)


def test_group_last() -> None:
    """The last index of a group counts its entries."""
    assert Group(Index(5), Term(1), [b"a", b"b", b"c"]).last == 7


def test_a_group_is_encoded_once() -> None:
    """The encoded form is kept, and one that was decoded keeps the bytes it came in."""
    group = Group(Index(5), Term(1), [b"a", b"b", b"c"])
    encoded = encode_group(*group)
    assert encoded == group.encoded
    assert group.encoded is group.encoded
    assert decode_group(encoded).encoded is encoded


def test_parts_of_a_group() -> None:
    """A part has the entries it should; all of a group is the group itself."""
    group = Group(Index(5), Term(1), [b"a", b"b", b"c"])
    assert group.starting(5) is group.ending(7) is group
    assert group.starting(6) == Group(Index(6), Term(1), [b"b", b"c"])
    assert group.ending(6) == Group(Index(5), Term(1), [b"a", b"b"])
    for index in (4, 8):
        with pytest.raises(AssertionError):
            group.starting(index)
    for index in (4, 8):
        with pytest.raises(AssertionError):
            group.ending(index)


def test_who_votes_and_who_is_told() -> None:
    """In a joint configuration both halves vote; learners are told, and do not vote."""
    one, two, three, four = (MemberID(number) for number in range(1, 5))
    conf = ConfState((two, three), (four,), (one, two), (one,))
    assert conf.joint
    assert conf.voting == (one, two, three)
    assert conf.members == (one, two, three, four)
    assert ConfState((one,), (two,)).voting == (one,)
    assert ConfState((one,), (two,)).members == (one, two)


def test_voters_are_sorted_and_distinct() -> None:
    """A configuration is a sorted tuple: nothing depends on the order of a set."""
    assert ConfState((MemberID(1), MemberID(2))).voters == (1, 2)
    for wrong in ((MemberID(2), MemberID(1)), (MemberID(1), MemberID(1))):
        with pytest.raises(AssertionError):
            ConfState(wrong)
