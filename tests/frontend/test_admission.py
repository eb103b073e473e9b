"""Tests of `trioetcd.frontend.admission`: which protocol, and whose trouble an exception is."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.frontend.foreign import Client, framed, front
from tests.runtime.member import put_message
from trioetcd.errors import Code
from trioetcd.frontend.admission import FIRST_BYTES_SECONDS


async def test_http2_is_known_by_its_preface() -> None:
    """Without TLS the preface decides, even byte by byte."""
    async with front(secure=False) as found:
        stream = await found.connect()
        client = Client(stream)
        for octet in client.h2.data_to_send():
            await stream.send_all(bytes((octet,)))
        found.nursery.start_soon(client.read)
        answer = await client.call("/etcdserverpb.KV/Put", put_message(b"k"))

        assert answer.status == (0, "")
        await client.close()


async def test_who_says_nothing_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """A connection without ALPN that stays silent, or half-says a preface, ends."""
    async with front(seconds=1000, secure=False) as found:
        for sent in (b"", b"PRI * HT"):
            stream = await found.connect()
            started = trio.current_time()
            await stream.send_all(sent)
            data = await stream.receive_some()
            while data:
                data = await stream.receive_some()
            assert trio.current_time() - started <= FIRST_BYTES_SECONDS + 31
            await stream.aclose()


async def test_a_plain_door_has_no_api() -> None:
    """Where only plain HTTP is served a call is UNIMPLEMENTED and nothing is written."""
    async with front(api=False) as found:
        client = await found.client()
        answer = await client.call("/etcdserverpb.KV/Put", put_message(b"k"))
        assert answer.status[0] == Code.UNIMPLEMENTED
        assert (await client.get("/version")).head[":status"] == "200"
        stream = await client.open("/etcdserverpb.Watch/Watch", framed(b""))
        await client.wait(lambda: stream.ended)

        assert stream.status[0] == Code.UNIMPLEMENTED
        assert found.server.store.revision == 1
        await client.close()


async def test_connections_are_counted_while_they_last() -> None:
    """The gauge of connections goes up and down with them, and bytes are counted."""
    async with front() as found:
        metrics = found.server.metrics
        clients = [await found.client() for _ in range(3)]
        for client in clients:
            await client.call("/etcdserverpb.KV/Put", put_message(b"k"))
        assert metrics.trioetcd_connections.value == 3
        for client in clients:
            await client.close()
        while metrics.trioetcd_connections.value:
            await trio.testing.wait_all_tasks_blocked()

        assert metrics.network_client_grpc_received_bytes_total.value > 100
        assert metrics.network_client_grpc_sent_bytes_total.value > 100


@pytest.mark.parametrize("path", ["/etcdserverpb.Maintenance/Status", "/etcdserverpb.KV/Put"])
async def test_late_comers_of_a_drain_are_turned_away(path: str) -> None:
    """A connection that comes in while the member drains is told GOAWAY at once."""
    async with front() as found:
        found.server.stop_serving()
        await found.frontend.drain()
        client = await found.client()
        with pytest.raises(AssertionError, match="closed"):
            await client.wait(lambda: False)

        assert client.goaways
        await client.close()
