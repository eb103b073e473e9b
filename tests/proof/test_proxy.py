"""The proxy between members: what passes, what waits, and who dialled."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from tests.proof.proxy import Proxy, owner_of


async def echo(stream: trio.SocketStream) -> None:
    """Give back what comes, until the end."""
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()


@asynccontextmanager
async def proxied(dialler: int | None = 0) -> AsyncIterator[tuple[Proxy, trio.SocketStream]]:
    """Give a proxy in front of two echoes, and a connection through it to the second."""
    async with trio.open_nursery() as nursery:
        listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
        for listener in listeners:
            nursery.start_soon(partial(trio.serve_listeners, echo, [listener]))
        ports = [listener.socket.getsockname()[1] for listener in listeners]
        proxy = Proxy(ports, lambda _: dialler, random.Random(1))
        await nursery.start(proxy.run)
        stream = await trio.open_tcp_stream("127.0.0.1", proxy.ports[1])
        with trio.fail_after(10):
            async with stream:
                yield proxy, stream
        nursery.cancel_scope.cancel()


async def test_bytes_and_their_end_pass() -> None:
    """What goes in comes out, and the end of one side is seen at the other."""
    async with proxied() as (proxy, stream):
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        await stream.send_eof()
        assert await stream.receive_some() == b""
        assert proxy.passed == {(0, 1): 5, (1, 0): 5}


@pytest.mark.parametrize("direction", [(0, 1), (1, 0)])
async def test_a_cut_direction_passes_nothing_until_it_is_mended(
    direction: tuple[int, int],
) -> None:
    """Bytes sent into a cut wait, in either direction, and arrive once it is mended."""
    async with proxied() as (proxy, stream):
        await stream.send_all(b"1")
        assert await stream.receive_some() == b"1"
        proxy.lines[direction].cut()
        await stream.send_all(b"2")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert proxy.passed[1, 0] == 1
        assert proxy.passed[0, 1] == (1 if direction == (0, 1) else 2)
        proxy.heal()
        assert await stream.receive_some() == b"2"


@pytest.mark.parametrize("pair", [(0, 1), (1, 0)])
async def test_who_is_refused_cannot_dial(pair: tuple[int, int]) -> None:
    """Its connections break, and new ones do; whoever dials in the other direction is served."""
    async with proxied() as (proxy, stream):
        await stream.send_all(b"1")
        assert await stream.receive_some() == b"1"
        proxy.refuse(*pair)
        async with await trio.open_tcp_stream("127.0.0.1", proxy.ports[1]) as again:
            if pair == (0, 1):
                for each in (stream, again):
                    with pytest.raises(trio.BrokenResourceError):
                        await each.receive_some()
            else:
                for each in (stream, again):
                    await each.send_all(b"2")
                    assert await each.receive_some() == b"2"


async def test_a_reset_breaks_connections_and_new_ones_work() -> None:
    """After a reset the old connection is dead and the next one is not."""
    async with proxied() as (proxy, stream):
        await stream.send_all(b"1")
        assert await stream.receive_some() == b"1"
        proxy.reset()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        async with await trio.open_tcp_stream("127.0.0.1", proxy.ports[1]) as again:
            await again.send_all(b"2")
            assert await again.receive_some() == b"2"


async def test_what_is_lost_never_arrives() -> None:
    """With a loss of everything nothing passes, also after it is mended."""
    async with proxied() as (proxy, stream):
        await stream.send_all(b"1")
        assert await stream.receive_some() == b"1"
        proxy.lines[0, 1].loss = 1.0
        await stream.send_all(b"lost")
        await trio.testing.wait_all_tasks_blocked(0.02)
        proxy.heal()
        await stream.send_all(b"2")
        assert await stream.receive_some() == b"2"


async def test_strangers_are_not_held_up() -> None:
    """A cut between members does not concern a connection that no member began."""
    async with proxied(dialler=None) as (proxy, stream):
        proxy.isolate(0)
        proxy.isolate(1)
        await stream.send_all(b"1")
        assert await stream.receive_some() == b"1"


def test_the_owner_of_a_port_is_found() -> None:
    """A connection is traced to the process that has it, and to none that has not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            port = client.getsockname()[1]
            assert owner_of(port, {3: 1, 7: os.getpid()}) == 7
            assert owner_of(port, {}) is None
        assert owner_of(1, {7: os.getpid()}) is None
