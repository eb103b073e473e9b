"""The model of the truth: etcd's rules in plain dicts."""

from __future__ import annotations

from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.testing.model import KV, Change, Model


def put(model: Model, key: bytes, value: bytes, lease: int = 0) -> int:
    request = messages.PutRequest(key=key, value=value, lease=lease)
    effect = model.apply(CommandKind.PUT, request.SerializeToString())
    assert isinstance(effect.answer, bytes)
    return effect.revision


def delete(model: Model, key: bytes, end: bytes = b"") -> int:
    request = messages.DeleteRangeRequest(key=key, range_end=end)
    return model.apply(CommandKind.DELETE_RANGE, request.SerializeToString()).revision


def test_puts_count_versions_and_revisions() -> None:
    """A put takes a revision; versions count from the key's creation."""
    model = Model(ttl_min=1)

    assert [put(model, b"a", b"1"), put(model, b"b", b"2"), put(model, b"a", b"3")] == [2, 3, 4]
    assert model.get(b"a") == KV(b"a", 2, 4, 2, b"3", 0)
    assert model.get(b"a", 3) == KV(b"a", 2, 2, 1, b"1", 0)
    assert model.get(b"a", 1) is None


def test_deleting_nothing_takes_no_revision() -> None:
    """A deletion that finds keys takes one revision for all of them, else none."""
    model = Model(ttl_min=1)
    put(model, b"a", b"1")
    put(model, b"b", b"2")

    assert delete(model, b"x") == 3
    assert delete(model, b"a", b"c") == 4
    assert [change.key for change in model.changes[4]] == [b"a", b"b"]
    assert model.rows() == []
    assert [kv.key for kv in model.select(b"a", b"\0", 3)] == [b"a", b"b"]
    put(model, b"a", b"3")
    assert model.get(b"a") == KV(b"a", 5, 5, 1, b"3", 0)


def test_a_txn_is_one_revision() -> None:
    """A txn's branch is chosen by all compares, and its writes share a revision."""
    model = Model(ttl_min=1)
    put(model, b"a", b"1")
    request = messages.TxnRequest()
    request.compare.add(key=b"a", target=messages.Compare.VALUE, value=b"1")
    request.compare.add(key=b"z", target=messages.Compare.VERSION, version=0)
    for key in (b"a", b"b"):
        operation = request.success.add().request_put
        operation.key, operation.value = key, b"2"
    request.failure.add().request_range.key = b"a"
    payload = request.SerializeToString()

    first = model.apply(CommandKind.TXN, payload)
    second = model.apply(CommandKind.TXN, payload)
    assert (first.revision, len(first.changes)) == (3, 2)
    assert (second.revision, len(second.changes)) == (3, 0)
    assert isinstance(second.answer, bytes)
    answer = messages.TxnResponse.FromString(second.answer)
    assert not answer.succeeded
    assert answer.responses[0].response_range.kvs[0].value == b"2"


def test_a_lease_takes_its_keys_along() -> None:
    """Revoking a lease deletes the keys that hang on it, in one revision."""
    model = Model(ttl_min=3)
    grant = messages.LeaseGrantRequest(ID=7, TTL=1).SerializeToString()

    assert model.apply(CommandKind.LEASE_GRANT, grant).answer != "LeaseExist"
    assert model.leases == {7: 3}
    assert model.apply(CommandKind.LEASE_GRANT, grant).answer == "LeaseExist"
    put(model, b"b", b"1", lease=7)
    put(model, b"a", b"1", lease=7)
    put(model, b"b", b"2")
    assert model.attached(7) == [b"a"]
    revoke = messages.LeaseRevokeRequest(ID=7).SerializeToString()
    effect = model.apply(CommandKind.LEASE_REVOKE, revoke)
    before = KV(b"a", 3, 3, 1, b"1", 7)
    assert effect.changes == (Change(b"a", None, before),)
    assert model.apply(CommandKind.LEASE_REVOKE, revoke).answer == "LeaseNotFound"
    request = messages.PutRequest(key=b"x", lease=7).SerializeToString()
    assert model.apply(CommandKind.PUT, request).answer == "LeaseNotFound"


def test_compaction_goes_forward_only() -> None:
    """A compaction at or below an earlier one, or in the future, is turned down."""
    model = Model(ttl_min=1)
    put(model, b"a", b"1")

    def compact(revision: int) -> bytes | str:
        request = messages.CompactionRequest(revision=revision)
        return model.apply(CommandKind.COMPACT, request.SerializeToString()).answer

    assert [compact(2), compact(2), compact(1), compact(3)] == [
        b"",
        "Compacted",
        "Compacted",
        "FutureRevision",
    ]


def test_ranges_are_cut_and_counted() -> None:
    """A range gives the count of all, and only as many keys as asked for."""
    model = Model(ttl_min=1)
    for key in (b"a", b"b", b"c"):
        put(model, key, b"v")
    request = messages.RangeRequest(key=b"a", range_end=b"\0", limit=2, keys_only=True)
    found = model.range(request, 0)

    assert ([kv.key for kv in found.kvs], found.count, found.more) == ([b"a", b"b"], 3, True)
    assert not found.kvs[0].value
    counted = model.range(messages.RangeRequest(key=b"b", range_end=b"z", count_only=True), 3)
    assert (len(counted.kvs), counted.count) == (0, 1)
