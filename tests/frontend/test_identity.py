"""One identity on every path: who a client is over WebSocket and over gRPC, with real TLS."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio_websocket import wrap_client_stream

from tests.api.metadata import NoMetadata
from tests.api.users import SETUP, Users
from tests.frontend.foreign import Front, front
from tests.frontend.test_metadata import RANGE, status
from tests.frontend.test_websocket import create, receive
from trioetcd.errors import INVALID_AUTH_TOKEN, PERMISSION_DENIED
from trioetcd.schema import messages as m

Header = tuple[bytes, bytes]

NAME = "name"
"""The common name of the client's certificate."""


async def users_of(found: Front) -> Users:
    """Make users at a member, and enable auth; the client's certificate names one with root."""
    users = Users(found.server)
    mine: list[tuple[str, m.Message]] = [
        ("Auth/UserAdd", m.AuthUserAddRequest(name=NAME)),
        ("Auth/UserGrantRole", m.AuthUserGrantRoleRequest(user=NAME, role="root")),
    ]
    for rpc, request in (*SETUP[:-1], *mine, SETUP[-1]):
        await users.call(NoMetadata(), rpc, request)
    return users


async def watched(
    found: Front, key: str, headers: Sequence[Header] = (), protocols: Sequence[str] = ()
) -> str:
    """Watch over WebSocket; give why that is refused, "" if it is not."""
    stream = await found.connect(alpn=("http/1.1",))
    assert isinstance(stream, trio.SSLStream)
    async with trio.open_nursery() as nursery:
        connection = await wrap_client_stream(
            nursery,
            stream,
            "localhost",
            "/v3/watch",
            extra_headers=list(headers),
            subprotocols=list(protocols),
        )
        assert connection.subprotocol == (protocols[0] if protocols else None)
        await connection.send_message(create(key))
        answer = await receive(connection)
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
    if "error" in answer:
        return str(answer["error"]["message"])
    return str(answer["result"].get("cancel_reason", "")).rpartition("desc = ")[2]


async def test_a_watch_over_websocket_has_a_user() -> None:
    """The certificate's, or the token's, wherever that is shown."""
    async with front(seconds=60) as found:
        users = await users_of(found)
        assert await watched(found, "z") == ""
        token = await users.login("reader")
        ways: list[tuple[list[Header], list[str]]] = [
            ([(b"Authorization", b"Bearer " + token.encode())], []),
            ([(b"Authorization", token.encode())], []),
            ([(b"Cookie", b"other=1; token=" + token.encode())], []),
            ([], ["Bearer", token]),
        ]
        for headers, protocols in ways:
            assert await watched(found, "k", headers, protocols) == ""
            denied = await watched(found, "z", headers, protocols)
            assert denied == PERMISSION_DENIED.text
        wrong = [(b"Authorization", b"Bearer none")]
        assert await watched(found, "k", wrong) == INVALID_AUTH_TOKEN.text


@pytest.mark.parametrize("name", ["token", "authorization"])
async def test_a_call_over_grpc_has_a_user(name: str) -> None:
    """Likewise; calls of one connection do not share it."""
    async with front(seconds=60) as found:
        users = await users_of(found)
        token = (await users.login("writer")).encode()
        client = await found.client()
        for _ in range(2):
            assert await status(client, RANGE) == (0, "")
            told = await status(client, RANGE, **{name: token})
            assert told == (PERMISSION_DENIED.code, PERMISSION_DENIED.text)
            told = await status(client, RANGE, **{name: b"none"})
            assert told == (INVALID_AUTH_TOKEN.code, INVALID_AUTH_TOKEN.text)
        await client.close()
