"""Tests of `trioetcd.frontend.websocket`, with trio-websocket's client over real TLS."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.frontend.foreign import Front, front
from tests.runtime.member import Caller, put


def create(key: str, **more: object) -> str:
    encoded = b64encode(key.encode()).decode()
    return json.dumps({"create_request": {"key": encoded, **more}})


@asynccontextmanager
async def socket(
    found: Front, *, origin: str | None = None, path: str = "/v3/watch"
) -> AsyncIterator[WebSocketConnection]:
    stream = await found.connect(alpn=("http/1.1",))
    assert isinstance(stream, trio.SSLStream)
    headers = [] if origin is None else [(b"Origin", origin.encode())]
    async with trio.open_nursery() as nursery:
        try:
            yield await wrap_client_stream(
                nursery, stream, "localhost", path, extra_headers=headers
            )
        finally:
            nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(stream)


async def receive(connection: WebSocketConnection) -> dict[str, Any]:
    answer = json.loads(await connection.get_message())
    assert isinstance(answer, dict)
    return answer


async def created(connection: WebSocketConnection) -> None:
    assert (await receive(connection))["result"]["created"] is True


async def test_a_watch_sees_events() -> None:
    """A watch is made, its events come as JSON, one answer a frame; closing ends it."""
    async with front() as found:
        async with socket(found) as connection:
            await connection.send_message(create("k"))
            await created(connection)
            caller = Caller()
            put(found.server, caller, 1, b"k", b"v")
            event = (await receive(connection))["result"]["events"][0]
            expected = [b64encode(text).decode() for text in (b"k", b"v")]

            assert expected == [event["kv"]["key"], event["kv"]["value"]]
            await connection.aclose()
        while found.server.hub.sessions:
            await trio.testing.wait_all_tasks_blocked()


async def test_requests_may_be_cut_anywhere() -> None:
    """A request in two frames is one request, wherever it is cut."""
    text = '{"create_request": {"key": "aw\\u003d\\u003d", "watch_id": -12, "prev_kv": true}}'
    text = text.replace("\\u003d\\u003d", "==") + " "
    async with front() as found, socket(found) as connection:
        for at in range(1, len(text) - 1):
            request = text.replace("-12", str(at + 100))
            await connection.send_message(request[:at])
            await connection.send_message(request[at:])
            answer = (await receive(connection))["result"]
            assert (str(at + 100), True) == (answer["watch_id"], answer["created"]), text[:at]


async def test_several_requests_in_a_frame() -> None:
    """Objects one after the other, with or without space, in text or binary, are all taken."""
    async with front() as found, socket(found) as connection:
        await connection.send_message(create("a") + create("b") + "\n " + create("c"))
        for _ in range(3):
            await created(connection)
        await connection.send_message(create("d").encode())
        await created(connection)
        assert found.server.hub.watchers == 4


@pytest.mark.parametrize(
    "garbage",
    [
        "garbage",
        "{]",
        "[1]",
        "5",
        '"text"',
        '{"create_request": 5}',
        '{"create_request": {"key": "?"}}',
        b"\xff\xfe",
        "[" * 100_000,
        create("k") + "}",
    ],
)
async def test_garbage_is_told_and_ends_the_stream(garbage: str | bytes) -> None:
    """What is no watch request gets an error object and close code 1007."""
    async with front() as found, socket(found) as connection:
        await connection.send_message(garbage)
        answer = await receive(connection)
        if "result" in answer:
            answer = await receive(connection)
        with pytest.raises(ConnectionClosed) as caught:
            await connection.get_message()

        assert (3, 400) == (answer["error"]["grpc_code"], answer["error"]["http_code"])
        assert answer["error"]["message"]
        reason = caught.value.reason
        assert reason is not None
        assert reason.code == 1007


async def test_an_endless_object_is_garbage() -> None:
    """An object that is not complete after a megabyte is not waited for."""
    async with front() as found, socket(found) as connection:
        await connection.send_message('{"create_request": {"key": "')

        async def go_on() -> None:
            for _ in range(20):
                await connection.send_message("A" * 100_000)
            while True:
                await connection.get_message()

        with pytest.raises(ConnectionClosed) as caught:
            await go_on()

        reason = caught.value.reason
        assert reason is not None
        assert reason.code == 1007


async def test_foreign_origins_are_refused() -> None:
    """A page of another origin gets 403, one of an allowed origin is served."""
    async with front(origin_allowed=lambda origin: origin == "https://good") as found:
        with pytest.raises(ExceptionGroup) as caught:
            async with socket(found, origin="https://evil"):
                pass
        assert caught.group_contains(ConnectionRejected, match="403")
        async with socket(found, origin="https://good") as connection:
            await connection.send_message(create("k"))
            await created(connection)


async def test_other_paths_have_no_websocket() -> None:
    """An upgrade elsewhere is answered with 404."""
    async with front() as found:
        with pytest.raises(ExceptionGroup) as caught:
            async with socket(found, path="/v3/other"):
                pass
        assert caught.group_contains(ConnectionRejected, match="404")


async def test_an_upgrade_that_is_none_is_refused() -> None:
    """An upgrade without its key is answered with 400 and ends."""
    async with front() as found:
        stream = await found.connect(alpn=("http/1.1",))
        await stream.send_all(
            b"GET /v3/watch HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 400 " in await stream.receive_some()
        await trio.aclose_forcefully(stream)


async def test_watches_are_cancelled_and_progress_is_told() -> None:
    """A cancel request ends a watch, a progress request is answered with the revision."""
    async with front() as found, socket(found) as connection:
        await connection.send_message(create("k", watch_id="7"))
        await created(connection)
        await connection.send_message('{"progress_request": {}}')
        progress = (await receive(connection))["result"]
        assert ("1", "-1") == (progress["header"]["revision"], progress["watch_id"])
        await connection.send_message('{"cancel_request": {"watch_id": "7"}}')
        cancelled = (await receive(connection))["result"]
        assert ("7", True) == (cancelled["watch_id"], cancelled["canceled"])
        assert found.server.hub.watchers == 0


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    """A cut connection, with events on their way, ends the session and is nobody's error."""
    async with front() as found:
        async with socket(found) as connection:
            await connection.send_message(create("k"))
            await created(connection)
            caller = Caller()
            for call in range(50):
                put(found.server, caller, call, b"k", b"x" * 10_000)
        await caller.wait(49)
        while found.server.hub.sessions:
            await trio.testing.wait_all_tasks_blocked()
