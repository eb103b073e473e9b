"""Metadata of calls over real TLS sockets: versions, leaders, and what is none of our business."""

from __future__ import annotations

import pytest

from tests.frontend.foreign import Client, framed, front
from trioetcd.errors import Code
from trioetcd.schema import messages
from trioetcd.values import MemberID

RANGE = "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
READ = messages.RangeRequest(key=b"k", serializable=True).SerializeToString()
WRONG = (Code.INVALID_ARGUMENT, "etcdserver: invalid client api version")
NO_LEADER = (Code.UNAVAILABLE, "etcdserver: no leader")


async def status(client: Client, path: str, **headers: str | bytes) -> tuple[int, str]:
    """Make a call to its end, with metadata."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await client.open(path, framed(READ if path == RANGE else b""), headers=named)
    await client.wait(lambda: reply.ended)
    return reply.status


async def test_a_version_that_is_no_text_is_refused_on_every_call() -> None:
    """Unary calls and streams, with and without a timeout of their own; others are served."""
    async with front() as found:
        client = await found.client()
        for path in (RANGE, WATCH):
            for timeout in ("5S", "6S", "7S"):
                told = await status(
                    client, path, client_api_version=b"\xff\xfe", grpc_timeout=timeout
                )
                assert told == WRONG
        assert await status(client, RANGE) == (0, "")
        await client.close()


async def test_versions_are_counted_whatever_the_timeout() -> None:
    """Go's clients send a fresh timeout with every call, and each of their calls counts."""
    async with front() as found:
        client = await found.client()
        for number in range(5):
            told = await status(
                client, RANGE, client_api_version="3.7", grpc_timeout=f"{number + 1}S"
            )
            assert told == (0, "")
        assert await status(client, WATCH, client_api_version="3.7") == (0, "")
        series = found.server.metrics.server_client_requests_total.series

        assert {("unary", "3.7"): 5, ("stream", "3.7"): 1} == {
            labels: counter.value for labels, counter in series.items()
        }
        await client.close()


async def test_who_asks_for_a_leader_is_refused_without_one() -> None:
    """A unary call and a stream with `hasleader`; the same without are served."""
    async with front() as found:
        client = await found.client()
        assert await status(client, RANGE, hasleader="true") == (0, "")
        assert await status(client, WATCH, hasleader="true") == (0, "")
        found.server.replica._raft.leader = MemberID(0)
        for path in (RANGE, WATCH):
            assert await status(client, path, hasleader="true") == NO_LEADER
            assert await status(client, path, hasleader="false") == (0, "")
        await client.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"token": "t", "authorization": "Bearer t"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"whatever": "x", "whatever_bin": "AAAA"},
    ],
)
async def test_other_metadata_are_let_pass(headers: dict[str, str]) -> None:
    """What no one here reads changes nothing."""
    async with front() as found:
        client = await found.client()
        assert await status(client, RANGE, **headers) == (0, "")
        await client.close()
