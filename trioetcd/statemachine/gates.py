"""What stands in front of the applier: alarms that refuse, and what a request would cost.

The quota is checked where a request comes in, with `put_cost`, `txn_cost` and `LEASE_COST`; a
member over its quota raises the NOSPACE alarm through the log, and from then on every member's
applier refuses alike (`refusal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trioetcd import errors
from trioetcd.errors import ErrorRow
from trioetcd.schema import messages
from trioetcd.statemachine.alarms import Alarms
from trioetcd.statemachine.command import CommandKind

__all__ = ["KEY_COST", "LEASE_COST", "has_put", "put_cost", "refusal", "txn_cost"]

KEY_COST: Final = 256
"""Bytes taken for a key beside its own and its value's (etcd)."""

LEASE_COST: Final = 64
"""Bytes taken for a lease (etcd)."""

_REFUSED_CORRUPT: Final = frozenset(
    {
        CommandKind.PUT,
        CommandKind.DELETE_RANGE,
        CommandKind.TXN,
        CommandKind.COMPACT,
        CommandKind.LEASE_GRANT,
        CommandKind.LEASE_REVOKE,
    }
)


def put_cost(request: messages.PutRequest) -> int:
    """Give the bytes a Put is taken to need."""
    return KEY_COST + len(request.key) + len(request.value)


def txn_cost(request: messages.TxnRequest) -> int:
    """Give the bytes the dearer branch of a Txn is taken to need, nested ones included."""
    return max(_branch_cost(request.success), _branch_cost(request.failure))


def _branch_cost(operations: Sequence[messages.RequestOp]) -> int:
    cost = 0
    for operation in operations:
        which = operation.WhichOneof("request")
        if which == "request_put":
            cost += put_cost(operation.request_put)
        elif which == "request_txn":
            cost += txn_cost(operation.request_txn)
    return cost


def has_put(request: messages.TxnRequest) -> bool:
    """Whether any branch at any depth puts."""
    return txn_cost(request) > 0


def refusal(alarms: Alarms, kind: int, payload: bytes) -> ErrorRow | None:
    """Give the error with which an alarm refuses a command at apply, if one does."""
    if alarms.corrupt and kind in _REFUSED_CORRUPT:
        return errors.CORRUPT
    if not alarms.no_space:
        return None
    if kind in {CommandKind.PUT, CommandKind.LEASE_GRANT}:
        return errors.NO_SPACE
    if kind == CommandKind.TXN and has_put(messages.TxnRequest.FromString(payload)):
        return errors.NO_SPACE
    return None
