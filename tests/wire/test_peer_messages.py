"""Tests of `trioetcd.wire.peer_messages`: the table, there and back, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from inspect import signature
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.peer_conversation import SENDER, TO, message_of, some_of_each
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
    decode_messages,
    encode_messages,
    item_count,
    message_bytes,
)

LIMITS = PeerLimits()


def name_of(row: MessageRow) -> str:
    return row.cls.__name__


def read(data: bytes) -> list[Numbered]:
    return decode_messages(data, sender=SENDER, to=TO, items_max=LIMITS.items_max)


def laid_out(value: Any, *, wide: bool = True) -> bytes:
    """Write a value as messages are: numbers in eight octets, if `wide`, lengths in four."""
    match value:
        case int() if wide and not isinstance(value, bool):
            return b"\x1b" + value.to_bytes(8, "big")
        case bytes():
            return b"\x5a" + len(value).to_bytes(4, "big") + value
        case list():
            count = len(value)
            return bytes((0x80 + count,)) if count < 24 else b"\x9a" + count.to_bytes(4, "big")
        case _:
            return encode([value])[1:]


def in_frame(*messages: Any) -> bytes:
    """Write a frame in the layout of messages, whatever it holds."""
    pieces = [laid_out([4, *messages]), b"\x04"]
    for message in messages:
        pieces.append(laid_out(message))
        if isinstance(message, list):
            for at, field in enumerate(message):
                pieces.append(laid_out(field, wide=at != 1))  # but for the kind
                if isinstance(field, list):
                    pieces += map(laid_out, field)
    return b"".join(pieces)


def back(*messages: list[Any]) -> list[Numbered]:
    """Carry arrays of messages over the wire."""
    return read(in_frame(*messages))


def array_of(numbered: Numbered) -> list[Any]:
    """Give a message as any reader of CBOR reads it."""
    message = decode(encode_messages([numbered]), items_max=LIMITS.items_max)[1]
    assert isinstance(message, list)
    return message


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

        assert [sent] == read(encode_messages([sent])), f"seed {seed}"


@pytest.mark.parametrize("count", [1, 22, 23, 24, 300])
def test_any_number_of_messages_in_a_frame(count: int) -> None:
    """Messages of all kinds come back in order, however many there are, and are CBOR on the way."""
    sent = [message for seed in range(7) for message in some_of_each(seed)][:count]
    data = encode_messages(sent)

    assert sent == read(data)
    assert data == in_frame(*decode(data, items_max=LIMITS.items_max)[1:])


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_frame_that_ends_early(cut: int) -> None:
    """A frame that lacks some of its last octets, or has one too many, is refused."""
    for data in (
        encode_messages(some_of_each(3))[:-cut],
        encode_messages(some_of_each(cut)) + b"0",
    ):
        with pytest.raises(RemoteProtocolError):
            read(data)


def test_a_short_array_has_a_short_head() -> None:
    """An array of up to 23 items with the head of a longer one is refused, whichever it is."""
    data = encode_messages([Numbered(1, raft.Propose(TO, SENDER, Term(1), [b"a", b"b"]))])
    assert data.count(b"\x82") == 2  # the frame's, and that of the entries
    for at in (0, data.rindex(b"\x82")):
        with pytest.raises(RemoteProtocolError, match="where an array must be"):
            read(data[:at] + b"\x9a\0\0\0\2" + data[at + 1 :])


def test_items_are_counted() -> None:
    """A frame of more items than are allowed is refused, whichever arrays hold them."""
    datas = [b""] * 50
    sent = [Numbered(at, raft.Propose(TO, SENDER, Term(1), datas)) for at in range(3)]
    data = encode_messages(sent)
    enough = 1 + sum(len(array_of(each)) + 50 for each in sent)
    for items_max in range(enough):
        with pytest.raises(RemoteProtocolError, match="items"):
            decode_messages(data, sender=SENDER, to=TO, items_max=items_max)
    assert sent == decode_messages(data, sender=SENDER, to=TO, items_max=enough)


@pytest.mark.parametrize("row", MESSAGES, ids=name_of)
def test_the_estimates_are_from_above(row: MessageRow) -> None:
    """A message takes no more bytes and no more items than it is said to."""
    for seed in range(100):
        message = message_of(row, random.Random(seed))
        written = encode_messages([Numbered(2**63 - 1, message)])[2:]
        items = 1 + len(message) + sum(len(part) for part in message if isinstance(part, list))

        assert len(written) <= message_bytes(message), f"seed {seed}"
        assert items - 1 <= item_count(message), f"seed {seed}"


def test_a_group_keeps_its_bytes() -> None:
    """What is stored of a received group is what was sent, not encoded again."""
    group = Group(Index(8), Term(3), [b"a", b"b"])
    sent = raft.AppendEntries(TO, SENDER, Term(3), Index(7), Term(3), Index(0), (group,))
    received = read(encode_messages([Numbered(1, sent)]))[0].message

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
    good = array_of(Numbered(1, message_of(row, random.Random(1))))
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
    good = array_of(Numbered(1, message_of(row, random.Random(1))))
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
        read(encode_messages([Numbered(1, message)]))

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


@given(st.lists(st.lists(values(), max_size=8), max_size=3))
def test_any_array_is_a_message_or_refused(arrays: list[list[Value]]) -> None:
    """Whatever stands in the array of a message: a message, or RemoteProtocolError."""
    try:
        messages = back(*arrays)
    except RemoteProtocolError:
        return
    assert [*arrays] == [array_of(message) for message in messages]


@given(st.integers(0, 99), st.data())
def test_any_change_is_a_message_or_refused(seed: int, data: st.DataObject) -> None:
    """A frame with any octets changed is a frame of messages that is written so, or refused."""
    frame = bytearray(encode_messages(some_of_each(seed, 1)))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        messages = read(bytes(frame))
    except RemoteProtocolError:
        return
    assert bytes(frame) == encode_messages(messages)
