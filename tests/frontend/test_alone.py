"""Tests of who is alone: for a lone client of a lone member the loop writes (docs/adr/0013)."""

from __future__ import annotations

import pytest

from tests.frontend.foreign import Client, Front, framed, front
from tests.runtime.member import put_message
from trioetcd.runtime.driver import LONE_CALLS
from trioetcd.schema import messages

SERVICE = "/etcdserverpb."


async def writes_here(found: Front, client: Client) -> bool:
    """Put; whether the loop itself wrote it."""
    before = len(found.disk.here)
    answer = await client.call(f"{SERVICE}KV/Put", put_message(b"k"))
    assert answer.status == (0, "")
    return found.disk.here[before:] == [True]


async def until_alone(found: Front, client: Client) -> None:
    """Put until the loop writes; a real machine may be slow for a moment."""
    while not await writes_here(found, client):
        pass


async def read(client: Client) -> None:
    await client.call(f"{SERVICE}KV/Range", messages.RangeRequest(key=b"k").SerializeToString())


async def test_a_lone_client_has_its_puts_written_by_the_loop() -> None:
    """Whoever puts one key after the other, and is alone for a while, needs no thread."""
    async with front() as found:
        client = await found.client()
        first = [await writes_here(found, client) for _ in range(LONE_CALLS)]
        assert True not in first
        await until_alone(found, client)
        await client.close()


@pytest.mark.parametrize("company", ["a connection", "a watch", "a lease", "reads"])
async def test_company_leaves_the_disk_to_the_thread(company: str) -> None:
    """Another connection, a watch, a lease, or reads between the puts: the loop does not wait."""
    async with front() as found:
        client = await found.client()
        await until_alone(found, client)
        if company == "a connection":
            await read(await found.client())
        elif company == "a watch":
            request = messages.WatchRequest()
            request.create_request.key = b"other"
            stream = await client.open(
                f"{SERVICE}Watch/Watch", framed(request.SerializeToString()), end=False
            )
            await client.wait(lambda: stream.messages)
        elif company == "a lease":
            grant = messages.LeaseGrantRequest(ID=5, TTL=100).SerializeToString()
            await client.call(f"{SERVICE}Lease/LeaseGrant", grant)
        here = []
        for _ in range(2 * LONE_CALLS):
            if company == "reads":
                await read(client)
            here.append(await writes_here(found, client))
        assert True not in here
        await client.close()
