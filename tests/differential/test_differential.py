"""A member and the real etcd 3.5.1 answer the same requests alike.

The long form is `python -m tests.differential.run --steps 10000`; a seed that failed is
replayed with `--seed N --steps COUNT` as it was printed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.differential.run import Stage
from tests.differential.servers import Side
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

RUNS = ((1, 11, 250), (1, 2026, 250), (3, 11, 100))
"""Members, seed and steps: the same each time; the long form goes on with others."""


@pytest.fixture
def sides(member: ServerProcess, etcd: ServerProcess) -> Iterator[tuple[Side, Side]]:
    """Give the member and the real etcd as sides of the comparison."""
    with (
        contextlib.closing(Side(member, strict=True)) as subject,
        contextlib.closing(Side(etcd)) as reference,
    ):
        yield subject, reference


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("members", "seed", "count"), RUNS)
def test_no_difference(members: int, seed: int, count: int, etcd: ServerProcess) -> None:
    """Generated steps show no difference that docs/divergences.md does not list."""
    assert etcd.process.poll() is None  # asked for so that its absence fails or skips
    how = f"--members {members} --seed {seed} --steps {count} --sequence {count}"
    print(f"python -m tests.differential.run {how}")
    run = Stage(members).generated(seed, count)
    assert [str(finding) for finding in run.findings] == []
    assert len(run.sent) > count


def test_first_of_several_errors(sides: tuple[Side, Side]) -> None:
    """Of two wrong operations, 3.5 names the put, and we, like 3.6 and later, the first."""
    subject, reference = sides
    request = messages.TxnRequest(
        success=[
            messages.RequestOp(request_range=messages.RangeRequest(key=b"k", revision=2**60)),
            messages.RequestOp(request_put=messages.PutRequest(key=b"k", lease=987654321)),
        ],
    )
    future = "OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision"
    assert subject.call("KV/Txn", request)[1] == {"error": future}
    lease = "NOT_FOUND: etcdserver: requested lease not found"
    assert reference.call("KV/Txn", request)[1] == {"error": lease}


def test_sort_that_does_not_exist(sides: tuple[Side, Side]) -> None:
    """A sort that does not exist is an error within a transaction too, and kills nobody."""
    subject, _ = sides
    request = messages.RangeRequest(key=b"a", range_end=b"z")
    request.sort_target = 9
    txn = messages.TxnRequest(success=[messages.RequestOp(request_range=request)])
    invalid = {"error": "INVALID_ARGUMENT: etcdserver: invalid sort option"}
    assert subject.call("KV/Txn", txn)[1] == invalid
    assert subject.server.exit_code(seconds=0.0) is None


def test_put_of_what_the_same_txn_deletes(sides: tuple[Side, Side]) -> None:
    """Keeping the value of a key that the same transaction deletes fails, and changes nothing."""
    subject, _ = sides
    key = b"txn-deletes"
    written, _ = subject.call("KV/Put", messages.PutRequest(key=key, value=b"1"))
    delete = messages.DeleteRangeRequest(key=key, range_end=b"\0")
    put = messages.PutRequest(key=key, ignore_value=True)
    txn = messages.TxnRequest(
        success=[
            messages.RequestOp(request_delete_range=delete),
            messages.RequestOp(request_put=put),
        ],
    )
    found = subject.call("KV/Txn", txn)[1]
    assert found == {"error": "INVALID_ARGUMENT: etcdserver: key not found"}
    answer, _ = subject.call("KV/Range", messages.RangeRequest(key=key))
    assert isinstance(answer, messages.RangeResponse)
    assert isinstance(written, messages.PutResponse)
    assert [kv.value for kv in answer.kvs] == [b"1"]
    assert answer.header.revision == written.header.revision
    assert subject.server.exit_code(seconds=0.0) is None


def test_watch_from_before_the_beginning(sides: tuple[Side, Side]) -> None:
    """A watch with a negative start is created and cancelled as compacted, with id -1."""
    subject, _ = sides
    stream = subject.stream(0)
    create = messages.WatchCreateRequest(key=b"k", start_revision=-1)
    stream.send(messages.WatchRequest(create_request=create))
    assert stream.receive(5)
    (answer,) = stream.seen[-1]
    del answer["header"], answer["header.revision"]
    assert answer == {
        "watch_id": -1,
        "created": True,
        "canceled": True,
        "cancel_reason": "etcdserver: mvcc: required revision has been compacted",
    }


def test_watch_from_the_compact_revision(sides: tuple[Side, Side]) -> None:
    """A watch from the compact revision on is told what that revision deleted."""
    subject, _ = sides
    key = b"deleted-there"
    subject.call("KV/Put", messages.PutRequest(key=key, value=b"1"))
    deleted, _ = subject.call("KV/DeleteRange", messages.DeleteRangeRequest(key=key))
    assert isinstance(deleted, messages.DeleteRangeResponse)
    revision = deleted.header.revision
    subject.call("KV/Put", messages.PutRequest(key=key, value=b"2"))
    subject.call("KV/Compact", messages.CompactionRequest(revision=revision, physical=True))
    stream = subject.stream(2)
    create = messages.WatchCreateRequest(key=key, start_revision=revision, watch_id=5)
    stream.send(messages.WatchRequest(create_request=create))
    while len(stream.seen[5]) < 3:
        assert stream.receive(5)
    assert [item["type"] for item in stream.seen[5][1:] if "type" in item] == [1]


def test_progress_waits_for_the_future(sides: tuple[Side, Side]) -> None:
    """A watch of a revision to come keeps progress back; others do not."""
    subject, _ = sides
    stream = subject.stream(1)
    create = messages.WatchCreateRequest(key=b"k", watch_id=3)
    stream.send(messages.WatchRequest(create_request=create))
    stream.send(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))
    assert stream.receive(5)
    assert stream.receive(5)
    assert [sorted(item) for item in stream.seen[-1]] == [["header", "header.revision", "watch_id"]]
    stream.seen.clear()
    create = messages.WatchCreateRequest(key=b"k", watch_id=4, start_revision=2**60)
    stream.send(messages.WatchRequest(create_request=create))
    stream.send(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))
    # whatever is answered to the progress request would come before the answer to this one
    cancel = messages.WatchCancelRequest(watch_id=4)
    stream.send(messages.WatchRequest(cancel_request=cancel))
    assert stream.receive(5)
    assert stream.receive(5)
    assert list(stream.seen) == [4]


def test_sort_of_equals(sides: tuple[Side, Side]) -> None:
    """Keys that are equal by what they are sorted by keep the order of their keys."""
    subject, _ = sides
    keys = [b"equal/%02d" % number for number in range(40)]
    for key in reversed(keys):
        subject.call("KV/Put", messages.PutRequest(key=key, value=b"same"))
    for order in (messages.RangeRequest.ASCEND, messages.RangeRequest.DESCEND):
        request = messages.RangeRequest(key=b"equal/", range_end=b"equal0", sort_order=order)
        request.sort_target = messages.RangeRequest.VALUE
        answer, _ = subject.call("KV/Range", request)
        assert isinstance(answer, messages.RangeResponse)
        assert [kv.key for kv in answer.kvs] == keys
