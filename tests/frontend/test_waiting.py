"""Calls that wait for long, over real TLS sockets: to clients they are unary calls like others."""

from __future__ import annotations

import pytest
import trio.testing

from tests.frontend.foreign import Client, Front, Reply, framed, front
from trioetcd.errors import Code
from trioetcd.schema import messages
from trioetcd.wire import Limits

LOCK = "/v3lockpb.Lock/Lock"
UNLOCK = "/v3lockpb.Lock/Unlock"
GRANT = "/etcdserverpb.Lease/LeaseGrant"
RANGE = "/etcdserverpb.KV/Range"


async def grant(client: Client, *leases: int) -> None:
    for lease in leases:
        request = messages.LeaseGrantRequest(TTL=600, ID=lease)
        assert (await client.call(GRANT, request.SerializeToString())).status[0] == 0


def lock(lease: int) -> bytes:
    return messages.LockRequest(name=b"l", lease=lease).SerializeToString()


async def wait_keys(client: Client, count: int) -> None:
    """Wait until so many stand in the queue."""
    request = messages.RangeRequest(key=b"l/", range_end=b"l0", count_only=True).SerializeToString()
    while True:
        found = await client.call(RANGE, request)
        if messages.RangeResponse.FromString(found.messages[0]).count == count:
            return


async def wait_ended(client: Client, reply: Reply) -> None:
    await client.wait(lambda: reply.ended)


async def held(found: Front) -> tuple[Client, Reply]:
    """Give a client that holds a lock, and a call of it that waits for the same lock."""
    client = await found.client()
    await grant(client, 1, 2)
    assert (await client.call(LOCK, lock(1))).status[0] == 0
    waiting = await client.open(LOCK, framed(lock(2)))
    await wait_keys(client, 2)
    return client, waiting


async def test_a_lock_that_is_waited_for_is_answered_later() -> None:
    """One message, status 0, no second one; other calls of the connection go on meanwhile."""
    async with front() as found:
        client, waiting = await held(found)
        request = messages.UnlockRequest(key=b"l/1").SerializeToString()
        assert (await client.call(UNLOCK, request)).status[0] == 0
        await wait_ended(client, waiting)

        assert (0, "") == waiting.status
        (message,) = waiting.messages
        assert messages.LockResponse.FromString(message).key == b"l/2"
        calls = found.server.metrics.calls[LOCK]
        assert (2, 2, "unary") == (
            calls.started,
            calls.handled[Code.OK],
            calls.labels["grpc_type"],
        )
        await client.close()


async def test_a_client_that_cancels_gives_its_place_up() -> None:
    """A reset of the stream deletes the key that stood in the queue."""
    async with front() as found:
        client, waiting = await held(found)
        await client.cancel(waiting)
        await wait_keys(client, 1)

        assert found.server.metrics.calls[LOCK].handled[Code.CANCELLED] == 1
        await client.close()


async def test_a_client_that_is_gone_gives_its_place_up() -> None:
    """So does the end of the connection."""
    async with front() as found:
        client, _ = await held(found)
        await client.close()
        other = await found.client()
        await wait_keys(other, 1)
        await other.close()


async def test_a_deadline_ends_the_wait() -> None:
    """A call with grpc-timeout ends in time with DEADLINE_EXCEEDED, and its key is deleted."""
    async with front() as found:
        client, waiting = await held(found)
        await grant(client, 3)
        late = await client.open(LOCK, framed(lock(3)), headers={"grpc-timeout": "20m"})
        await wait_ended(client, late)
        await wait_keys(client, 2)

        assert late.status[0] == Code.DEADLINE_EXCEEDED
        assert not waiting.ended
        await client.close()


async def test_a_member_that_stops_ends_the_wait() -> None:
    """Who waits is told that the member stops; the place is kept for another try elsewhere."""
    async with front() as found:
        client, waiting = await held(found)
        found.server.stop_serving()
        await found.frontend.drain()
        await wait_ended(client, waiting)

        assert waiting.status == (Code.UNAVAILABLE, "etcdserver: server stopped")
        assert found.server.store.create_revision(b"l/2")
        await client.close()


async def test_what_is_no_request_is_one_calls_trouble() -> None:
    """A message that is none of the method's, or none at all, ends the call as any unary one."""
    async with front() as found:
        client, waiting = await held(found)
        malformed = await client.call(LOCK, b"\xff\xff")
        empty = await client.open(LOCK)
        await wait_ended(client, empty)
        two = await client.open(LOCK, framed(lock(2)) + framed(lock(2)))
        await wait_ended(client, two)

        assert [Code.INTERNAL] * 3 == [each.status[0] for each in (malformed, empty, two)]
        assert not waiting.ended
        await client.close()


@pytest.mark.slow
async def test_hundreds_wait_and_each_has_its_turn() -> None:
    """Calls of many connections wait for one lock at once, and all get it in their order."""
    count = 150
    async with front(limits=Limits(streams_max=60), seconds=60) as found:
        clients = [await found.client() for _ in range(5)]
        await grant(clients[0], *range(1, count + 1))
        waiting = []
        for lease in range(1, count + 1):
            waiting.append(await clients[lease % 5].open(LOCK, framed(lock(lease))))
            await wait_keys(clients[lease % 5], lease)
        for lease in range(1, count + 1):
            reply = waiting[lease - 1]
            await wait_ended(clients[lease % 5], reply)
            key = messages.LockResponse.FromString(reply.messages[0]).key
            assert key == b"l/%x" % lease
            request = messages.UnlockRequest(key=key).SerializeToString()
            assert (await clients[0].call(UNLOCK, request)).status[0] == 0
        await trio.testing.wait_all_tasks_blocked()
        assert not found.server.hub.sessions
        for client in clients:
            await client.close()
