"""The messages of members on the wire: one table, from which both directions and the document come.

A message is a CBOR array: its sequence number, its kind, its term, then its fields in the table's
order. Who sends and who receives is known from the hello and not repeated. Groups of entries
travel in the form they have on the disk, checksum and all, and are verified here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from trioetcd import raft
from trioetcd.questions import LeaseAnswer, LeaseQuestion, Question
from trioetcd.raft import CorruptGroupError, Group, decode_group
from trioetcd.values import MemberID, Term
from trioetcd.wire.cbor import Value, all_bytes, as_array, as_bytes, as_flag, as_number
from trioetcd.wire.errors import RemoteProtocolError

__all__ = [
    "MESSAGES",
    "FieldKind",
    "MessageRow",
    "Numbered",
    "PeerMessage",
    "decode_message",
    "encode_message",
    "item_count",
    "message_bytes",
]

COUNT_BITS: Final = 63
"""Indexes, terms and sequence numbers: one more can always be counted in 64 bits."""

NUMBER_BITS: Final = 64

_ITEM_BYTES: Final = 9
_HEAD_ITEMS: Final = 3
_LENGTH_MAX: Final = 2**32


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


def _groups_in(value: Value) -> tuple[Group, ...]:
    groups = []
    for item in as_array(value):
        try:
            groups.append(decode_group(as_bytes(item, _LENGTH_MAX)))
        except CorruptGroupError as error:
            raise RemoteProtocolError(f"a message with damaged entries: {error}") from None
    return tuple(groups)


def _datas_in(value: Value) -> list[bytes]:
    return all_bytes(as_array(value))


def _count_in(value: Value) -> int:
    return as_number(value, COUNT_BITS)


def _number_in(value: Value) -> int:
    return as_number(value, NUMBER_BITS)


_READERS: Final[dict[FieldKind, Callable[[Value], object]]] = {
    FieldKind.COUNT: _count_in,
    FieldKind.NUMBER: _number_in,
    FieldKind.FLAG: as_flag,
    FieldKind.GROUPS: _groups_in,
    FieldKind.DATAS: _datas_in,
}
# Looked up once: a key that is a member of an enumeration is hashed by Python.
_BY_KIND: Final = {
    row.kind: (row.cls, tuple(_READERS[kind] for _, kind in row.fields)) for row in MESSAGES
}
_KINDS: Final = {row.cls: row.kind for row in MESSAGES}


def encode_message(numbered: Numbered) -> list[Value]:
    """Give the array of a message; sender and receiver are not part of it."""
    sequence, message = numbered
    kind = _KINDS[type(message)]
    if isinstance(message, raft.AppendEntries):
        return [sequence, kind, *message[2:-1], [group.encoded for group in message.groups]]
    # Any other message's fields, after `to` and `sender`, are what is written.
    return [sequence, kind, *message[2:]]


def decode_message(value: Value, *, sender: MemberID, to: MemberID) -> Numbered:
    """Read the array of a message.

    Raises:
        RemoteProtocolError: there is no such message; entries are damaged or do not follow each
            other.
    """
    items = as_array(value)
    if len(items) < _HEAD_ITEMS:
        raise RemoteProtocolError("a message without sequence, kind and term")
    sequence, kind, term, *fields = items
    row = _BY_KIND.get(as_number(kind, 8))
    if row is None:
        raise RemoteProtocolError("a message of no known kind")
    cls, readers = row
    if len(fields) != len(readers):
        raise RemoteProtocolError(f"a message of kind {kind!r} has {len(readers)} fields")
    read = [reader(field) for reader, field in zip(readers, fields, strict=True)]
    message = cls(to, sender, Term(as_number(term, COUNT_BITS)), *read)
    if isinstance(message, raft.AppendEntries) and message.groups:
        _check_order(message)
    return Numbered(as_number(sequence, COUNT_BITS), message)


def _check_order(message: raft.AppendEntries) -> None:
    """Entries follow `prev` and each other, and no term goes back or beyond the sender's."""
    groups = message.groups
    ends = [(message.prev_index, message.prev_term), *((each.last, each.term) for each in groups)]
    ordered = all(
        each.first == last + 1 and each.term >= term
        for (last, term), each in zip(ends, groups, strict=False)
    )
    if not ordered or ends[-1][1] > message.term or ends[-1][0] >> COUNT_BITS:
        raise RemoteProtocolError("a message with entries out of order")


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
