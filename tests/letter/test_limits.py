"""etcd's limits, each passed through a real connection; docs/limits.md has the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontend.foreign import framed, front
from tests.letter.caller import OK, Raw, said_by
from tests.letter.stages import Stage
from tests.proof.member import Member
from tests.runtime.member import put_message
from trioetcd import errors
from trioetcd.replica import ReplicaConfig
from trioetcd.schema import messages as m
from trioetcd.wire import frames

ROOT = Path(__file__).parents[2]
REQUEST_BYTES = 10_000
MESSAGE_BYTES = REQUEST_BYTES + 512 * 1024
FLAGS = (
    f"--max-request-bytes={REQUEST_BYTES}",
    "--max-txn-ops=3",
    "--max-concurrent-streams=2",
    "--grpc-keepalive-interval=1s",
    "--grpc-keepalive-timeout=1s",
    "--grpc-keepalive-min-time=1h",
)
WATCH = m.WatchRequest(create_request=m.WatchCreateRequest(key=b"k")).SerializeToString()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a member whose limits are close."""
    member = Member("trioetcd", tmp_path_factory.mktemp("narrow"), flags=FLAGS)
    member.start()
    stage = Stage.of(member)
    yield stage
    stage.caller.close()
    member.kill()


@pytest.mark.slow
def test_a_request_may_be_so_long(narrow: Stage) -> None:
    """A command up to the flag is done; up to 512 KiB more it is etcd's error, then gRPC's."""

    def put(size: int) -> tuple[str, str]:
        """Put in a message of so many bytes."""
        empty = m.PutRequest(key=b"k", value=b"v" * 2**14)  # the length takes three octets, as all
        around = len(empty.SerializeToString()) - 2**14
        request = m.PutRequest(key=b"k", value=b"v" * (size - around))
        assert len(request.SerializeToString()) <= size
        return narrow.say("KV/Put", request)

    assert OK == put(REQUEST_BYTES - 100)
    assert said_by(errors.REQUEST_TOO_LARGE) == put(REQUEST_BYTES + 1)
    assert said_by(errors.REQUEST_TOO_LARGE) == put(MESSAGE_BYTES)
    assert (
        "RESOURCE_EXHAUSTED",
        f"grpc: received message larger than max ({MESSAGE_BYTES + 1} vs. {MESSAGE_BYTES})",
    ) == put(MESSAGE_BYTES + 1)


@pytest.mark.slow
def test_a_txn_may_do_so_much(narrow: Stage) -> None:
    """What is nested has what its outer one left: 3 at most, 2 in the one op of another."""

    def puts(count: int) -> m.TxnRequest:
        txn = m.TxnRequest()
        for at in range(count):
            txn.success.add().request_put.key = b"%d" % at
        return txn

    def within(txn: m.TxnRequest) -> m.TxnRequest:
        return m.TxnRequest(success=[m.RequestOp(request_txn=txn)])

    good = [puts(3), within(puts(2)), within(within(puts(1)))]
    bad = [puts(4), within(puts(3)), within(within(puts(2)))]

    assert [OK] * 3 == [narrow.say("KV/Txn", txn) for txn in good]
    assert [said_by(errors.TOO_MANY_OPS)] * 3 == [narrow.say("KV/Txn", txn) for txn in bad]


@pytest.mark.slow
def test_so_many_streams_may_be_open(narrow: Stage) -> None:
    """The client is told the number, and a stream above it is refused; the others go on."""
    raw = narrow.raw()
    try:
        raw.flush()
        while frames.SETTINGS_ACK not in raw.received:
            raw.read()
        assert b"\0\x03\0\0\0\x02" in raw.received  # SETTINGS_MAX_CONCURRENT_STREAMS
        first, second, third = (raw.open("Watch/Watch", WATCH, end=False) for _ in range(3))
        assert raw.said(third)[0] == "UNAVAILABLE"
        raw.codec.cancel(first)
        message = m.RangeRequest(key=b"k").SerializeToString()
        assert raw.said(raw.open("KV/Range", message)) == OK
        raw.codec.cancel(second)
    finally:
        raw.close()


def ping_until_the_end(raw: Raw, pings: int) -> bytes:
    """Ping so often at once, and give all that comes until the connection ends."""
    for _ in range(pings):
        raw.codec.ping()
    raw.flush()
    return raw.read_to_the_end()


@pytest.mark.slow
@pytest.mark.parametrize("has_stream", [False, True])
def test_pings_may_come_so_often(narrow: Stage, *, has_stream: bool) -> None:
    """The third early ping ends the connection, be a stream open or none, in Go's words."""
    raw = narrow.raw()
    try:
        if has_stream:
            raw.open("Lease/LeaseKeepAlive", b"", end=False)
            while b"\x00" not in raw.received:
                raw.read()
        told = ping_until_the_end(raw, 4 + has_stream)
    finally:
        raw.close()

    goaway = frames.goaway_frame(0, frames.ENHANCE_YOUR_CALM, b"too_many_pings")[-18:]
    assert goaway in told


@pytest.mark.slow
def test_who_is_silent_is_pinged(narrow: Stage) -> None:
    """A client that says nothing for the interval is pinged, and closed after the timeout."""
    raw = narrow.raw()
    try:
        raw.flush()
        told = raw.read_to_the_end()
    finally:
        raw.close()

    assert frames.ping_frame(b"trioetcd", ack=False) in told


async def test_so_many_commands_may_be_under_way() -> None:
    """What the disk does not take fills the room there is; the next is too many, and then is not.

    The state is injected: a disk that is held, and room for few.
    """
    config = ReplicaConfig(name="m", client_urls=("https://127.0.0.1:2379",), proposals_max=20)
    async with front(config=config) as found:
        client = await found.client()
        assert (await client.call("/etcdserverpb.KV/Put", put_message(b"k"))).status[0] == 0
        found.disk.hold()
        waiting = [
            await client.open("/etcdserverpb.KV/Put", framed(put_message(b"%d" % at)))
            for at in range(20)
        ]
        refused = await client.call("/etcdserverpb.KV/Put", put_message(b"k"))
        assert (errors.Code.UNKNOWN, "etcdserver: too many requests") == refused.status
        found.disk.release()
        await client.wait(lambda: all(each.ended for each in waiting))
        assert {0} == {each.status[0] for each in waiting}
        await client.close()


def test_the_table_names_tests_that_there_are() -> None:
    """Every test that docs/limits.md names is one."""
    page = (ROOT / "docs/limits.md").read_text()
    names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page)

    assert len(names) > 10
    for path, name in names:
        text = (ROOT / path).read_text()
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), name
