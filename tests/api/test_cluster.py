"""Tests of `trioetcd.api.cluster`: members come and go, and etcd's words for when they must not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.api.metadata import NoMetadata
from tests.runtime.member import PEER_URL, Caller, Disk, fill, make_server, running
from trioetcd.api.cluster import ClusterAPI
from trioetcd.api.context import Metadata
from trioetcd.api.health import HealthAPI
from trioetcd.api.kv import KVAPI
from trioetcd.api.lease import LeaseAPI
from trioetcd.api.maintenance import MaintenanceAPI
from trioetcd.api.router import Router
from trioetcd.api.watch import WatchAPI
from trioetcd.cluster import Member, cluster_id, member_id
from trioetcd.errors import Code, EtcdError
from trioetcd.ports import Sink
from trioetcd.replica import bootstrap
from trioetcd.runtime.server import Answer, Server, ServerLimits
from trioetcd.schema import messages
from trioetcd.values import MemberID

CHANGES = ("Add", "Remove", "Update", "Promote", "List")
NEW = "https://127.0.0.1:2480"
Handler = Callable[[Sink, int, Metadata, bytes], Answer]


async def call(handler: Handler, request: messages.Message) -> bytes:
    """Make a call and give its answer, now or later."""
    caller = Caller()
    answer = handler(caller, 1, NoMetadata(), request.SerializeToString())
    found = await caller.wait(1) if answer is None else answer
    if isinstance(found, EtcdError):
        raise found
    assert isinstance(found, bytes)
    return found


async def refused(handler: Handler, request: messages.Message) -> tuple[Code, str]:
    with pytest.raises(EtcdError) as caught:
        await call(handler, request)
    return caught.value.code, caught.value.text


@asynccontextmanager
async def started(
    *, limits: ServerLimits | None = None
) -> AsyncIterator[tuple[Server, ClusterAPI]]:
    """Run a member that has told its cluster its name."""
    async with running(limits=limits) as server:
        await fill(server, 1)
        yield server, ClusterAPI(server)


def learner(*urls: str) -> messages.MemberAddRequest:
    return messages.MemberAddRequest(peerURLs=urls, isLearner=True)


async def test_a_learner_comes_moves_and_goes() -> None:
    """Every answer lists the members after the change; the header has no revision."""
    async with started() as (server, cluster):
        me = server.replica.member_id
        before = int(time.time())
        added = messages.MemberAddResponse.FromString(
            await call(cluster.member_add, learner("https://z:1", NEW))
        )
        urls = [NEW, "https://z:1"]
        number = added.member.ID
        assert urls == list(added.member.peerURLs)
        assert added.member.isLearner
        seconds = range(before, int(time.time()) + 1)
        assert number in {member_id(urls, "", added_at=second) for second in seconds}
        assert sorted([me, number]) == [member.ID for member in added.members]
        assert (me, 0) == (added.header.member_id, added.header.revision)
        assert added.header.raft_term == server.replica.term
        moved = messages.MemberUpdateResponse.FromString(
            await call(
                cluster.member_update, messages.MemberUpdateRequest(ID=number, peerURLs=[NEW])
            )
        )
        told = {member.ID: member for member in moved.members}
        assert ([NEW], True) == (list(told[number].peerURLs), told[number].isLearner)
        left = messages.MemberRemoveResponse.FromString(
            await call(cluster.member_remove, messages.MemberRemoveRequest(ID=number))
        )
        assert [me] == [member.ID for member in left.members]
        listed = messages.MemberListResponse.FromString(
            await call(cluster.member_list, messages.MemberListRequest(linearizable=True))
        )
        assert list(left.members) == list(listed.members)


async def test_hashes_are_told_without_asking_anybody() -> None:
    """A member whose cluster has lost its majority tells what it holds, at once, as with etcd."""
    async with started() as (server, cluster):
        await call(cluster.member_add, messages.MemberAddRequest(peerURLs=[NEW]))
        assert not server.is_current()
        maintenance = MaintenanceAPI(server)
        whom = (Caller(), 1, NoMetadata())
        told = maintenance.hash_kv(*whom, messages.HashKVRequest(revision=2).SerializeToString())
        hashed = messages.HashKVResponse.FromString(told)
        assert (2, -1) == (hashed.header.revision, hashed.compact_revision)
        whole = messages.HashResponse.FromString(maintenance.hash(*whom, b""))
        assert hashed.hash == whole.hash


async def test_a_member_hashes_only_what_it_has() -> None:
    """A revision that is compacted, or has not come to this member yet, is refused as etcd does."""
    async with started() as (server, _):
        await fill(server, 5)
        maintenance = MaintenanceAPI(server)
        server.store.compact(4)
        for revision, code, text in (
            (3, Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
            (99, Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
        ):
            request = messages.HashKVRequest(revision=revision)
            assert (code, text) == await refused(maintenance.hash_kv, request)
        for revision in (4, 5, 0):
            request = messages.HashKVRequest(revision=revision)
            told = messages.HashKVResponse.FromString(await call(maintenance.hash_kv, request))
            assert (server.store.revision, 4) == (told.header.revision, told.compact_revision)
            assert told.hash_revision == (revision or server.store.revision)


BAD = (Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
NOT_FOUND = (Code.NOT_FOUND, "etcdserver: member not found")
NOT_STARTED = (
    Code.UNKNOWN,
    "etcdserver: re-configuration failed due to not enough started members",
)
EXISTS = (Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")


@pytest.mark.parametrize("urls", [(), ("",), ("h:1",), ("https://h",), (NEW, "ftp://h:1")])
async def test_urls_that_nobody_can_dial_are_refused(urls: tuple[str, ...]) -> None:
    """Neither a new nor an old member gets them, and nothing is proposed."""
    async with started() as (server, cluster):
        index = server.replica.commit_index
        assert BAD == await refused(cluster.member_add, messages.MemberAddRequest(peerURLs=urls))
        update = messages.MemberUpdateRequest(ID=server.replica.member_id, peerURLs=urls)
        assert BAD == await refused(cluster.member_update, update)
        assert index == server.replica.commit_index


async def test_refusals_have_etcds_words() -> None:
    """What the table or the quorum forbids comes out as etcd's errors."""
    async with started() as (server, cluster):
        me = server.replica.member_id
        assert EXISTS == await refused(cluster.member_add, learner(PEER_URL))
        assert NOT_STARTED == await refused(
            cluster.member_remove, messages.MemberRemoveRequest(ID=me)
        )
        assert NOT_FOUND == await refused(cluster.member_remove, messages.MemberRemoveRequest(ID=9))
        update = messages.MemberUpdateRequest(ID=9, peerURLs=[NEW])
        assert NOT_FOUND == await refused(cluster.member_update, update)
        await call(cluster.member_add, learner(NEW))
        assert (
            Code.FAILED_PRECONDITION,
            "etcdserver: too many learner members in cluster",
        ) == await refused(cluster.member_add, learner("https://h:1"))


async def test_as_many_learners_as_the_flag_allows() -> None:
    """``--max-learners`` of the member that is asked counts."""
    async with started(limits=ServerLimits(learners_max=2)) as (server, cluster):
        for number in range(2):
            await call(cluster.member_add, learner(f"https://h:{number}"))
        assert len(server.membership) == 3


async def test_the_quorum_is_looked_after_unless_told_otherwise() -> None:
    """A second voter may come; then nobody else before it has started, and only if asked not to."""
    voter = messages.MemberAddRequest(peerURLs=[NEW])
    more = messages.MemberAddRequest(peerURLs=["https://h:1"])
    async with started() as (server, cluster):
        await call(cluster.member_add, voter)
        assert len(server.membership.voters()) == 2
        assert NOT_STARTED == await refused(cluster.member_add, more)
        server.connected = lambda: {MemberID(1): 99.0}
        index = server.replica.commit_index
        remove = messages.MemberRemoveRequest(ID=server.replica.member_id)
        assert NOT_STARTED == await refused(cluster.member_remove, remove)
        assert index == server.replica.commit_index


async def test_the_sole_voter_stays_even_without_the_check() -> None:
    """Without a voter there would be no cluster to say anything."""
    limits = ServerLimits(strict_reconfig_check=False)
    async with started(limits=limits) as (server, cluster):
        remove = messages.MemberRemoveRequest(ID=server.replica.member_id)
        assert NOT_STARTED == await refused(cluster.member_remove, remove)


async def test_the_leader_moves_to_a_voter_only() -> None:
    """To itself at once and with an empty answer; to anybody who cannot lead, not at all."""
    async with started() as (server, cluster):
        me = server.replica.member_id
        move = MaintenanceAPI(server).move_leader
        assert b"" == await call(move, messages.MoveLeaderRequest(targetID=me))
        await call(cluster.member_add, learner(NEW))
        number = next(m.id for m in server.membership.members() if m.id != me)
        bad = (Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
        for target in (number, 9):
            assert bad == await refused(move, messages.MoveLeaderRequest(targetID=target))


async def test_every_change_has_its_path() -> None:
    """The router leads to all of them."""
    async with started() as (server, _):
        unary = Router.of(server).unary
        paths = [f"/etcdserverpb.Cluster/Member{verb}" for verb in CHANGES]
        assert all(path in unary for path in (*paths, "/etcdserverpb.Maintenance/MoveLeader"))


async def test_a_learner_answers_status_and_serializable_ranges_only() -> None:
    """Everything else that it could answer by itself is refused in etcd's words."""
    disk = Disk()
    me = member_id((PEER_URL,), "t")
    others = [
        Member(me, "me", (PEER_URL,), is_learner=True),
        Member(MemberID(7), "other", (NEW,)),
    ]
    ids = cluster_id([me])
    disk.prepare(bootstrap(cluster_id=ids, member_id=me, members=others)).write()
    server = make_server(disk)
    status = messages.StatusResponse.FromString(
        await call(MaintenanceAPI(server).status, messages.StatusRequest())
    )
    assert status.isLearner
    serializable = messages.RangeRequest(key=b"k", serializable=True)
    assert await call(KVAPI(server).range, serializable)
    txn = messages.TxnRequest()
    txn.success.add().request_range.CopyFrom(serializable)
    expected = (Code.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")
    for handler, request in (
        (ClusterAPI(server).member_list, messages.MemberListRequest()),
        (MaintenanceAPI(server).defragment, messages.DefragmentRequest()),
        (MaintenanceAPI(server).hash, messages.HashRequest()),
        (MaintenanceAPI(server).hash_kv, messages.HashKVRequest()),
        (HealthAPI(server).check, messages.HealthCheckRequest()),
        (KVAPI(server).txn, txn),
    ):
        assert expected == await refused(handler, request)
    stream = Silent()
    for serve in (
        WatchAPI(server).watch,
        LeaseAPI(server).keep_alive,
        KVAPI(server).range_stream,
        HealthAPI(server).watch,
    ):
        with pytest.raises(EtcdError, match="rpc not supported for learner"):
            await serve(NoMetadata(), stream)


class Silent:
    """A stream on which nothing may happen."""

    async def receive(self) -> bytes | None:
        raise AssertionError("a learner listens to nobody")

    async def send(self, messages: list[bytes], /) -> None:
        raise AssertionError(messages)
