"""Locks on three nodes in mock time, over TLS: who waits is not disturbed by what befalls them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.node.three import Three, ask, begin, three_nodes
from trioetcd.client.connection import Call, Connection
from trioetcd.client.errors import DisconnectedError
from trioetcd.errors import STOPPED, EtcdError
from trioetcd.schema import messages

LOCK = "/v3lockpb.Lock/Lock"
UNLOCK = "/v3lockpb.Lock/Unlock"
GRANT = "/etcdserverpb.Lease/LeaseGrant"
RANGE = "/etcdserverpb.KV/Range"


async def grant(connection: Connection, lease: int, seconds: int = 600) -> None:
    await ask(connection, GRANT, messages.LeaseGrantRequest(TTL=seconds, ID=lease))


async def lock(connection: Connection, lease: int, *, place: int) -> Call:
    """Ask for the lock, and wait until so many stand in the queue."""
    call = begin(connection, LOCK, messages.LockRequest(name=b"l", lease=lease))
    while len(await queue(connection)) < place:
        pass  # asking takes mock time
    return call


async def queue(connection: Connection) -> list[bytes]:
    request = messages.RangeRequest(key=b"l/", range_end=b"l0", sort_order=1, sort_target=2)
    found = messages.RangeResponse.FromString(await ask(connection, RANGE, request))
    return [kv.key for kv in found.kvs]


async def unlock(connection: Connection, key: bytes) -> None:
    await ask(connection, UNLOCK, messages.UnlockRequest(key=key))


async def key_of(call: Call) -> bytes:
    answer = await call.receive()
    assert answer is not None
    assert await call.receive() is None
    return messages.LockResponse.FromString(answer).key


async def connect_all(three: Three) -> list[Connection]:
    return [await three.connect(number) for number in range(3)]


@pytest.mark.slow
async def test_one_queue_for_those_who_ask_different_members(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever was asked, the lock goes round in the order of the keys."""
    async with three_nodes(tmp_path) as three:
        connections = await connect_all(three)
        for lease in range(1, 7):
            await grant(connections[0], lease)
        calls = [await lock(connections[lease % 3], lease, place=lease) for lease in range(1, 7)]
        for lease, call in enumerate(calls, 1):
            assert await key_of(call) == b"l/%x" % lease
            await unlock(connections[0], b"l/%x" % lease)


@pytest.mark.slow
async def test_a_wait_outlives_leaders(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The leader is killed and another one follows: who waits at a third waits on, and is next."""
    async with three_nodes(tmp_path) as three:
        leader = await three.leader()
        asked, other = (number for number in range(3) if number != leader)
        holder, waiter = await three.connect(other), await three.connect(asked)
        await grant(holder, 1)
        await grant(holder, 2)
        assert await key_of(await lock(holder, 1, place=1)) == b"l/1"
        call = await lock(waiter, 2, place=2)
        await three.lives[leader].kill()
        await three.clients.settle(asked)
        await unlock(holder, b"l/1")
        assert await key_of(call) == b"l/2"


@pytest.mark.slow
async def test_a_holder_whose_lease_ends_is_followed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """When nobody keeps its lease alive the next one gets the lock; the fence tells them apart."""
    async with three_nodes(tmp_path) as three:
        connections = await connect_all(three)
        await grant(connections[0], 1, seconds=3)
        await grant(connections[0], 2)
        assert await key_of(await lock(connections[1], 1, place=1)) == b"l/1"
        began = trio.current_time()
        call = await lock(connections[2], 2, place=2)
        assert await key_of(call) == b"l/2"
        assert 2.5 < trio.current_time() - began < 10
        assert await queue(connections[0]) == [b"l/2"]


@pytest.mark.slow
async def test_a_cancelled_call_is_forgotten_without_a_leader_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A call without a lease of its own that is cancelled while leadership moves leaves no key."""
    async with three_nodes(tmp_path) as three:
        leader = await three.leader()
        asked = (leader + 1) % 3
        waiter = await three.connect(asked)
        await grant(waiter, 1)
        await lock(waiter, 1, place=1)
        call = await lock(waiter, 0, place=2)
        await three.lives[leader].kill()
        call.cancel()
        await three.clients.settle(asked)
        while len(await queue(waiter)) == 2:
            pass  # asking takes mock time
        assert await queue(waiter) == [b"l/1"]


@pytest.mark.slow
async def test_a_member_that_stops_ends_its_waits_and_keeps_their_places(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Its waiters are told so at once; with the same lease they go on elsewhere as the next."""
    async with three_nodes(tmp_path) as three:
        connections = await connect_all(three)
        for lease in (1, 2, 3):
            await grant(connections[0], lease)
        assert await key_of(await lock(connections[0], 1, place=1)) == b"l/1"
        second = await lock(connections[1], 2, place=2)
        third = await lock(connections[2], 3, place=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(three.lives[1].stop)
            # The connection ends right behind the word, and may take it with it.
            with pytest.raises((EtcdError, DisconnectedError)) as raised:
                await second.receive()
        assert STOPPED.text in str(raised.value) or isinstance(raised.value, DisconnectedError)
        again = begin(connections[2], LOCK, messages.LockRequest(name=b"l", lease=2))
        await unlock(connections[0], b"l/1")
        assert await key_of(again) == b"l/2"
        await unlock(connections[0], b"l/2")
        assert await key_of(third) == b"l/3"
