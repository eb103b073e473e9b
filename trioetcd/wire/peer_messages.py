"""The messages of members on the wire: one table, from which both directions and the document come.

A message is a CBOR array: its sequence number, its kind, its term, then its fields in the table's
order. Who sends and who receives is known from the hello and not repeated. Groups of entries
travel in the form they have on the disk, checksum and all, and are verified here.

CBOR leaves open in how many octets a number is said. Here every number has eight, and every
length of a byte string four, so that each kind of message has a fixed layout, which `struct`
writes and reads in one call; nothing else is taken. Any reader of CBOR reads it, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import Enum
from operator import itemgetter
from struct import Struct
from typing import Any, Final, NamedTuple

from trioetcd import raft
from trioetcd.questions import LeaseAnswer, LeaseQuestion, Question
from trioetcd.raft import CorruptGroupError, Group, decode_group
from trioetcd.values import MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.peer_frames import FrameKind

__all__ = [
    "MESSAGES",
    "FieldKind",
    "MessageRow",
    "Numbered",
    "PeerMessage",
    "decode_messages",
    "encode_messages",
    "item_count",
    "message_bytes",
]

COUNT_BITS: Final = 63
"""Indexes, terms and sequence numbers: one more can always be counted in 64 bits."""

_ITEM_BYTES: Final = 9
_HEAD_ITEMS: Final = 3
_FRAME_KIND: Final = bytes((FrameKind.MESSAGES,))


PeerMessage = raft.Message | Question
"""What members say to each other on a connection for messages."""


class FieldKind(Enum):
    """What a field is; the value says so in the document."""

    COUNT = "number below 2^63"
    NUMBER = "number below 2^64"
    FLAG = "boolean"
    GROUPS = "array of encoded groups"
    DATAS = "array of entries"


class MessageRow(NamedTuple):
    """One kind of message.

    Attributes:
        kind: its number on the wire; a number is never used again for something else.
        cls: its class.
        fields: the names of its fields after `to`, `sender` and `term`, and what they are.
    """

    kind: int
    cls: Callable[..., PeerMessage]
    fields: tuple[tuple[str, FieldKind], ...]


_COUNT, _NUMBER, _FLAG = FieldKind.COUNT, FieldKind.NUMBER, FieldKind.FLAG

MESSAGES: Final[tuple[MessageRow, ...]] = (
    MessageRow(1, raft.PreVote, (("last_index", _COUNT), ("last_term", _COUNT))),
    MessageRow(2, raft.PreVoteReply, (("granted", _FLAG),)),
    MessageRow(
        3,
        raft.RequestVote,
        (("last_index", _COUNT), ("last_term", _COUNT), ("transfer", _FLAG)),
    ),
    MessageRow(4, raft.RequestVoteReply, (("granted", _FLAG),)),
    MessageRow(
        5,
        raft.AppendEntries,
        (
            ("prev_index", _COUNT),
            ("prev_term", _COUNT),
            ("commit", _COUNT),
            ("groups", FieldKind.GROUPS),
        ),
    ),
    MessageRow(
        6,
        raft.AppendEntriesReply,
        (
            ("index", _COUNT),
            ("rejected", _FLAG),
            ("hint_index", _COUNT),
            ("hint_term", _COUNT),
        ),
    ),
    MessageRow(7, raft.Heartbeat, (("commit", _COUNT), ("round", _COUNT))),
    MessageRow(8, raft.HeartbeatReply, (("round", _COUNT),)),
    MessageRow(9, raft.InstallSnapshotReply, (("index", _COUNT), ("rejected", _FLAG))),
    MessageRow(10, raft.TimeoutNow, ()),
    MessageRow(11, raft.Propose, (("datas", FieldKind.DATAS),)),
    MessageRow(12, raft.ReadIndex, (("context", _NUMBER),)),
    MessageRow(13, raft.ReadIndexReply, (("context", _NUMBER), ("index", _COUNT))),
    MessageRow(14, LeaseQuestion, (("context", _NUMBER), ("lease", _NUMBER), ("renew", _FLAG))),
    MessageRow(15, LeaseAnswer, (("context", _NUMBER), ("known", _FLAG), ("seconds", _COUNT))),
)
"""Every message that members send each other."""


class Numbered(NamedTuple):
    """A message with the number its sender gave it.

    Attributes:
        sequence: strictly grows over everything the sender sends in one boot.
        message: of Raft, or a question.
    """

    sequence: int
    message: PeerMessage


# -- the layout -------------------------------------------------------------------------------

_ARRAY, _NUMBER_HEAD, _FALSE = 0x80, 0x1B, 0xF4  # heads of CBOR (RFC 8949, section 3)
_LONG_ARRAY: Final = Struct(">BI")
_BYTES: Final = Struct(">BI")
_LONG_ARRAY_HEAD, _BYTES_HEAD = 0x9A, 0x5A
_SHORT_ARRAY_MAX: Final = 23
_TAILS: Final = frozenset({FieldKind.GROUPS, FieldKind.DATAS})
_KIND_AT: Final = 10
"""Where a message's kind stands: after the head of its array and its sequence."""


class _Layout:
    """How one kind of message stands on the wire, up to the array of bytes that may end it.

    Heads and values take turns, so that one slice takes out either. What is a head alone is
    paired with no octets, and so is a boolean, which is a value without a head.
    """

    __slots__ = ("blank", "cls", "counts", "flags", "heads", "pack", "size", "tail", "unpack_from")

    def __init__(self, row: MessageRow) -> None:
        kinds = [kind for _, kind in row.fields]
        self.cls = row.cls
        self.tail = kinds.pop() if kinds and kinds[-1] in _TAILS else None
        pairs: list[tuple[str, int | bytes]] = [
            ("B0s", _ARRAY + _HEAD_ITEMS + len(row.fields)),
            ("BQ", _NUMBER_HEAD),
            ("B0s", row.kind),
            ("BQ", _NUMBER_HEAD),
            *(("0sB", b"") if kind is FieldKind.FLAG else ("BQ", _NUMBER_HEAD) for kind in kinds),
        ]
        layout = Struct(">" + "".join(form for form, _ in pairs))
        self.pack = layout.pack
        self.unpack_from = layout.unpack_from
        self.size = layout.size
        self.heads = tuple(head for _, head in pairs)
        self.blank: list[Any] = [each for head in self.heads for each in (head, None)]
        of_kinds = [None, FieldKind.COUNT, None, FieldKind.COUNT, *kinds]
        counts = [at for at, kind in enumerate(of_kinds) if kind is FieldKind.COUNT]
        self.counts: Callable[[Sequence[int]], tuple[int, ...]] = itemgetter(*counts)
        self.flags = [at for at, kind in enumerate(of_kinds) if kind is FieldKind.FLAG]


_LAYOUTS: Final = {row.kind: _Layout(row) for row in MESSAGES}
_BY_CLASS: Final = {row.cls: _LAYOUTS[row.kind] for row in MESSAGES}


_SHORT_ARRAYS: Final = [bytes((_ARRAY + count,)) for count in range(_SHORT_ARRAY_MAX + 1)]


def _array_head(count: int) -> bytes:
    if count <= _SHORT_ARRAY_MAX:
        return _SHORT_ARRAYS[count]
    return _LONG_ARRAY.pack(_LONG_ARRAY_HEAD, count)


def encode_messages(messages: Sequence[Numbered]) -> bytes:
    """Give what a frame of these messages holds; their senders and receivers are not part of it."""
    pieces = [_array_head(1 + len(messages)), _FRAME_KIND]
    for sequence, message in messages:
        layout = _BY_CLASS[type(message)]
        # A message's fields, after `to` and `sender`, are what is written.
        values: list[Any] = [b"", sequence, b"", *message[2:]]
        tail: Sequence[Any] = values.pop() if layout.tail is not None else ()
        for at in layout.flags:
            values[at] += _FALSE
        items = layout.blank.copy()
        items[1::2] = values
        pieces.append(layout.pack(*items))
        if layout.tail is not None:
            pieces.append(_array_head(len(tail)))
            if layout.tail is FieldKind.GROUPS:
                tail = [group.encoded for group in tail]
            for data in tail:
                pieces += (_BYTES.pack(_BYTES_HEAD, len(data)), data)
    return b"".join(pieces)


def decode_messages(
    data: bytes, *, sender: MemberID, to: MemberID, items_max: int
) -> list[Numbered]:
    """Read what a frame of messages holds.

    Args:
        data: all of it.
        sender: who speaks.
        to: who is spoken to.
        items_max: items of all arrays together.

    Raises:
        RemoteProtocolError: it is something else, or not in the layout; entries are damaged or do
            not follow each other; there are too many items.
    """
    try:
        return _decode_messages(data, sender, to, items_max)
    except (IndexError, struct.error):
        raise RemoteProtocolError("a frame ends in the middle of a message") from None


def _decode_messages(data: bytes, sender: MemberID, to: MemberID, items_max: int) -> list[Numbered]:
    count, at = _array_at(data, 0, items_max)
    if count < 2 or data[at] != _FRAME_KIND[0]:
        raise RemoteProtocolError("only messages may come here")
    at += 1
    left = items_max - count
    messages: list[Numbered] = []
    for _ in range(count - 1):
        layout = _LAYOUTS.get(data[at + _KIND_AT])
        if layout is None:
            raise RemoteProtocolError("a message of no known kind")
        items = layout.unpack_from(data, at)
        at += layout.size
        left -= len(layout.heads) - 1
        if items[::2] != layout.heads:
            raise RemoteProtocolError("a message that is not in the layout of its kind")
        values: list[Any] = list(items[1::2])
        if max(layout.counts(values)) >> COUNT_BITS:
            raise RemoteProtocolError(f"a count must be a number of {COUNT_BITS} bits")
        for flag in layout.flags:
            if values[flag] >> 1 != _FALSE >> 1:
                raise RemoteProtocolError("a field must be true or false")
            values[flag] = values[flag] != _FALSE
        if layout.tail is not None:
            length, at = _array_at(data, at, left)
            left -= length
            tail, at = _byte_strings_at(data, at, length)
            values.append(_groups(tail) if layout.tail is FieldKind.GROUPS else tail)
        message = layout.cls(to, sender, *values[_HEAD_ITEMS:])
        if isinstance(message, raft.AppendEntries) and not _counted(message):
            raise RemoteProtocolError("a message with entries out of order")
        messages.append(Numbered(values[1], message))
    if left < 0:
        raise RemoteProtocolError(f"a frame holds more than {items_max} items")
    if at != len(data):
        raise RemoteProtocolError("a frame is not as long as the messages it holds")
    return messages


def _array_at(data: bytes, at: int, count_max: int) -> tuple[int, int]:
    """Read the head of an array; gives how many items it has, and where they begin."""
    count = data[at] - _ARRAY
    end = at + 1
    if not 0 <= count <= _SHORT_ARRAY_MAX:
        head, count = _LONG_ARRAY.unpack_from(data, at)
        end = at + _LONG_ARRAY.size
        if head != _LONG_ARRAY_HEAD or count <= _SHORT_ARRAY_MAX:
            raise RemoteProtocolError("a frame holds something else where an array must be")
    if count > count_max:
        raise RemoteProtocolError("a frame holds too many items")
    return count, end


def _byte_strings_at(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """Read byte strings; gives them, and where they end."""
    strings: list[bytes] = []
    unpack_from = _BYTES.unpack_from
    for _ in range(count):
        head, length = unpack_from(data, at)
        if head != _BYTES_HEAD:
            raise RemoteProtocolError("a frame holds something else where a byte string must be")
        begin = at + _BYTES.size
        at = begin + length
        strings.append(data[begin:at])
    return strings, at


def _groups(encoded: list[bytes]) -> tuple[Group, ...]:
    try:
        return tuple(map(decode_group, encoded))
    except CorruptGroupError as error:
        raise RemoteProtocolError(f"a message with damaged entries: {error}") from None


def _counted(message: raft.AppendEntries) -> bool:
    """Say whether its entries are in order, with indexes that a row holds."""
    groups = message.groups
    return not groups or (raft.in_order(message) and not groups[-1].last >> COUNT_BITS)


def message_bytes(message: PeerMessage) -> int:
    """Give the bytes of a message on the wire, or a few more."""
    if isinstance(message, raft.AppendEntries):
        size = sum(len(group.encoded) + _ITEM_BYTES for group in message.groups)
    elif isinstance(message, raft.Propose):
        size = sum(map(len, message.datas)) + _ITEM_BYTES * len(message.datas)
    else:
        size = 0
    return size + _ITEM_BYTES * 8


def item_count(message: PeerMessage) -> int:
    """Give the items of a message, in all its arrays."""
    if isinstance(message, raft.AppendEntries):
        count = len(message.groups)
    elif isinstance(message, raft.Propose):
        count = len(message.datas)
    else:
        count = 0
    return count + 8
