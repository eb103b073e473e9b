"""Tests of `trioetcd.wire.peer_messages`: the table, there and back, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from inspect import signature
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.peer_conversation import SENDER, TO, message_of
from trioetcd import raft
from trioetcd.raft import Group, encode_group
from trioetcd.values import Index, Term
from trioetcd.wire.cbor import Value, decode, encode
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer_messages import (
    MESSAGES,
    FieldKind,
    MessageRow,
    Numbered,
    PeerMessage,
    decode_message,
    encode_message,
    item_count,
    message_bytes,
)

LIMITS = PeerLimits()


def name_of(row: MessageRow) -> str:
    return row.cls.__name__


def back(value: list[Value]) -> Numbered:
    """Carry a message's array over the wire."""
    return decode_message(decode(encode(value), items_max=LIMITS.items_max), sender=SENDER, to=TO)


def test_the_table_holds_every_message() -> None:
    """Each message class has one row, with its own fields, and each number is used once."""
    assert set(get_args(PeerMessage)) == {row.cls for row in MESSAGES}
    assert list(range(1, len(MESSAGES) + 1)) == [row.kind for row in MESSAGES]
    for row in MESSAGES:
        names = ("to", "sender", "term", *(name for name, _ in row.fields))
        assert names == tuple(signature(row.cls).parameters)


@pytest.mark.parametrize("row", MESSAGES, ids=name_of)
def test_there_and_back(row: MessageRow) -> None:
    """Any message comes back equal, with its number, to the hello's receiver from its sender."""
    for seed in range(100):
        sent = Numbered(seed, message_of(row, random.Random(seed)))

        assert sent == back(encode_message(sent)), f"seed {seed}"


@pytest.mark.parametrize("row", MESSAGES, ids=name_of)
def test_the_estimates_are_from_above(row: MessageRow) -> None:
    """A message takes no more bytes and no more items than it is said to."""
    for seed in range(100):
        message = message_of(row, random.Random(seed))
        written = encode(encode_message(Numbered(2**63 - 1, message)))
        items = 1 + len(message) + sum(len(part) for part in message if isinstance(part, list))

        assert len(written) <= message_bytes(message), f"seed {seed}"
        assert items - 1 <= item_count(message), f"seed {seed}"


def test_a_group_keeps_its_bytes() -> None:
    """What is stored of a received group is what was sent, not encoded again."""
    group = Group(Index(8), Term(3), [b"a", b"b"])
    sent = raft.AppendEntries(TO, SENDER, Term(3), Index(7), Term(3), Index(0), (group,))
    received = back(encode_message(Numbered(1, sent))).message

    assert isinstance(received, raft.AppendEntries)
    assert received.groups[0]._encoded == group.encoded


def wrong_values(kind: FieldKind) -> list[Value]:
    """Give what a field of a kind must not be."""
    match kind:
        case FieldKind.COUNT:
            return [2**63, b"", "1", True, []]
        case FieldKind.NUMBER:
            return [b"", "1", False, []]
        case FieldKind.FLAG:
            return [0, 1, b"", "true"]
        case FieldKind.GROUPS:
            return [0, b"", [0], [b""], [encode_group(8, 3, [b"a"])[:-1]]]
        case FieldKind.DATAS:
            return [0, b"", [0], ["a"], [[b"a"]]]


@pytest.mark.parametrize("row", MESSAGES, ids=name_of)
def test_every_field_is_checked(row: MessageRow) -> None:
    """A field of a wrong type or range is a broken protocol, whichever field of whichever row."""
    good = encode_message(Numbered(1, message_of(row, random.Random(1))))
    kinds = [FieldKind.COUNT, None, FieldKind.COUNT, *(kind for _, kind in row.fields)]
    for at, kind in enumerate(kinds):
        if kind is None:
            continue
        for wrong in wrong_values(kind):
            with pytest.raises(RemoteProtocolError):
                back([*good[:at], wrong, *good[at + 1 :]])


@pytest.mark.parametrize("row", MESSAGES, ids=name_of)
def test_fields_are_neither_missing_nor_too_many(row: MessageRow) -> None:
    """A message has exactly its fields."""
    good = encode_message(Numbered(1, message_of(row, random.Random(1))))
    for wrong in (good[:-1], [*good, 0]):
        with pytest.raises(RemoteProtocolError):
            back(wrong)


@pytest.mark.parametrize("wrong", [[], [1], [1, 1], [1, 0, 1], [1, 99, 1], [1, 256, 1]], ids=str)
def test_no_message_without_a_known_kind(wrong: list[Value]) -> None:
    """Numbers that are in no row are refused."""
    with pytest.raises(RemoteProtocolError):
        back(wrong)


def append(*groups: Group, index: int = 7, prev_term: int = 2, term: int = 4) -> Callable[[], None]:
    message = raft.AppendEntries(
        TO, SENDER, Term(term), Index(index), Term(prev_term), Index(0), groups
    )

    def carry() -> None:
        back(encode_message(Numbered(1, message)))

    return carry


@pytest.mark.parametrize(
    "carry",
    [
        append(Group(Index(9), Term(3), [b""])),
        append(Group(Index(8), Term(1), [b""])),
        append(Group(Index(8), Term(5), [b""])),
        append(Group(Index(8), Term(3), [b""]), Group(Index(10), Term(3), [b""])),
        append(Group(Index(8), Term(3), [b""]), Group(Index(9), Term(2), [b""])),
        append(Group(Index(2**63 - 1), Term(3), [b"", b""]), index=2**63 - 2),
    ],
    ids=["gap", "term-back", "term-ahead", "gap-between", "term-back-between", "too-far"],
)
def test_entries_follow_each_other(carry: Callable[[], None]) -> None:
    """Groups that leave a gap, or whose terms go back or beyond the sender's, are refused."""
    with pytest.raises(RemoteProtocolError, match="out of order"):
        carry()


def values() -> st.SearchStrategy[Value]:
    """Anything that can be said."""
    leaves = st.one_of(
        st.integers(0, 16),
        st.integers(0, 2**64 - 1),
        st.booleans(),
        st.binary(max_size=9),
        st.text(max_size=3),
        st.just(encode_group(1, 1, [b"x"])),
    )
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=5), max_leaves=12)


@given(st.lists(values(), max_size=8))
def test_any_array_is_a_message_or_refused(value: list[Value]) -> None:
    """Whatever stands in the array of a message: a message, or RemoteProtocolError."""
    try:
        numbered = decode_message(value, sender=SENDER, to=TO)
    except RemoteProtocolError:
        return
    assert value == encode_message(numbered)
