"""`hasleader` on three nodes in mock time: who asks for a leader is not left without one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.node.three import Three, ask, begin, three_nodes
from trioetcd.client.connection import Call, Connection
from trioetcd.errors import NO_LEADER, EtcdError
from trioetcd.schema import messages

WATCH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
OBSERVE = "/v3electionpb.Election/Observe"
RANGE = "/etcdserverpb.KV/Range"
LED = [("hasleader", "true")]

ELECTION_SECONDS = 1.0
LOST_SECONDS = 1.5 * ELECTION_SECONDS
"""How long a member may take to notice that it hears of no leader."""


def watching() -> messages.WatchRequest:
    request = messages.WatchRequest()
    request.create_request.key = b"k"
    return request


async def wait_lost(connection: Connection) -> float:
    """Wait until a member says that it knows no leader; give the time."""
    path = "/etcdserverpb.Maintenance/Status"
    while True:
        answer = await ask(connection, path, messages.StatusRequest())
        if not messages.StatusResponse.FromString(answer).leader:
            return trio.current_time()
        await trio.sleep(0.01)


async def end_of(call: Call) -> tuple[str, float]:
    """Wait until a stream is ended; give the reason and the time."""
    try:
        while await call.receive() is not None:
            pass
    except EtcdError as error:
        return error.text, trio.current_time()
    raise AssertionError("it ended without an error")


async def refused(connection: Connection, path: str, request: messages.Message) -> str:
    with pytest.raises(EtcdError) as raised:
        await ask(connection, path, request, LED)
    return raised.value.text


@pytest.mark.slow
async def test_streams_that_want_a_leader_end_without_one(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """They are cut three election timeouts after the leader is lost; the others go on.

    Meanwhile what is new and wants a leader is refused at once, and what does not is served.
    """
    async with three_nodes(tmp_path) as three:
        at = (await three.leader() + 1) % 3
        connection = await three.connect(at)
        lease = messages.LeaseKeepAliveRequest(ID=1)
        name = messages.LeaderRequest(name=b"e")
        read = messages.RangeRequest(key=b"k", serializable=True)
        led = [
            begin(connection, WATCH, watching(), LED, end=False),
            begin(connection, KEEP_ALIVE, lease, LED, end=False),
            begin(connection, OBSERVE, name, LED),
        ]
        free = begin(connection, WATCH, watching(), end=False)
        for call in (*led[:2], free):
            assert await call.receive() is not None
        await ask(connection, RANGE, read, LED)

        three.part_all()
        began = trio.current_time()
        lost = await wait_lost(connection)
        assert lost - began <= LOST_SECONDS
        assert await refused(connection, RANGE, read) == NO_LEADER.text
        assert await refused(connection, WATCH, watching()) == NO_LEADER.text
        assert await ask(connection, RANGE, read)
        for call in led:
            text, ended = await end_of(call)
            assert text == NO_LEADER.text
            assert 3 * ELECTION_SECONDS - 0.1 <= ended - lost <= 3 * ELECTION_SECONDS + 0.2

        three.wires.heal()
        await three.clients.settle(at)
        await put(three, at, b"k")
        event = messages.WatchResponse.FromString(await free.receive() or b"").events[0]
        assert event.kv.key == b"k"
        again = begin(connection, WATCH, watching(), LED, end=False)
        assert await again.receive() is not None


async def put(three: Three, at: int, key: bytes) -> None:
    async with three.clients.connect(at, only=True) as client:
        await client.put(key, b"v")


@pytest.mark.slow
async def test_a_change_of_leaders_cuts_no_stream(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """When the leader is killed another one comes long before streams are given up."""
    async with three_nodes(tmp_path) as three:
        leader = await three.leader()
        at = (leader + 1) % 3
        connection = await three.connect(at)
        stream = begin(connection, WATCH, watching(), LED, end=False)
        assert await stream.receive() is not None
        await three.lives[leader].kill()
        await three.clients.settle(at)
        await trio.sleep(5 * ELECTION_SECONDS)
        await put(three, at, b"k")
        event = messages.WatchResponse.FromString(await stream.receive() or b"").events[0]
        assert event.kv.key == b"k"


@pytest.mark.slow
async def test_a_leader_that_is_cut_off_cuts_them_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A leader that hears of no majority leads no more, and its streams end like the others'."""
    async with three_nodes(tmp_path) as three:
        leader = await three.leader()
        connection = await three.connect(leader)
        stream = begin(connection, WATCH, watching(), LED, end=False)
        assert await stream.receive() is not None
        three.part_all()
        lost = await wait_lost(connection)
        text, ended = await end_of(stream)
        assert text == NO_LEADER.text
        assert 3 * ELECTION_SECONDS - 0.1 <= ended - lost <= 3 * ELECTION_SECONDS + 0.2
