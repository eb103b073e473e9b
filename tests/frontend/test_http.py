"""Tests of `trioetcd.frontend.http`: plain HTTP on the client port, over HTTP/2."""

from __future__ import annotations

import json

from tests.frontend.foreign import front
from tests.runtime.member import Caller
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind


async def test_paths_answer_over_http2() -> None:
    """Version, health, probes and metrics are served beside gRPC on one connection."""
    async with front() as found:
        client = await found.client()
        version = await client.get("/version")
        assert "200" == version.head[":status"]
        assert {"etcdserver", "etcdcluster", "storage"} == json.loads(version.body).keys()
        health = await client.get("/health?serializable=true")
        assert json.loads(health.body)["health"] == "true"
        for path in ("/livez", "/readyz"):
            assert (await client.get(path)).head[":status"] == "200"
        metrics = await client.get("/metrics")
        assert metrics.head["content-type"].startswith("text/plain; version=0.0.4")
        assert b"etcd_server_has_leader" in metrics.body
        statuses = [
            (await client.get(path, method=method)).head[":status"]
            for path, method in (("/nothing", "GET"), ("/metrics", "DELETE"), ("/health", "PUT"))
        ]
        assert ["404", "405", "405"] == statuses
        head = await client.get("/version", method="HEAD")
        assert b"" == head.body
        await client.close()


async def test_an_alarm_is_bad_health() -> None:
    """While an alarm is raised /health says so."""
    async with front() as found:
        caller = Caller()
        request = messages.AlarmRequest(action=1, memberID=1, alarm=messages.NOSPACE)
        found.server.propose(caller, 1, CommandKind.ALARM, request.SerializeToString(), None)
        await caller.wait(1)
        client = await found.client()
        answer = await client.get("/health")

        assert "503" == answer.head[":status"]
        assert json.loads(answer.body)["reason"] == "ALARM NOSPACE"
        await client.close()
