"""What can be said against a request without looking at any state.

The API checks before it proposes; the applier checks again, because an entry may come from
another member. The order of the checks is etcd's, as a client sees it by the first error.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Final

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = [
    "TXN_OPERATIONS_MAX",
    "check_delete_range",
    "check_put",
    "check_range",
    "check_txn",
    "is_read_only",
    "is_serializable",
]

TXN_OPERATIONS_MAX: Final = 128
"""The default bound on compares, on successes and on failures of one txn (etcd)."""

_SORT_ORDERS: Final = 3
_SORT_TARGETS: Final = 5


def check_range(request: messages.RangeRequest) -> None:
    """Check a Range.

    Raises:
        EtcdError: EMPTY_KEY, INVALID_SORT_OPTION.
    """
    if not request.key:
        raise EtcdError(errors.EMPTY_KEY)
    if not 0 <= request.sort_order < _SORT_ORDERS or not 0 <= request.sort_target < _SORT_TARGETS:
        raise EtcdError(errors.INVALID_SORT_OPTION)


def check_put(request: messages.PutRequest) -> None:
    """Check a Put.

    Raises:
        EtcdError: EMPTY_KEY, VALUE_PROVIDED, LEASE_PROVIDED.
    """
    if not request.key:
        raise EtcdError(errors.EMPTY_KEY)
    if request.ignore_value and request.value:
        raise EtcdError(errors.VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise EtcdError(errors.LEASE_PROVIDED)


def check_delete_range(request: messages.DeleteRangeRequest) -> None:
    """Check a DeleteRange.

    Raises:
        EtcdError: EMPTY_KEY.
    """
    if not request.key:
        raise EtcdError(errors.EMPTY_KEY)


def check_txn(request: messages.TxnRequest, operations_max: int | None) -> None:
    """Check a whole Txn, nested ones included.

    Args:
        request: the txn.
        operations_max: the bound on operations; None at apply, where the bound of the member
            that proposed has been kept already and another member's must not matter.

    Raises:
        EtcdError: TOO_MANY_OPS, EMPTY_KEY, KEY_NOT_FOUND (an empty operation), DUPLICATE_KEY,
            and what the other checks raise.
    """
    _check_operations(request, operations_max)
    success = request.success
    failure = request.failure
    if len(success) > 1 or (success and success[0].HasField("request_txn")):
        _check_overlaps(success)
    if len(failure) > 1 or (failure and failure[0].HasField("request_txn")):
        _check_overlaps(failure)


def _check_operations(request: messages.TxnRequest, operations_max: int | None) -> None:
    compares = request.compare
    success = request.success
    failure = request.failure
    budget: int | None = None
    if operations_max is not None:
        used = max(len(compares), len(success), len(failure))
        if used > operations_max:
            raise EtcdError(errors.TOO_MANY_OPS)
        budget = operations_max - used
    for compare in compares:
        if not compare.key:
            raise EtcdError(errors.EMPTY_KEY)
    for branch in (success, failure):
        for operation in branch:
            which = operation.WhichOneof("request")
            if which == "request_range":
                check_range(operation.request_range)
            elif which == "request_put":
                check_put(operation.request_put)
            elif which == "request_delete_range":
                check_delete_range(operation.request_delete_range)
            elif which == "request_txn":
                _check_operations(operation.request_txn, budget)
            else:
                raise EtcdError(errors.KEY_NOT_FOUND)


class _Deleted:
    r"""The intervals a branch deletes; asked whether a key lies in one of them.

    As in etcd, the range end ``\0`` is taken literally here: such an interval is empty, and a
    put beside a "delete everything from here on" is let through.
    """

    def __init__(self) -> None:
        self._intervals: list[tuple[bytes, bytes]] = []
        self._farthest: list[bytes] | None = None

    def add(self, start: bytes, end: bytes) -> None:
        if start < end:
            insort(self._intervals, (start, end))
            self._farthest = None

    def update(self, other: _Deleted) -> None:
        for start, end in other._intervals:
            self.add(start, end)

    def __contains__(self, key: bytes) -> bool:
        farthest = self._farthest
        if farthest is None:
            # The farthest end of all intervals up to each one.
            farthest = []
            end = b""
            for interval in self._intervals:
                end = max(end, interval[1])
                farthest.append(end)
            self._farthest = farthest
        at = bisect_right(self._intervals, key, key=_start)
        return at > 0 and key < farthest[at - 1]


def _start(interval: tuple[bytes, bytes]) -> bytes:
    return interval[0]


def _check_overlaps(operations: Sequence[messages.RequestOp]) -> tuple[dict[bytes, None], _Deleted]:
    """Refuse a key that is put twice, or put and deleted, on one path through a branch.

    Nested txns are looked at in order: one that puts what a later one deletes is let through,
    one that puts what an earlier one deletes is not (etcd).
    """
    deleted = _Deleted()
    puts: dict[bytes, None] = {}
    nested: list[messages.TxnRequest] = []
    own: list[bytes] = []
    for operation in operations:
        which = operation.WhichOneof("request")
        if which == "request_put":
            own.append(operation.request_put.key)
        elif which == "request_delete_range":
            request = operation.request_delete_range
            deleted.add(request.key, request.range_end or request.key + b"\0")
        elif which == "request_txn":
            nested.append(operation.request_txn)
    for txn in nested:
        then_puts, then_deleted = _check_overlaps(txn.success)
        else_puts, else_deleted = _check_overlaps(txn.failure)
        for key in then_puts:
            if key in puts or key in deleted:
                raise EtcdError(errors.DUPLICATE_KEY)
            puts[key] = None
        for key in else_puts:
            # Only one of the two branches is taken, so both may put the same key.
            if (key in puts and key not in then_puts) or key in deleted:
                raise EtcdError(errors.DUPLICATE_KEY)
            puts[key] = None
        deleted.update(then_deleted)
        deleted.update(else_deleted)
    for key in own:
        if key in puts or key in deleted:
            raise EtcdError(errors.DUPLICATE_KEY)
        puts[key] = None
    return puts, deleted


def is_read_only(request: messages.TxnRequest) -> bool:
    """Whether no branch at any depth puts or deletes: such a txn is not proposed."""
    for branch in (request.success, request.failure):
        for operation in branch:
            which = operation.WhichOneof("request")
            if which == "request_txn":
                if not is_read_only(operation.request_txn):
                    return False
            elif which != "request_range":
                return False
    return True


def is_serializable(request: messages.TxnRequest) -> bool:
    """Whether every operation is a serializable range, so that no leader need be asked."""
    for branch in (request.success, request.failure):
        for operation in branch:
            which = operation.WhichOneof("request")
            if which == "request_txn":
                if not is_serializable(operation.request_txn):
                    return False
            elif which != "request_range" or not operation.request_range.serializable:
                return False
    return True
