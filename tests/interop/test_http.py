"""The doors besides gRPC: curl over HTTP/1.1 and HTTP/2, and WebSocket watches."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest
import trio
import trio_websocket
from trio_websocket import WebSocketConnection

from trioetcd.client import open_client
from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

WATCH_SECONDS: Final = 10.0


def curl(server: ServerProcess, path: str, *arguments: str) -> tuple[int, str, str, str]:
    """Give status, HTTP version, content type and body of one request."""
    done = subprocess.run(
        [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--cacert",
            str(server.cacert),
            "--cert",
            str(server.cert),
            "--key",
            str(server.key),
            "--write-out",
            "\n%{http_code}\n%{http_version}\n%{content_type}",
            *arguments,
            f"{server.endpoint}{path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    body, status, version, kind = done.stdout.rsplit("\n", 3)
    return int(status), version, kind, body


VERSIONS = pytest.mark.parametrize(("flag", "spoken"), [("--http1.1", "1.1"), ("--http2", "2")])


@VERSIONS
def test_version(member: ServerProcess, etcd: ServerProcess, flag: str, spoken: str) -> None:
    """/version has etcd's two keys first, all values numeric, over both protocols."""
    status, version, kind, body = curl(member, "/version", flag)
    expected = curl(etcd, "/version", "--http1.1")
    assert (status, version, kind) == (200, spoken, expected[2])
    ours, real = json.loads(body), json.loads(expected[3])
    assert list(real) == ["etcdserver", "etcdcluster"]
    assert list(ours) == [*real, "storage"]  # since 3.6
    for text in ours.values():
        assert all(part.isdigit() for part in text.split("."))


@VERSIONS
def test_health(member: ServerProcess, etcd: ServerProcess, flag: str, spoken: str) -> None:
    """/health says what etcd says, over both protocols."""
    status, version, kind, body = curl(member, "/health", flag)
    expected = curl(etcd, "/health", "--http1.1")
    assert (status, version) == (200, spoken)
    assert kind.partition(";")[0] == expected[2].partition(";")[0]
    assert json.loads(body) == json.loads(expected[3])


@VERSIONS
def test_metrics(member: ServerProcess, etcd: ServerProcess, flag: str, spoken: str) -> None:
    """/metrics is Prometheus text, and its etcd_* families are etcd's own, of the same type."""
    status, version, kind, body = curl(member, "/metrics", flag)
    expected = curl(etcd, "/metrics", "--http1.1")
    assert (status, version) == (200, spoken)
    assert kind.startswith("text/plain; version=0.0.4")
    ours, real = families(body), families(expected[3])
    shared = {name for name in ours if name.startswith("etcd_") and name in real}
    assert {name: ours[name] for name in shared} == {name: real[name] for name in shared}
    assert {
        "etcd_server_has_leader",
        "etcd_server_is_leader",
        "etcd_server_proposals_committed_total",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_disk_wal_fsync_duration_seconds",
    } <= shared


def families(body: str) -> dict[str, str]:
    """Give the type of each metric family."""
    lines = (line.split() for line in body.splitlines() if line.startswith("# TYPE "))
    return {words[2]: words[3] for words in lines}


def test_curl_without_certificate(member: ServerProcess) -> None:
    """Without a client certificate curl gets no byte of an answer."""
    done = subprocess.run(
        ["curl", "-s", "--max-time", "5", "--cacert", str(member.cacert), member.endpoint],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""


def encoded(data: bytes) -> str:
    """Give bytes as etcd's JSON writes them."""
    return base64.b64encode(data).decode()


@asynccontextmanager
async def tls_stream(
    server: ServerProcess, tls: ssl.SSLContext
) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """Open a TLS stream that is closed, whatever happens: trio-websocket leaves that to us."""
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", server.port, ssl_context=tls)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def converse(
    server: ServerProcess,
    requests: Sequence[dict[str, Any]],
    key: bytes,
    count: int,
) -> list[dict[str, Any]]:
    """Send watch requests over WebSocket, change `key` twice, and give `count` answers."""
    tls = ssl.create_default_context(cafile=server.cacert)
    tls.load_cert_chain(server.cert, server.key)
    answers: list[dict[str, Any]] = []
    with trio.fail_after(WATCH_SECONDS):
        async with (
            open_client(
                server.endpoint,
                cacert=server.cacert,
                cert=server.cert,
                key=server.key,
            ) as client,
            tls_stream(server, tls) as stream,
            trio.open_nursery() as nursery,
        ):
            host = f"127.0.0.1:{server.port}"
            socket: WebSocketConnection = await trio_websocket.wrap_client_stream(
                nursery,
                stream,
                host,
                "/v3/watch",
            )
            for request in requests:
                await socket.send_message(json.dumps(request))
                answers.append(json.loads(await socket.get_message()))
            await client.put(key, b"1")
            await client.delete(key)
            while len(answers) < count:
                answers.append(json.loads(await socket.get_message()))
            nursery.cancel_scope.cancel()
    return answers


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Leave out what no two clusters share."""
    result = json.loads(json.dumps(answer))["result"]
    assert set(result["header"]) == {"cluster_id", "member_id", "revision", "raft_term"}
    del result["header"]
    for event in result.get("events", []):
        for item in (event["kv"], event.get("prev_kv", {})):
            for name in ("create_revision", "mod_revision"):
                item.pop(name, None)
    assert isinstance(result, dict)
    return result


async def test_websocket_watch(member: ServerProcess, etcd: ServerProcess) -> None:
    """A WebSocket watch answers in etcd's JSON, field by field as the real etcd does."""
    key = b"websocket/k"
    create = {"create_request": {"key": encoded(key), "prev_kv": True}}
    seen = [await converse(server, [create], key, 3) for server in (member, etcd)]
    ours, real = ([comparable(answer) for answer in answers] for answers in seen)
    assert ours == real
    assert ours[0] == {"created": True}
    assert ours[1]["events"][0]["kv"]["value"] == encoded(b"1")
    assert ours[2]["events"][0]["type"] == "DELETE"
    assert ours[2]["events"][0]["prev_kv"]["value"] == encoded(b"1")


async def test_websocket_watch_id_and_cancel(member: ServerProcess, etcd: ServerProcess) -> None:
    """A chosen watch id is kept, a cancel is confirmed, and camelCase is understood too."""
    key = b"websocket/c"
    requests: list[dict[str, Any]] = [
        {"create_request": {"key": encoded(key), "watch_id": 7}},
        {"createRequest": {"key": encoded(b"x"), "rangeEnd": encoded(b"y"), "watchId": "8"}},
        {"cancel_request": {"watch_id": "8"}},
        {"progress_request": {}},
    ]
    seen = [await converse(server, requests, key, 6) for server in (member, etcd)]
    ours, real = ([comparable(answer) for answer in answers] for answers in seen)
    assert ours == real
    assert ours[:4] == [
        {"watch_id": "7", "created": True},
        {"watch_id": "8", "created": True},
        {"watch_id": "8", "canceled": True},
        {"watch_id": "-1"},
    ]


async def test_websocket_without_certificate(member: ServerProcess) -> None:
    """Without a client certificate no WebSocket opens."""
    tls = ssl.create_default_context(cafile=member.cacert)
    upgrade = (
        b"GET /v3/watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with trio.fail_after(WATCH_SECONDS):
        async with tls_stream(member, tls) as stream:
            # in TLS 1.3 the client learns of the refusal when it first reads
            with suppress(trio.BrokenResourceError):
                await stream.send_all(upgrade)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
