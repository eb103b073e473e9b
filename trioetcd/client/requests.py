"""Requests as values: what a client asks for, alone or as a step of a transaction.

A transaction reads like the sentence it is::

    await client.txn(
        when=[version("lock", "=", 0)],
        then=[Put("lock", "mine")],
        otherwise=[Get("lock")],
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from trioetcd.keyrange import prefix_end
from trioetcd.schema import messages

__all__ = [
    "Compare",
    "Data",
    "Delete",
    "Get",
    "Operation",
    "Put",
    "Sign",
    "Sort",
    "Txn",
    "create_revision",
    "encode",
    "lease",
    "mod_revision",
    "value",
    "version",
]

Data = str | bytes
"""A key or value; text is stored as UTF-8. What comes back is always bytes."""

Sign = Literal["=", "!=", "<", ">"]
Sort = Literal["key", "version", "create", "mod", "value"]

_SIGNS: Final[dict[Sign, int]] = {
    "=": messages.Compare.EQUAL,
    "!=": messages.Compare.NOT_EQUAL,
    "<": messages.Compare.LESS,
    ">": messages.Compare.GREATER,
}
_SORTS: Final[dict[Sort, int]] = {
    "key": messages.RangeRequest.KEY,
    "version": messages.RangeRequest.VERSION,
    "create": messages.RangeRequest.CREATE,
    "mod": messages.RangeRequest.MOD,
    "value": messages.RangeRequest.VALUE,
}


def encode(data: Data) -> bytes:
    """Give text as UTF-8, and bytes as they are."""
    return data.encode() if isinstance(data, str) else data


def end_of(key: bytes, end: Data | None, *, prefix: bool) -> bytes:
    """Give the wire form of an interval's end."""
    if prefix:
        assert end is None, "an interval has an end or is a prefix, not both"
        return prefix_end(key)
    return b"" if end is None else encode(end)


def start_of(key: bytes, *, prefix: bool) -> bytes:
    r"""Give the wire form of an interval's start: the empty prefix begins at ``\0``."""
    return b"\0" if prefix and not key else key


@dataclass(frozen=True, slots=True)
class Get:
    r"""Read a key, an interval of keys, or all keys with a prefix.

    Attributes:
        key: the key, the interval's first key, or the prefix.
        end: the first key after the interval; ``\0`` for no end.
        prefix: read all keys that begin with `key`.
        limit: at most so many keys, 0 for all.
        revision: as they stood then, 0 for now.
        sort: order by this instead of the key.
        descending: the other way round.
        serializable: answer from the member's own state, which may lag behind.
        keys_only: leave out the values.
        count_only: only count.
    """

    key: Data
    end: Data | None = None
    prefix: bool = False
    limit: int = 0
    revision: int = 0
    sort: Sort = "key"
    descending: bool = False
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False

    def message(self) -> messages.RangeRequest:
        """Give the wire form."""
        key = encode(self.key)
        order = messages.RangeRequest.DESCEND if self.descending else messages.RangeRequest.NONE
        return messages.RangeRequest(
            key=start_of(key, prefix=self.prefix),
            range_end=end_of(key, self.end, prefix=self.prefix),
            limit=self.limit,
            revision=self.revision,
            sort_order=order,
            sort_target=_SORTS[self.sort],
            serializable=self.serializable,
            keys_only=self.keys_only,
            count_only=self.count_only,
        )

    def operation(self) -> messages.RequestOp:
        """Give the form of a transaction's step."""
        return messages.RequestOp(request_range=self.message())


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key.

    Attributes:
        key: the key.
        value: its new value.
        lease: delete it when this lease ends, 0 for never.
        prev_kv: answer what was there before.
        ignore_value: keep the value it has.
        ignore_lease: keep the lease it has.
    """

    key: Data
    value: Data = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False

    def message(self) -> messages.PutRequest:
        """Give the wire form."""
        return messages.PutRequest(
            key=encode(self.key),
            value=encode(self.value),
            lease=self.lease,
            prev_kv=self.prev_kv,
            ignore_value=self.ignore_value,
            ignore_lease=self.ignore_lease,
        )

    def operation(self) -> messages.RequestOp:
        """Give the form of a transaction's step."""
        return messages.RequestOp(request_put=self.message())


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, an interval of keys, or all keys with a prefix (see `Get`)."""

    key: Data
    end: Data | None = None
    prefix: bool = False
    prev_kv: bool = False

    def message(self) -> messages.DeleteRangeRequest:
        """Give the wire form."""
        key = encode(self.key)
        return messages.DeleteRangeRequest(
            key=start_of(key, prefix=self.prefix),
            range_end=end_of(key, self.end, prefix=self.prefix),
            prev_kv=self.prev_kv,
        )

    def operation(self) -> messages.RequestOp:
        """Give the form of a transaction's step."""
        return messages.RequestOp(request_delete_range=self.message())


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction; made by `version`, `value` and their like."""

    wire: messages.Compare


@dataclass(frozen=True, slots=True)
class Txn:
    """If every condition holds do `then`, else do `otherwise`; all at one revision."""

    when: Sequence[Compare] = ()
    then: Sequence[Operation] = ()
    otherwise: Sequence[Operation] = ()

    def message(self) -> messages.TxnRequest:
        """Give the wire form."""
        return messages.TxnRequest(
            compare=[condition.wire for condition in self.when],
            success=[step.operation() for step in self.then],
            failure=[step.operation() for step in self.otherwise],
        )

    def operation(self) -> messages.RequestOp:
        """Give the form of a transaction's step."""
        return messages.RequestOp(request_txn=self.message())


Operation = Get | Put | Delete | Txn
"""A step of a transaction."""


def _compare(key: Data, sign: Sign, end: Data | None, target: int) -> messages.Compare:
    return messages.Compare(
        key=encode(key),
        range_end=b"" if end is None else encode(end),
        result=_SIGNS[sign],
        target=target,
    )


def version(key: Data, sign: Sign, number: int, *, end: Data | None = None) -> Compare:
    """Compare how often the key was written; 0 means that it does not exist."""
    wire = _compare(key, sign, end, messages.Compare.VERSION)
    wire.version = number
    return Compare(wire)


def create_revision(key: Data, sign: Sign, number: int, *, end: Data | None = None) -> Compare:
    """Compare when the key came into being; 0 means that it does not exist."""
    wire = _compare(key, sign, end, messages.Compare.CREATE)
    wire.create_revision = number
    return Compare(wire)


def mod_revision(key: Data, sign: Sign, number: int, *, end: Data | None = None) -> Compare:
    """Compare when the key was last changed; 0 means that it does not exist."""
    wire = _compare(key, sign, end, messages.Compare.MOD)
    wire.mod_revision = number
    return Compare(wire)


def value(key: Data, sign: Sign, data: Data, *, end: Data | None = None) -> Compare:
    """Compare the value; false for a key that does not exist."""
    wire = _compare(key, sign, end, messages.Compare.VALUE)
    wire.value = encode(data)
    return Compare(wire)


def lease(key: Data, sign: Sign, number: int, *, end: Data | None = None) -> Compare:
    """Compare the lease the key is attached to; 0 means none."""
    wire = _compare(key, sign, end, messages.Compare.LEASE)
    wire.lease = number
    return Compare(wire)
