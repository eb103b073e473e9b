"""Tests of `trioetcd.api`: every handler through the router, over a member in memory."""

from __future__ import annotations

import pytest

from tests.api.metadata import NoMetadata
from tests.runtime.member import Caller, fill, running
from trioetcd.api.router import Router
from trioetcd.errors import Code, EtcdError
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.schema.services import METHODS


async def call(server: Server, path: str, request: messages.Message) -> bytes:
    """Make a unary call and give its answer, now or later."""
    caller = Caller()
    handler = Router.of(server).unary[path]
    answer = handler(caller, 1, NoMetadata(), request.SerializeToString())
    found = await caller.wait(1) if answer is None else answer
    if isinstance(found, EtcdError):
        raise found
    return found if isinstance(found, bytes) else b"".join(found)


async def test_every_path_of_the_table_is_served_or_says_so() -> None:
    """A path with a handler is in the method table, one without says UNIMPLEMENTED."""
    async with running() as server:
        router = Router.of(server)
        for path, method in METHODS.items():
            streaming = method.client_streaming or method.server_streaming
            assert (path in router.unary) <= (not streaming), path
            error = router.unknown(path)
            assert error.code == Code.UNIMPLEMENTED
            assert "is not served by this version" in error.text


async def test_kv_goes_round() -> None:
    """Put, range, delete, txn and compact do what they say and carry one header each."""
    async with running() as server:
        await fill(server, 5)
        kv = "/etcdserverpb.KV/"
        everything = messages.RangeRequest(key=b"\0", range_end=b"\0")
        found = messages.RangeResponse.FromString(await call(server, kv + "Range", everything))
        assert (5, 6, server.replica.member_id) == (
            found.count,
            found.header.revision,
            found.header.member_id,
        )
        delete = messages.DeleteRangeRequest(key=b"k", range_end=b"l")
        deleted = messages.DeleteRangeResponse.FromString(
            await call(server, kv + "DeleteRange", delete)
        )
        assert (5, 7) == (deleted.deleted, deleted.header.revision)
        txn = messages.TxnRequest()
        txn.success.add().request_put.key = b"t"
        done = messages.TxnResponse.FromString(await call(server, kv + "Txn", txn))
        assert (True, 8) == (done.succeeded, done.header.revision)
        compaction = messages.CompactionRequest(revision=7, physical=True)
        await call(server, kv + "Compact", compaction)
        with pytest.raises(EtcdError, match="compacted"):
            await call(server, kv + "Range", messages.RangeRequest(key=b"k", revision=3))


async def test_what_is_wrong_is_refused_before_it_is_proposed() -> None:
    """An empty key, an unknown service of health: an error at once, no revision used."""
    async with running() as server:
        with pytest.raises(EtcdError, match="key is not provided"):
            await call(server, "/etcdserverpb.KV/Put", messages.PutRequest())
        with pytest.raises(EtcdError, match="unknown service"):
            await call(
                server, "/grpc.health.v1.Health/Check", messages.HealthCheckRequest(service="x")
            )
        assert server.store.revision == 1


async def test_the_member_tells_of_itself() -> None:
    """Member list, status and hashes name this member and agree with each other."""
    async with running() as server:
        await fill(server, 3)
        listed = messages.MemberListResponse.FromString(
            await call(
                server,
                "/etcdserverpb.Cluster/MemberList",
                messages.MemberListRequest(linearizable=True),
            )
        )
        assert [server.replica.member_id] == [member.ID for member in listed.members]
        status = messages.StatusResponse.FromString(
            await call(server, "/etcdserverpb.Maintenance/Status", messages.StatusRequest())
        )
        assert (server.replica.member_id, []) == (status.leader, list(status.errors))
        path = "/etcdserverpb.Maintenance/HashKV"
        hashes = {await call(server, path, messages.HashKVRequest(revision=4)) for _ in range(2)}
        assert len(hashes) == 1


async def test_leases_go_round() -> None:
    """Grant draws an id, time-to-live and the list know it, revoke ends it."""
    async with running() as server:
        lease = "/etcdserverpb.Lease/Lease"
        granted = messages.LeaseGrantResponse.FromString(
            await call(server, lease + "Grant", messages.LeaseGrantRequest(TTL=60))
        )
        assert granted.ID > 0
        alive = messages.LeaseTimeToLiveResponse.FromString(
            await call(server, lease + "TimeToLive", messages.LeaseTimeToLiveRequest(ID=granted.ID))
        )
        assert (60, True) == (alive.grantedTTL, 0 < alive.TTL <= 60)
        listed = messages.LeaseLeasesResponse.FromString(
            await call(server, lease + "Leases", messages.LeaseLeasesRequest())
        )
        assert [granted.ID] == [one.ID for one in listed.leases]
        await call(server, lease + "Revoke", messages.LeaseRevokeRequest(ID=granted.ID))
        gone = messages.LeaseTimeToLiveResponse.FromString(
            await call(server, lease + "TimeToLive", messages.LeaseTimeToLiveRequest(ID=granted.ID))
        )
        assert gone.TTL == -1
