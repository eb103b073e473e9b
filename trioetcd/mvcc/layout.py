"""The tables of the key space: how a row's key and value are laid out.

Every table begins with the store's epoch byte and a letter; integers are big-endian, so that
rows lie in the order of their numbers.

=====  ==================================  =================================================
table  key                                 value
=====  ==================================  =================================================
``c``  key                                 create, mod, version, lease; the KeyValue field
``o``  escaped key, mod                    end revision, then the old ``c`` row
``r``  revision, sub                       kind, previous mod, chain hash, old bytes, key
``r``  (nothing)                           how far physical compaction has come
``s``  (nothing)                           the bytes of all rows that are kept
``n``  first key of a block                number of live keys in the block
=====  ==================================  =================================================

The bytes in ``s`` are those of tables ``c``, ``o``, ``r`` and of the leases' table ``l``, keys and
values; what a record's event added to table ``o``, its *old bytes*, goes when compaction does.

An ``o`` row is what a read at a revision in ``mod <= R < end`` finds; a deleted key simply has
no such row. What reads and writes the tables lives beside this module, not in it.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "CREATED",
    "DELETED",
    "KEY_BYTES",
    "LEASE_BYTES",
    "META",
    "META_SIZE",
    "OLD_BYTES",
    "ONE",
    "RECORD",
    "RECORD_BYTES",
    "RECORD_SIZE",
    "REVISION_SUB",
    "SHADOWED",
    "TWO",
    "Tables",
    "after",
    "escape",
    "unescape",
    "value_of",
]

META: Final = Struct(">qqqq")
"""The head of a ``c`` row: create revision, mod revision, version, lease."""

META_SIZE: Final = META.size

ONE: Final = Struct(">q")
TWO: Final = Struct(">qq")
"""One or two 64-bit numbers: a revision, a count; an end revision before an old mod."""

REVISION_SUB: Final = Struct(">qI")
"""The key of an ``r`` row after its letter."""

RECORD: Final = Struct(">BqIi")
"""The head of an ``r`` row: kind bits, previous mod revision (0: none), chain hash, old bytes."""

RECORD_SIZE: Final = RECORD.size

KEY_BYTES: Final = 2
"""What a ``c`` row takes beside the key and the value that is stored."""

OLD_BYTES: Final = 2 + ONE.size + ONE.size
"""What an ``o`` row takes beside the escaped key and the old ``c`` row's value."""

RECORD_BYTES: Final = 2 + REVISION_SUB.size + RECORD_SIZE
"""What an ``r`` row takes beside the key."""

LEASE_BYTES: Final = 2 + 8
"""What the row of a key on a lease takes beside the key (`trioetcd.lease`)."""

DELETED: Final = 1
"""Kind bit: the event is a deletion; else it is a put."""

CREATED: Final = 2
"""Kind bit: the put made a key that was not there."""

SHADOWED: Final = 4
"""Kind bit: an ``o`` row of this same revision was written, because one txn wrote twice."""


class Tables:
    """The prefixes of one epoch's tables.

    Attributes:
        current, old, revisions, counts: the prefixes.
        kept: the row of the bytes that are kept.
        current_end, old_end, revisions_end, counts_end: the first raw key behind each table.
    """

    __slots__ = (
        "counts",
        "counts_end",
        "current",
        "current_end",
        "kept",
        "old",
        "old_end",
        "revisions",
        "revisions_end",
    )

    def __init__(self, epoch: bytes) -> None:
        assert len(epoch) == 1
        self.current = epoch + b"c"
        self.current_end = epoch + b"d"
        self.counts = epoch + b"n"
        self.counts_end = epoch + b"o"
        self.old = epoch + b"o"
        self.old_end = epoch + b"p"
        self.revisions = epoch + b"r"
        self.revisions_end = self.kept = epoch + b"s"


def escape(key: bytes) -> bytes:
    r"""Give `key` a form in which it can be followed by a number and keeps its order.

    A zero byte becomes ``00 ff`` and the end is ``00 01``, which sorts before it.
    """
    return key.replace(b"\0", b"\0\xff") + b"\0\x01"


def unescape(escaped: bytes) -> bytes:
    """Undo `escape`."""
    assert escaped.endswith(b"\0\x01")
    return escaped[:-2].replace(b"\0\xff", b"\0")


def after(key: bytes) -> bytes:
    """Give the first key behind `key`."""
    return key + b"\0"


def value_of(kv: bytes) -> bytes:
    """Cut the value out of a KeyValue field as it is stored.

    The fields are written in the order of their numbers (key, create, mod, version, value,
    lease), the default ones left out, so skipping to field 5 is enough.
    """
    position = 1
    while kv[position] >= 0x80:
        position += 1
    position += 1
    end = len(kv)
    while position < end:
        tag = kv[position]
        position += 1
        number = shift = 0
        while True:
            byte = kv[position]
            position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if tag == 0x2A:
            return kv[position : position + number]
        if tag == 0x0A:
            position += number
    return b""
