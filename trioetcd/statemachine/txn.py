"""Transactions: which branches are taken, whether they can be done, and doing them.

All compares of all nesting levels are evaluated first, against the state before the txn; then
every operation on the path is checked against that state; then they are done in order, each
seeing what those before it did (etcd).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from operator import eq, gt, lt, ne
from typing import Final, NamedTuple, Protocol

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import RangeCursor, RangeQuery, Store, WriteTxn
from trioetcd.mvcc.layout import META, META_SIZE, value_of
from trioetcd.mvcc.write import STEP_ROWS
from trioetcd.ports import Row
from trioetcd.schema import fastpath, messages
from trioetcd.schema.fastpath import header_field, range_tail, response_op

__all__ = ["STEP_BYTES", "Branch", "check_path", "execute", "holds", "path_of", "query_of", "read"]

STEP_BYTES: Final = 1 << 20
"""Bytes read between two pauses."""

_VERSION, _CREATE, _MOD, _VALUE, _LEASE = range(5)
_RESULTS: Final = (eq, gt, lt, ne)
_NOTHING: Final = META.pack(0, 0, 0, 0)

_EMPTY_HEADER: Final = b"\n\x00"
"""A nested txn's answer has a header without anything in it (etcd)."""


class Branch(NamedTuple):
    """The branch a txn takes, with those its nested txns take, in order."""

    succeeded: bool
    operations: Sequence[messages.RequestOp]
    nested: list[Branch]


class Leases(Protocol):
    """Which leases there are."""

    def __contains__(self, lease: int, /) -> bool: ...


class _NoLeases:
    def __contains__(self, lease: int, /) -> bool:
        return False


class _View(Protocol):
    """What compares read: the state before the txn."""

    def get(self, raw: bytes, /) -> bytes | None: ...
    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]: ...


def path_of(store: Store, request: messages.TxnRequest) -> Generator[None, None, Branch]:
    """Evaluate the compares of a txn and of the nested ones on its path."""
    succeeded = True
    for compare in request.compare:
        if not compare.range_end:
            holding = holds(compare, store.current(compare.key))
        else:
            holding = yield from _holdingall(store, compare)
        if not holding:
            succeeded = False
            break
    operations = request.success if succeeded else request.failure
    nested: list[Branch] = []
    for operation in operations:
        if operation.HasField("request_txn"):
            branch = yield from path_of(store, operation.request_txn)
            nested.append(branch)
    return Branch(succeeded, operations, nested)


def holds(compare: messages.Compare, row: bytes | None) -> bool:
    """Evaluate a compare of one key whose row is `row`."""
    if row is None:
        return compare.target != _VALUE and _compare(compare, _NOTHING)
    return _compare(compare, row)


def _holdingall(store: Store, compare: messages.Compare) -> Generator[None, None, bool]:
    keys = KeyRange.from_wire(compare.key, compare.range_end)
    if keys.empty:
        return compare.target != _VALUE and _compare(compare, _NOTHING)
    view: _View = store.space
    tables = store.tables
    start = tables.current + keys.start
    stop = tables.current_end if keys.end is None else tables.current + keys.end
    seen = False
    while True:
        found = list(islice(view.scan(start, stop), STEP_ROWS))
        for _, row in found:
            if not _compare(compare, row):
                return False
        seen = seen or bool(found)
        if len(found) < STEP_ROWS:
            break
        start = found[-1][0] + b"\0"
        yield
    # A value cannot be compared with one that is not there.
    return seen or (compare.target != _VALUE and _compare(compare, _NOTHING))


def _compare(compare: messages.Compare, row: bytes) -> bool:
    target = compare.target
    result = compare.result
    if not 0 <= result < len(_RESULTS):
        return True
    related = _RESULTS[result]
    create, mod, version, lease = META.unpack_from(row)
    if target == _MOD:
        return bool(related(mod, compare.mod_revision))
    if target == _CREATE:
        return bool(related(create, compare.create_revision))
    if target == _VERSION:
        return bool(related(version, compare.version))
    if target == _VALUE:
        return bool(related(value_of(row[META_SIZE:]), compare.value))
    if target == _LEASE:
        return bool(related(lease, compare.lease))
    return bool(related(0, 0))


def check_path(store: Store, leases: Leases, branch: Branch) -> None:
    """Check every operation on the path against the state before the txn.

    Raises:
        EtcdError: COMPACTED, FUTURE_REVISION, LEASE_NOT_FOUND, KEY_NOT_FOUND.
    """
    nested = iter(branch.nested)
    for operation in branch.operations:
        which = operation.WhichOneof("request")
        if which == "request_put":
            put = operation.request_put
            if put.lease and put.lease not in leases:
                raise EtcdError(errors.LEASE_NOT_FOUND)
            if (put.ignore_value or put.ignore_lease) and store.current(put.key) is None:
                raise EtcdError(errors.KEY_NOT_FOUND)
        elif which == "request_range":
            revision = operation.request_range.revision
            if revision > store.revision:
                raise EtcdError(errors.FUTURE_REVISION)
            if revision != 0 and revision < store.compact_revision:
                raise EtcdError(errors.COMPACTED)
        elif which == "request_txn":
            check_path(store, leases, next(nested))


def execute(
    txn: WriteTxn, branch: Branch, *, answer: bool, top: bool = True
) -> Generator[None, None, bytes]:
    """Do the operations of a path; gives the TxnResponse, without header at the top.

    Args:
        txn: where the changes go.
        branch: the path.
        answer: whether anybody wants the answer; if not, ranges are left out.
        top: whether this is the outermost txn.
    """
    fields: list[bytes] = []
    nested = iter(branch.nested)
    for operation in branch.operations:
        which = operation.WhichOneof("request")
        if which == "request_put":
            body = put(txn, operation.request_put)
            fields.append(response_op(fastpath.RESPONSE_PUT, _header(txn) + body))
        elif which == "request_range":
            body = b""
            header = _header(txn)
            if answer:
                body = yield from _range(txn, operation.request_range)
            fields.append(response_op(fastpath.RESPONSE_RANGE, header + body))
        elif which == "request_delete_range":
            request = operation.request_delete_range
            number, previous = yield from txn.delete_range(
                KeyRange.from_wire(request.key, request.range_end), want_previous=request.prev_kv
            )
            body = fastpath.delete_range_body(number, previous)
            fields.append(response_op(fastpath.RESPONSE_DELETE_RANGE, _header(txn) + body))
        elif which == "request_txn":
            body = yield from execute(txn, next(nested), answer=answer, top=False)
            fields.append(response_op(fastpath.RESPONSE_TXN, body))
    body = fastpath.txn_body(fields, succeeded=branch.succeeded)
    return body if top else _EMPTY_HEADER + body


def _header(txn: WriteTxn) -> bytes:
    return header_field(b"", txn.revision, 0)


def put(txn: WriteTxn, request: messages.PutRequest) -> bytes:
    """Put as a request says; gives the PutResponse without header.

    Raises:
        EtcdError: KEY_NOT_FOUND if something of the old key is to be kept and it is gone.
    """
    key = request.key
    value = request.value
    lease = request.lease
    if request.ignore_value or request.ignore_lease:
        old = txn.current(key)
        if old is None:
            raise EtcdError(errors.KEY_NOT_FOUND)
        if request.ignore_value:
            value = value_of(old[META_SIZE:])
        if request.ignore_lease:
            lease = META.unpack_from(old)[3]
    old = txn.put(key, value, lease)
    return old[META_SIZE:] if old is not None and request.prev_kv else b""


def _range(txn: WriteTxn, request: messages.RangeRequest) -> Generator[None, None, bytes]:
    cursor = txn.range(query_of(request))
    while not cursor.step(STEP_ROWS, STEP_BYTES):
        yield
    return _range_body(cursor)


def _range_body(cursor: RangeCursor) -> bytes:
    return b"".join((*cursor.kvs, range_tail(more=cursor.more, count=cursor.count)))


def query_of(request: messages.RangeRequest) -> RangeQuery:
    """Turn a checked Range into the store's form."""
    return RangeQuery(
        KeyRange.from_wire(request.key, request.range_end),
        request.revision,
        request.limit,
        request.sort_order,
        request.sort_target,
        request.keys_only,
        request.count_only,
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )


def read(store: Store, request: messages.TxnRequest) -> Generator[None, None, bytes]:
    """Do a txn that only reads, in steps that all see the state of the first one.

    The ranges are begun in the first step, which pins what they need.

    Returns:
        The TxnResponse without header.

    Raises:
        EtcdError: COMPACTED, FUTURE_REVISION.
    """
    # Compares are not put off: a later step could see other keys than the ranges do.
    branch = _exhaust(path_of(store, request))
    check_path(store, _NoLeases(), branch)
    cursors: list[tuple[RangeCursor, bool]] = []
    _begin_ranges(store, branch, cursors)
    revision = store.revision
    try:
        for cursor, done in cursors:
            finished = done
            while not finished:
                yield
                finished = cursor.step(STEP_ROWS, STEP_BYTES)
    finally:
        for cursor, _ in cursors:
            cursor.close()
    return _read_body(branch, iter(cursors), header_field(b"", revision, 0), top=True)


def _exhaust(steps: Generator[None, None, Branch]) -> Branch:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            branch: Branch = stop.value
            return branch


def _begin_ranges(store: Store, branch: Branch, cursors: list[tuple[RangeCursor, bool]]) -> None:
    nested = iter(branch.nested)
    for operation in branch.operations:
        if operation.HasField("request_range"):
            cursor = store.range(query_of(operation.request_range))
            cursors.append((cursor, cursor.step(STEP_ROWS, STEP_BYTES)))
        else:
            _begin_ranges(store, next(nested), cursors)


def _read_body(
    branch: Branch, cursors: Iterator[tuple[RangeCursor, bool]], header: bytes, *, top: bool
) -> bytes:
    fields: list[bytes] = []
    nested = iter(branch.nested)
    for operation in branch.operations:
        if operation.HasField("request_range"):
            cursor, _ = next(cursors)
            fields.append(response_op(fastpath.RESPONSE_RANGE, header + _range_body(cursor)))
        else:
            body = _read_body(next(nested), cursors, header, top=False)
            fields.append(response_op(fastpath.RESPONSE_TXN, body))
    body = fastpath.txn_body(fields, succeeded=branch.succeeded)
    return body if top else _EMPTY_HEADER + body
