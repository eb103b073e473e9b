"""Where etcd 3.7 answers otherwise than 3.5.1, a member answers as 3.7: each case of `newer`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc
import pytest

from tests.differential.comparison import Fields
from tests.differential.newer import STREAMED, Case, Streamed, cases
from tests.differential.servers import Side
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member

pytestmark = [pytest.mark.interop, pytest.mark.slow]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Give a member for all cases."""
    with (
        running_member(tmp_path_factory.mktemp("ours")) as server,
        contextlib.closing(Side(server)) as side,
    ):
        yield side


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Give an etcd 3.5.1 for all cases."""
    with (
        running_etcd(tmp_path_factory.mktemp("old")) as server,
        contextlib.closing(Side(server)) as side,
    ):
        yield side


def _prepared(side: Side, name: str) -> Case:
    """Clear all alarms, and do what comes before the case's request."""
    raised, _ = side.call("Maintenance/Alarm", messages.AlarmRequest())
    assert isinstance(raised, messages.AlarmResponse)
    for alarm in raised.alarms:
        request = messages.AlarmRequest(memberID=alarm.memberID)
        request.alarm = alarm.alarm
        request.action = messages.AlarmRequest.DEACTIVATE
        side.call("Maintenance/Alarm", request)
    (case,) = (case for case in cases(raised.header.revision) if case.name == name)
    for rpc, before in case.setup:
        message, fields = side.call(rpc, before)
        assert message is not None, fields
    return case


def _answered(side: Side, case: Case, wanted: Fields) -> Fields:
    fields = side.call(case.rpc, case.request)[1]
    return {path: fields.get(path) for path in wanted}


@pytest.mark.parametrize("name", [case.name for case in cases(1)])
def test_new_answer(name: str, ours: Side) -> None:
    """A member answers a case as 3.7 does."""
    case = _prepared(ours, name)
    assert _answered(ours, case, case.answer) == case.answer
    assert ours.server.exit_code(seconds=0.0) is None


@pytest.mark.parametrize("name", [case.name for case in cases(1) if case.before is not None])
def test_old_answer(name: str, old: Side) -> None:
    """The real 3.5.1 answers it as the table says, so that it is new what is called new."""
    case = _prepared(old, name)
    assert case.before is not None
    assert _answered(old, case, case.before) == case.before


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Give a member that holds a hundred keys, each of a revision of its own."""
    where = tmp_path_factory.mktemp("hundred")
    with running_member(where) as server, contextlib.closing(Side(server)) as side:
        for number in range(100):
            side.call("KV/Put", messages.PutRequest(key=b"s/%03d" % number, value=b"v"))
        yield side


@pytest.mark.parametrize("case", STREAMED, ids=lambda case: case.name)
def test_range_stream(case: Streamed, hundred: Side) -> None:
    """Chunks in order, the first small; header, count and more only in the last (3.7)."""
    method = hundred.links[0].channel.unary_stream(
        "/etcdserverpb.KV/RangeStream",
        request_serializer=messages.RangeRequest.SerializeToString,
        response_deserializer=messages.RangeStreamResponse.FromString,
    )
    chunks: list[messages.RangeResponse] = []
    error = ""
    try:
        chunks += [answer.range_response for answer in method(case.request, timeout=20)]
    except grpc.RpcError as failed:
        error = f"{failed.code().name}: {failed.details()}"
    assert error == case.error
    if error:
        assert chunks == []
        return
    keys = [kv.key for chunk in chunks for kv in chunk.kvs]
    start = case.request.key
    assert keys == sorted(keys)
    assert len(keys) == case.keys
    assert all(key.startswith(start) for key in keys)
    assert len(chunks[0].kvs) <= case.first
    for chunk in chunks[:-1]:
        assert chunk.kvs
        assert not (chunk.HasField("header"))
        assert not (chunk.count)
        assert not (chunk.more)
    last = chunks[-1]
    assert (last.header.revision, last.count, last.more) == (101, case.count, case.more)


def test_keys_only_keeps_the_lease(member: ServerProcess) -> None:
    """A Range of keys only tells each key's lease, as 3.6 does and 3.7 does not any more."""
    with contextlib.closing(Side(member)) as side:
        side.call("Lease/LeaseGrant", messages.LeaseGrantRequest(ID=5, TTL=100))
        side.call("KV/Put", messages.PutRequest(key=b"leased", value=b"v", lease=5))
        request = messages.RangeRequest(key=b"leased", keys_only=True)
        answer, _ = side.call("KV/Range", request)
        assert isinstance(answer, messages.RangeResponse)
        assert [(kv.lease, kv.value) for kv in answer.kvs] == [(5, b"")]


def test_alarm_that_does_not_exist(member: ServerProcess) -> None:
    """An alarm of a type that does not exist is not raised, and ends no member."""
    with contextlib.closing(Side(member)) as side:
        for kind in (3, 300, -1):
            request = messages.AlarmRequest(action=messages.AlarmRequest.ACTIVATE, memberID=7)
            request.alarm = kind
            assert side.call("Maintenance/Alarm", request)[1].keys() == {
                "header",
                "header.revision",
            }
        assert member.exit_code(seconds=0.0) is None
