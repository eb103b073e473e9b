"""Transactions: compares, the short way and the long way, reads in steps."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.auth import AuthStore
from trioetcd.errors import EtcdError
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, Applier, CommandKind, Outcome
from trioetcd.testing.space import DictSpace

Compare = messages.Compare


class NoMembers:
    """Applies nothing."""

    def apply(self, _kind: int, _payload: bytes, /) -> Outcome:
        return 0, b""


class Member:
    """A store with the keys a (lease 7, put twice) and b."""

    def __init__(self) -> None:
        self.space = DictSpace()
        self.store = Store(self.space, epoch=b"\x80", revision=1, compact_revision=-1)
        self.lessor = Lessor(self.space, epoch=b"\x80")
        self.applier = Applier(
            space=self.space,
            store=self.store,
            lessor=self.lessor,
            alarms=Alarms(self.space, epoch=b"\x80"),
            membership=NoMembers(),
            auth=AuthStore(self.space, epoch=b"\x80"),
        )
        self.lessor.grant(7, 60, 0.0)
        for key, value, lease in ((b"a", b"1", 7), (b"b", b"2", 0), (b"a", b"3", 7)):
            self.put(key, value, lease)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        request = messages.PutRequest(key=key, value=value, lease=lease)
        self.applier.apply(CommandKind.PUT, request.SerializeToString())

    def txn(self, request: messages.TxnRequest) -> messages.TxnResponse:
        result = self.applier.apply(CommandKind.TXN, request.SerializeToString())
        assert isinstance(result, tuple)
        response = messages.TxnResponse.FromString(result[1])
        response.header.revision = result[0]
        return response


def op(put: messages.PutRequest) -> messages.RequestOp:
    """Make an operation of a put."""
    return messages.RequestOp(request_put=put)


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare(key=b"a", target=Compare.VERSION, result=Compare.EQUAL, version=2), True),
        (Compare(key=b"a", target=Compare.VERSION, result=Compare.LESS, version=2), False),
        (Compare(key=b"a", target=Compare.CREATE, result=Compare.EQUAL, create_revision=2), True),
        (Compare(key=b"a", target=Compare.MOD, result=Compare.GREATER, mod_revision=3), True),
        (Compare(key=b"a", target=Compare.MOD, result=Compare.NOT_EQUAL, mod_revision=4), False),
        (Compare(key=b"a", target=Compare.VALUE, result=Compare.GREATER, value=b"2"), True),
        (Compare(key=b"a", target=Compare.LEASE, result=Compare.EQUAL, lease=7), True),
        # Another field than the target's counts as zero.
        (Compare(key=b"a", target=Compare.VERSION, result=Compare.GREATER, mod_revision=9), True),
        (Compare(key=b"a", target=Compare.VALUE, result=Compare.GREATER, version=9), True),
        # A key that is not there is all zeros, but its value cannot be compared.
        (Compare(key=b"x", target=Compare.VERSION, result=Compare.EQUAL), True),
        (Compare(key=b"x", target=Compare.MOD, result=Compare.LESS, mod_revision=1), True),
        (Compare(key=b"x", target=Compare.VALUE, result=Compare.EQUAL), False),
        (Compare(key=b"x", target=Compare.VALUE, result=Compare.NOT_EQUAL, value=b"1"), False),
        # Every key of an interval must satisfy; none at all is one that is not there.
        (
            Compare(
                key=b"a", range_end=b"c", target=Compare.MOD, result=Compare.GREATER, mod_revision=2
            ),
            True,
        ),
        (
            Compare(
                key=b"a", range_end=b"c", target=Compare.MOD, result=Compare.GREATER, mod_revision=3
            ),
            False,
        ),
        (
            Compare(key=b"a", range_end=b"\0", target=Compare.LEASE, result=Compare.EQUAL, lease=7),
            False,
        ),
        (Compare(key=b"x", range_end=b"z", target=Compare.CREATE, result=Compare.EQUAL), True),
        (Compare(key=b"x", range_end=b"z", target=Compare.VALUE, result=Compare.NOT_EQUAL), False),
        (Compare(key=b"z", range_end=b"x", target=Compare.VERSION, result=Compare.EQUAL), True),
        # A target or a result there is not.
        (Compare(key=b"a", target=9, result=Compare.EQUAL), True),
        (Compare(key=b"a", target=9, result=Compare.LESS), False),
        (Compare(key=b"a", target=Compare.MOD, result=9), True),
    ],
)
def test_compares(compare: messages.Compare, holds: bool) -> None:  # noqa: FBT001 - a table's column
    """A compare holds or not, alike the short way (one put) and the long way."""
    yes = messages.PutRequest(key=b"yes")
    no = messages.PutRequest(key=b"no")
    short = messages.TxnRequest(compare=[compare], success=[op(yes)], failure=[op(no)])
    long = messages.TxnRequest(compare=[compare], success=[op(yes)], failure=[op(no)])
    long.success.add(request_range=messages.RangeRequest(key=b"b"))
    long.failure.add(request_range=messages.RangeRequest(key=b"b"))
    for request in (short, long):
        member = Member()
        response = member.txn(request)
        assert holds == response.succeeded
        assert holds == (member.store.current(b"yes") is not None)
        assert holds == (member.store.current(b"no") is None)


def test_update_if_unchanged() -> None:
    """The txn of an optimistic writer answers as etcd does, when it may and when it must not."""
    member = Member()
    request = messages.TxnRequest(
        compare=[Compare(key=b"a", target=Compare.MOD, result=Compare.EQUAL, mod_revision=4)],
        success=[op(messages.PutRequest(key=b"a", value=b"4", lease=7, prev_kv=True))],
        failure=[messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))],
    )
    expected = messages.TxnResponse(succeeded=True)
    expected.header.revision = 5
    put = expected.responses.add().response_put
    put.header.revision = 5
    put.prev_kv.CopyFrom(
        messages.KeyValue(
            key=b"a", create_revision=2, mod_revision=4, version=2, value=b"3", lease=7
        )
    )
    assert expected == member.txn(request)
    assert member.applier.published[-1][0] == 5
    expected = messages.TxnResponse()
    expected.header.revision = 5
    found = expected.responses.add().response_range
    found.header.revision = 5
    found.count = 1
    found.kvs.add(key=b"a", create_revision=2, mod_revision=5, version=3, value=b"4", lease=7)
    assert expected == member.txn(request)
    request.success[0].request_put.lease = 99
    request.compare[0].mod_revision = 5
    outcome = member.applier.apply(CommandKind.TXN, request.SerializeToString())
    assert isinstance(outcome, EtcdError)
    assert outcome.row == errors.LEASE_NOT_FOUND


def test_nested_sees_the_state_before() -> None:
    """A nested compare looks at the state before the whole txn; a nested answer has no revision."""
    member = Member()
    inner = messages.TxnRequest(
        compare=[Compare(key=b"a", target=Compare.VALUE, result=Compare.EQUAL, value=b"3")],
        success=[messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))],
    )
    request = messages.TxnRequest(
        success=[
            op(messages.PutRequest(key=b"a", value=b"new")),
            messages.RequestOp(request_txn=inner),
        ]
    )
    response = member.txn(request)
    nested = response.responses[1].response_txn
    assert nested.succeeded
    assert nested.HasField("header")
    assert nested.header == messages.ResponseHeader()
    assert nested.responses[0].response_range.kvs[0].value == b"new"
    assert nested.responses[0].response_range.header.revision == 5


def test_many_ops_in_steps() -> None:
    """A txn over very many keys pauses, and none of it is seen before it is whole."""
    member = Member()
    for at in range(1500):
        member.put(b"k%04d" % at, b"")
    request = messages.TxnRequest(
        compare=[
            Compare(
                key=b"k", range_end=b"l", target=Compare.VERSION, result=Compare.EQUAL, version=1
            )
        ]
    )
    request.success.add(request_range=messages.RangeRequest(key=b"k", range_end=b"l"))
    request.success.add(request_delete_range=messages.DeleteRangeRequest(key=b"k", range_end=b"l"))
    request.success.add(request_range=messages.RangeRequest(key=b"k", range_end=b"l"))
    request.success.add(
        request_range=messages.RangeRequest(key=b"k", range_end=b"l", revision=1504)
    )
    steps = member.applier.apply(CommandKind.TXN, request.SerializeToString())
    assert not isinstance(steps, tuple | EtcdError)
    rows = dict(member.space.rows)
    pauses = 0
    outcome: Outcome | None = None
    while True:
        assert rows == member.space.rows
        try:
            next(steps)
        except StopIteration as stop:
            outcome = stop.value
            break
        pauses += 1
    assert pauses >= 6
    assert isinstance(outcome, tuple)
    assert outcome[0] == 1505
    response = messages.TxnResponse.FromString(outcome[1])
    first, deleted, second, old = response.responses
    assert (1500, 1504) == (first.response_range.count, first.response_range.header.revision)
    assert deleted.response_delete_range.deleted == 1500
    assert (0, 1505) == (second.response_range.count, second.response_range.header.revision)
    assert (1500, 1505) == (old.response_range.count, old.response_range.header.revision)
    assert len(old.response_range.kvs) == 1500
    assert member.space.pinned == 0


def test_read_txn_in_steps() -> None:
    """A txn that only reads sees one state, whatever is applied between its steps."""
    member = Member()
    for at in range(1500):
        member.put(b"k%04d" % at, b"old")
    inner = messages.TxnRequest()
    inner.success.add(request_range=messages.RangeRequest(key=b"k", range_end=b"l", keys_only=True))
    request = messages.TxnRequest()
    request.success.add(request_range=messages.RangeRequest(key=b"k", range_end=b"l"))
    request.success.add(request_txn=inner)
    request.success.add(request_range=messages.RangeRequest(key=b"a"))
    steps = member.applier.read_txn(request)
    assert not isinstance(steps, tuple | EtcdError)
    outcome: Outcome | None = None
    while True:
        member.put(b"k0700", b"new")
        member.put(b"a", b"new")
        try:
            next(steps)
        except StopIteration as stop:
            outcome = stop.value
            break
    assert isinstance(outcome, tuple)
    assert outcome[0] == 1504
    response = messages.TxnResponse.FromString(outcome[1])
    kvs = response.responses[0].response_range.kvs
    assert {b"old"} == {kv.value for kv in kvs}
    assert len(kvs) == 1500
    names = response.responses[1].response_txn.responses[0].response_range
    assert (1500, 1504) == (len(names.kvs), names.header.revision)
    assert response.responses[2].response_range.kvs[0].value == b"3"
    assert member.space.pinned == 0


def test_read_txn_given_up() -> None:
    """A reading txn nobody wants any more lets go of what it has pinned."""
    member = Member()
    for at in range(1500):
        member.put(b"k%04d" % at, b"")
    request = messages.TxnRequest()
    request.success.add(request_range=messages.RangeRequest(key=b"k", range_end=b"l"))
    steps = member.applier.read_txn(request)
    assert not isinstance(steps, tuple | EtcdError)
    assert member.space.pinned == 1
    steps.close()
    assert member.space.pinned == 0


@pytest.mark.parametrize(
    ("revision", "row"),
    [(9, errors.FUTURE_REVISION), (2, errors.COMPACTED), (-1, errors.COMPACTED)],
)
def test_read_revisions(revision: int, row: errors.ErrorRow) -> None:
    """A range in a txn at a revision that is gone or to come fails the whole txn."""
    member = Member()
    member.store.compact(3)
    request = messages.TxnRequest()
    request.success.add(request_range=messages.RangeRequest(key=b"a", revision=revision))
    outcome = member.applier.read_txn(request)
    assert isinstance(outcome, EtcdError)
    assert row == outcome.row
    request.success.append(op(messages.PutRequest(key=b"a")))
    outcome = member.applier.apply(CommandKind.TXN, request.SerializeToString())
    assert isinstance(outcome, EtcdError)
    assert row == outcome.row
    assert member.store.revision == 4
