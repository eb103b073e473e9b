"""Tests of `trioetcd.frontend.http1`: plain requests, deadlines, clients that do not read."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.frontend.foreign import front
from trioetcd.frontend.http1 import IDLE_SECONDS


async def receive_until(stream: trio.abc.Stream, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = await stream.receive_some()
        assert piece, data
        data += piece
    return data


async def test_requests_of_one_connection_are_answered_in_order() -> None:
    """Over TLS with http/1.1, one after the other and pipelined, on a kept connection."""
    async with front() as found:
        stream = await found.connect(alpn=("http/1.1",))
        for path, status in ((b"/version", b"200"), (b"/health", b"200"), (b"/nothing", b"404")):
            await stream.send_all(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert (await receive_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 " + status)
        await stream.send_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        data = b""
        while data.count(b"etcdserver") < 3:
            data += await stream.receive_some()
        await stream.send_all(b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await receive_until(stream, b"etcdserver")
        assert await stream.receive_some() == b""
        await trio.aclose_forcefully(stream)


async def test_byte_by_byte_without_tls() -> None:
    """On a plain listener a PUT that trickles in is a PUT and no HTTP/2 preface."""
    async with front(secure=False) as found:
        stream = await found.connect()
        for octet in b"PUT /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n":
            await stream.send_all(bytes((octet,)))
            await trio.testing.wait_all_tasks_blocked()
        assert (await receive_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 405")
        await stream.aclose()


async def test_garbage_gets_a_400_and_a_close() -> None:
    """What is no HTTP is told so, and the connection ends."""
    async with front(secure=False) as found:
        stream = await found.connect()
        await stream.send_all(b"\x00\x01\x02\r\n\r\n")
        assert (await receive_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 400")
        while await stream.receive_some():
            pass
        await stream.aclose()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET"])
async def test_a_request_that_trickles_is_not_waited_for(
    sent: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """A request that is not there after IDLE_SECONDS is cut off, however busily it trickles."""
    async with front(seconds=1000, secure=False) as found:
        stream = await found.connect()
        started = trio.current_time()

        async def trickle() -> None:
            await stream.send_all(sent)
            while trio.current_time() < started + 10 * IDLE_SECONDS:
                await trio.sleep(1)  # on the mock clock
                await stream.send_all(b"X: y\r\n" if sent.endswith(b"\n") else b"T")

        with pytest.raises(trio.BrokenResourceError):
            await trickle()

        assert trio.current_time() - started <= IDLE_SECONDS + 3
        await stream.aclose()


async def test_a_client_that_does_not_read_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Answers that nobody reads end the connection after IDLE_SECONDS."""
    async with front(seconds=1000, secure=False, send_buffer=4096) as found:
        stream = await found.connect()
        started = trio.current_time()

        async def ask() -> None:
            while True:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")

        with pytest.raises(trio.BrokenResourceError):
            await ask()
        assert trio.current_time() - started <= IDLE_SECONDS + 3
        await stream.aclose()


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
async def test_only_known_hosts_are_asked_for_without_tls(upgrade: bytes) -> None:
    """A page whose name was made to point here is told 421; with TLS the certificate decides."""
    allowed = {"localhost", "::1"}
    ask = b"GET /version HTTP/1.1\r\nHost: %s\r\n" + upgrade + b"\r\n"
    async with front(secure=False, host_allowed=lambda host: host in allowed) as found:
        for host, misdirected in (
            (b"localhost:2379", False),
            (b"[::1]:2379", False),
            (b"evil.org", True),
            (b"localhost.evil.org:2379", True),
            (b"[", True),
        ):
            stream = await found.connect()
            await stream.send_all(ask % host)
            answer = await receive_until(stream, b"\r\n\r\n")
            assert misdirected == answer.startswith(b"HTTP/1.1 421 Misdirected Request")
            await trio.aclose_forcefully(stream)
    async with front(host_allowed=lambda host: host in allowed) as found:
        stream = await found.connect(alpn=("http/1.1",))
        await stream.send_all(ask % b"evil.org")
        assert not (await receive_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 421")
        await trio.aclose_forcefully(stream)
