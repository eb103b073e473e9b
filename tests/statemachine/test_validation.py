"""What is refused before any state is looked at, and which error comes first."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.schema import messages
from trioetcd.statemachine import gates, validation

Op = messages.RequestOp


def put(key: bytes, value: bytes = b"") -> messages.RequestOp:
    """Make a put."""
    return Op(request_put=messages.PutRequest(key=key, value=value))


def delete(key: bytes, range_end: bytes = b"") -> messages.RequestOp:
    """Make a deletion."""
    return Op(request_delete_range=messages.DeleteRangeRequest(key=key, range_end=range_end))


def read(key: bytes = b"k", *, serializable: bool = False) -> messages.RequestOp:
    """Make a range."""
    return Op(request_range=messages.RangeRequest(key=key, serializable=serializable))


def txn(
    *success: messages.RequestOp,
    failure: tuple[messages.RequestOp, ...] = (),
    compares: int = 0,
) -> messages.TxnRequest:
    """Make a txn."""
    return messages.TxnRequest(
        compare=[messages.Compare(key=b"k")] * compares, success=success, failure=failure
    )


def nested(request: messages.TxnRequest) -> messages.RequestOp:
    """Put a txn into a txn."""
    return Op(request_txn=request)


def error_of(request: messages.TxnRequest, operations_max: int | None = 128) -> ErrorRow | None:
    """Give the error a txn is refused with."""
    try:
        validation.check_txn(request, operations_max)
    except EtcdError as error:
        return error.row
    return None


PUTS = [
    (messages.PutRequest(), errors.EMPTY_KEY),
    (messages.PutRequest(ignore_value=True, value=b"v"), errors.EMPTY_KEY),
    (
        messages.PutRequest(key=b"k", ignore_value=True, value=b"v", ignore_lease=True, lease=1),
        errors.VALUE_PROVIDED,
    ),
    (messages.PutRequest(key=b"k", ignore_lease=True, lease=1), errors.LEASE_PROVIDED),
]


@pytest.mark.parametrize(("request_", "row"), PUTS)
def test_put(request_: messages.PutRequest, row: ErrorRow) -> None:
    """A Put is refused for its key, then its value, then its lease; alike inside a txn."""
    with pytest.raises(EtcdError) as refused:
        validation.check_put(request_)
    assert row == refused.value.row
    assert row == error_of(txn(failure=(Op(request_put=request_),)))


@pytest.mark.parametrize(
    ("request_", "row"),
    [
        (messages.RangeRequest(sort_order=messages.RangeRequest.DESCEND), errors.EMPTY_KEY),
        (messages.RangeRequest(key=b"k", sort_order=3), errors.INVALID_SORT_OPTION),
        (messages.RangeRequest(key=b"k", sort_target=-1), errors.INVALID_SORT_OPTION),
    ],
)
def test_range(request_: messages.RangeRequest, row: ErrorRow) -> None:
    """A Range is refused for its key, then for sort options there are not."""
    with pytest.raises(EtcdError) as refused:
        validation.check_range(request_)
    assert row == refused.value.row


def test_delete_range() -> None:
    """A DeleteRange is refused without a key."""
    with pytest.raises(EtcdError) as refused:
        validation.check_delete_range(messages.DeleteRangeRequest(range_end=b"z"))
    assert refused.value.row == errors.EMPTY_KEY


@pytest.mark.parametrize(
    ("request_", "row"),
    [
        (txn(*[put(b"%d" % at) for at in range(128)]), None),
        (txn(*[put(b"")] * 129), errors.TOO_MANY_OPS),
        (txn(compares=129), errors.TOO_MANY_OPS),
        (txn(failure=(put(b""),) * 129), errors.TOO_MANY_OPS),
        # 127 beside the nested one leave nothing for it.
        (txn(nested(txn()), *[read()] * 127), None),
        (txn(nested(txn(put(b"a"))), *[read()] * 127), errors.TOO_MANY_OPS),
        (txn(nested(txn(put(b"a"))), *[read()] * 126), None),
        (txn(nested(txn(compares=2)), *[read()] * 126), errors.TOO_MANY_OPS),
        (txn(Op()), errors.KEY_NOT_FOUND),
        (txn(nested(txn(Op()))), errors.KEY_NOT_FOUND),
        (txn(read(b"")), errors.EMPTY_KEY),
        (messages.TxnRequest(compare=[messages.Compare()], success=[Op()]), errors.EMPTY_KEY),
    ],
)
def test_operations(request_: messages.TxnRequest, row: ErrorRow | None) -> None:
    """A Txn is refused for too many operations, then for what one of them lacks, in order."""
    assert row == error_of(request_)


def test_bound_is_the_proposers() -> None:
    """At apply the number of operations does not matter, everything else does."""
    assert error_of(txn(*[put(b"%d" % at) for at in range(500)]), None) is None
    assert error_of(txn(put(b"a"), put(b"a")), None) == errors.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("request_", "twice"),
    [
        (txn(put(b"a"), put(b"a")), True),
        (txn(put(b"a"), put(b"b")), False),
        (txn(put(b"a"), failure=(put(b"a"),)), False),
        (txn(delete(b"a"), put(b"a")), True),
        (txn(put(b"a"), delete(b"a")), True),
        (txn(put(b"a"), delete(b"a\0")), False),
        (txn(put(b"b"), delete(b"a", b"c")), True),
        (txn(put(b"c"), delete(b"a", b"c")), False),
        (txn(delete(b"a", b"z"), delete(b"b", b"c"), put(b"x")), True),
        (txn(delete(b"a"), delete(b"a")), False),
        # As in etcd, a deletion of everything from a key on is taken literally, as an empty one.
        (txn(put(b"b"), delete(b"a", b"\0")), False),
        (txn(put(b"b"), delete(b"c", b"a")), False),
        (txn(nested(txn(put(b"a"), failure=(put(b"a"),)))), False),
        (txn(nested(txn(put(b"a"))), nested(txn(put(b"a")))), True),
        (txn(nested(txn(put(b"a"))), nested(txn(failure=(put(b"a"),)))), True),
        (txn(nested(txn(put(b"a"))), put(b"a")), True),
        (txn(nested(txn(put(b"a"))), delete(b"a")), True),
        (txn(nested(txn(delete(b"a"))), put(b"a")), True),
        (txn(nested(txn(delete(b"a"), failure=(put(b"a"),)))), False),
        # Nested ones are looked at in order.
        (txn(nested(txn(put(b"a"))), nested(txn(delete(b"a")))), False),
        (txn(nested(txn(delete(b"a"))), nested(txn(put(b"a")))), True),
        (txn(nested(txn(nested(txn(put(b"a"), put(b"a")))))), True),
    ],
)
def test_overlaps(request_: messages.TxnRequest, twice: bool) -> None:  # noqa: FBT001 - a table's column
    """A key put twice, or put and deleted, on one path is refused; in the other branch too."""
    assert (errors.DUPLICATE_KEY if twice else None) == error_of(request_)
    flipped = messages.TxnRequest(success=request_.failure, failure=request_.success)
    assert (errors.DUPLICATE_KEY if twice else None) == error_of(flipped)


@pytest.mark.parametrize(
    ("request_", "read_only", "serializable"),
    [
        (txn(), True, True),
        (txn(compares=1), True, True),
        (txn(read()), True, False),
        (txn(read(serializable=True)), True, True),
        (txn(read(serializable=True), failure=(read(),)), True, False),
        (txn(put(b"a")), False, False),
        (txn(failure=(delete(b"a"),)), False, False),
        (txn(nested(txn(read(serializable=True)))), True, True),
        (txn(nested(txn(read()))), True, False),
        (txn(nested(txn(failure=(put(b"a"),)))), False, False),
    ],
)
def test_kinds(request_: messages.TxnRequest, read_only: bool, serializable: bool) -> None:  # noqa: FBT001 - a table's columns
    """A txn that only reads is known, at any depth, and whether all its reads are serializable."""
    assert read_only == validation.is_read_only(request_)
    assert serializable == validation.is_serializable(request_)


def test_costs() -> None:
    """A txn costs what its dearer branch puts, nested ones included (etcd)."""
    assert gates.put_cost(messages.PutRequest(key=b"abc", value=b"de")) == 261
    request = txn(
        put(b"a", b"1"), nested(txn(put(b"b", b"22"), failure=(put(b"b"),))), failure=(put(b"cc"),)
    )
    assert gates.txn_cost(request) == 258 + 259
    assert gates.has_put(txn(nested(txn(failure=(put(b"a"),)))))
    assert not gates.has_put(txn(delete(b"a"), read()))
