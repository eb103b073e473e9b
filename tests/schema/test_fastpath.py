"""The hot encoders against the protobuf library."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from trioetcd.schema import fastpath, messages

INT64 = st.one_of(
    st.integers(0, 3),
    st.sampled_from([(1 << bits) + offset for bits in range(7, 63, 7) for offset in (-1, 0)]),
    st.integers(-(2**63), 2**63 - 1),
)
UINT64 = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
CONTENT = st.one_of(st.binary(max_size=40), st.integers(120, 17_000).map(lambda n: b"v" * n))
KEY_VALUES = st.tuples(CONTENT, INT64, INT64, INT64, CONTENT, INT64)
KeyValueTuple = tuple[bytes, int, int, int, bytes, int]


def key_value(row: KeyValueTuple) -> messages.KeyValue:
    """Build the message that protobuf serialises for comparison."""
    key, create, mod, version, value, lease = row
    return messages.KeyValue(
        key=key,
        create_revision=create,
        mod_revision=mod,
        version=version,
        value=value,
        lease=lease,
    )


@given(INT64)
def test_varint_is_protobufs(n: int) -> None:
    """A varint is what protobuf writes after the tag of an int64."""
    expected = messages.LeaseRevokeRequest(ID=n).SerializeToString()[1:] or b"\0"
    assert expected == fastpath.varint(n)


@given(UINT64)
def test_varint_of_unsigned_is_protobufs(n: int) -> None:
    """A varint is what protobuf writes after the tag of a uint64."""
    expected = messages.MoveLeaderRequest(targetID=n).SerializeToString()[1:] or b"\0"
    assert expected == fastpath.varint(n)


def test_minus_one_takes_ten_bytes() -> None:
    """A negative number is its two's complement in 64 bits: watch_id -1 is ten bytes."""
    assert fastpath.varint(-1) == b"\xff" * 9 + b"\x01"


@given(UINT64, UINT64, st.lists(st.tuples(INT64, UINT64), min_size=1, max_size=4))
@example(0, 0, [(0, 0), (5, 0), (0, 5), (0, 0)])
def test_header_field_is_protobufs(
    cluster: int, member: int, clocks: list[tuple[int, int]]
) -> None:
    """The header field is protobuf's, asked for the first and for the second time."""
    prefix = fastpath.header_prefix(cluster, member)
    for revision, term in [clock for clock in clocks for _ in range(2)]:
        header = messages.ResponseHeader(
            cluster_id=cluster, member_id=member, revision=revision, raft_term=term
        )
        expected = messages.PutResponse(header=header).SerializeToString()
        assert expected == fastpath.header_field(prefix, revision, term)


@given(KEY_VALUES)
@example((b"k", 7, 7, 1, b"v", 0))
@example((b"k", 7, 900_000_000, 0x4000, b"", -1))
def test_kv_field_is_protobufs(row: KeyValueTuple) -> None:
    """A stored key is PutResponse.prev_kv, and so is every other field 2."""
    expected = messages.PutResponse(prev_kv=key_value(row)).SerializeToString()
    assert expected == fastpath.kv_field(*row)
    assert expected == messages.Event(kv=key_value(row)).SerializeToString()


@given(rows=st.lists(KEY_VALUES, max_size=3), more=st.booleans(), count=INT64)
@example(rows=[(b"k", 1, 2, 3, b"v", 0)], more=False, count=1)
@example(rows=[(b"k", 1, 2, 3, b"v", 0)], more=False, count=0)
def test_range_response_is_protobufs(*, rows: list[KeyValueTuple], more: bool, count: int) -> None:
    """A range answer is protobuf's, whole and in pieces."""
    header = messages.ResponseHeader(cluster_id=1, revision=9)
    expected = messages.RangeResponse(
        header=header, kvs=[key_value(row) for row in rows], more=more, count=count
    ).SerializeToString()
    field = fastpath.header_field(fastpath.header_prefix(1, 0), 9, 0)
    kvs = [fastpath.kv_field(*row) for row in rows]
    assert expected == fastpath.range_response(field, kvs, more=more, count=count)
    pieces = fastpath.range_response_pieces(field, kvs, more=more, count=count)
    assert expected == b"".join(pieces)
    chunk = messages.RangeStreamResponse()
    chunk.range_response.ParseFromString(expected)
    assert chunk.SerializeToString() == fastpath.range_stream_response(pieces)


@given(INT64, st.lists(KEY_VALUES, max_size=3))
def test_delete_range_body_is_protobufs(deleted: int, rows: list[KeyValueTuple]) -> None:
    """A delete answer is protobuf's, previous keys included."""
    expected = messages.DeleteRangeResponse(
        deleted=deleted, prev_kvs=[key_value(row) for row in rows]
    ).SerializeToString()
    kvs = [fastpath.kv_field(*row) for row in rows]
    assert expected == fastpath.delete_range_body(deleted, kvs)


@given(succeeded=st.booleans(), row=KEY_VALUES, revision=INT64)
def test_txn_body_is_protobufs(*, succeeded: bool, row: KeyValueTuple, revision: int) -> None:
    """A transaction's answer is protobuf's, each kind of answer and a nested one in it."""
    header = messages.ResponseHeader(revision=revision)
    kv = key_value(row)
    ops = [
        messages.ResponseOp(response_range=messages.RangeResponse(header=header, kvs=[kv])),
        messages.ResponseOp(response_put=messages.PutResponse(header=header, prev_kv=kv)),
        messages.ResponseOp(response_delete_range=messages.DeleteRangeResponse(deleted=2)),
        messages.ResponseOp(response_txn=messages.TxnResponse(succeeded=True)),
    ]
    expected = messages.TxnResponse(succeeded=succeeded, responses=ops).SerializeToString()
    head = fastpath.header_field(b"", revision, 0)
    field = fastpath.kv_field(*row)
    got = [
        fastpath.response_op(
            fastpath.RESPONSE_RANGE, fastpath.range_response(head, [field], more=False, count=0)
        ),
        fastpath.response_op(fastpath.RESPONSE_PUT, head + field),
        fastpath.response_op(fastpath.RESPONSE_DELETE_RANGE, fastpath.delete_range_body(2)),
        fastpath.response_op(fastpath.RESPONSE_TXN, fastpath.txn_body([], succeeded=True)),
    ]
    assert expected == fastpath.txn_body(got, succeeded=succeeded)


@given(INT64, INT64)
def test_lease_body_is_both_answers(lease: int, ttl: int) -> None:
    """Grant and keep-alive are answered by the same bytes."""
    body = fastpath.lease_body(lease, ttl)
    assert messages.LeaseKeepAliveResponse(ID=lease, TTL=ttl).SerializeToString() == body
    assert messages.LeaseGrantResponse(ID=lease, TTL=ttl).SerializeToString() == body


@given(
    watch_id=st.sampled_from([0, 1, -1, 200]),
    row=KEY_VALUES,
    with_previous=st.booleans(),
    fragment=st.booleans(),
)
def test_watch_response_is_protobufs(
    *, watch_id: int, row: KeyValueTuple, with_previous: bool, fragment: bool
) -> None:
    """A watch answer with a put and a deletion is protobuf's."""
    previous = key_value(row) if with_previous else None
    deleted = messages.KeyValue(key=row[0], mod_revision=row[2])
    events = [
        messages.Event(kv=key_value(row), prev_kv=previous),
        messages.Event(type=messages.Event.DELETE, kv=deleted, prev_kv=previous),
    ]
    expected = messages.WatchResponse(
        watch_id=watch_id, fragment=fragment, events=events
    ).SerializeToString()
    field = fastpath.kv_field(*row)
    prev_kv = fastpath.as_prev_kv(field) if with_previous else b""
    fields = fastpath.event_field(field, prev_kv) + fastpath.event_field(
        fastpath.delete_event(row[0], row[2]), prev_kv
    )
    assert expected == fastpath.watch_response(b"", watch_id, fields, fragment=fragment)


@given(
    watch_id=st.sampled_from([0, -1, 7]),
    created=st.booleans(),
    canceled=st.booleans(),
    compact_revision=INT64,
    reason=st.text("etcd: \u00e9\u20ac", max_size=200),
)
def test_watch_control_is_protobufs(
    *, watch_id: int, created: bool, canceled: bool, compact_revision: int, reason: str
) -> None:
    """A watch answer without events is protobuf's."""
    header = messages.ResponseHeader(revision=3)
    expected = messages.WatchResponse(
        header=header,
        watch_id=watch_id,
        created=created,
        canceled=canceled,
        compact_revision=compact_revision,
        cancel_reason=reason,
    ).SerializeToString()
    assert expected == fastpath.watch_control(
        fastpath.header_field(b"", 3, 0),
        watch_id,
        created=created,
        canceled=canceled,
        compact_revision=compact_revision,
        cancel_reason=reason,
    )
