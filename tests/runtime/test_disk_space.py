"""Tests of `trioetcd.runtime.disk_space`: sizes, the quota to the letter, Defragment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from tests.api.metadata import NoMetadata
from tests.runtime.member import Caller, Disk, fill, put, put_message, running
from trioetcd.api.router import Router
from trioetcd.errors import EtcdError
from trioetcd.mvcc import WatchSession
from trioetcd.replica import ReplicaConfig
from trioetcd.runtime.disk_space import SPACE_MARGIN_BYTES
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.schema import messages
from trioetcd.statemachine import gates
from trioetcd.values import MemberID

KV = "/etcdserverpb.KV/"
LEASE = "/etcdserverpb.Lease/"
MAINTENANCE = "/etcdserverpb.Maintenance/"
NO_SPACE = "etcdserver: mvcc: database space exceeded"


class Calls:
    """A client of one member: each call is made and waited for."""

    def __init__(self, server: Server) -> None:
        self._handlers = Router.of(server).unary
        self._server = server
        self._caller = Caller()
        self._count = 0

    def begin(self, path: str, request: object) -> int:
        """Make a call; gives its number."""
        self._count += 1
        message = request.SerializeToString()  # type: ignore[attr-defined] # any message
        answer = self._handlers[path](self._caller, self._count, NoMetadata(), message)
        if answer is not None:
            self._caller.answers[self._count] = answer
        self._server.driver.wake()
        return self._count

    async def wait(self, call: int) -> bytes:
        """Wait for the answer of a call."""
        answer = await self._caller.wait(call)
        if isinstance(answer, EtcdError):
            raise answer
        return answer if isinstance(answer, bytes) else b"".join(answer)

    async def call(self, path: str, request: object) -> bytes:
        return await self.wait(self.begin(path, request))

    def is_answered(self, call: int) -> bool:
        return call in self._caller.answers

    async def status(self) -> messages.StatusResponse:
        answer = await self.call(MAINTENANCE + "Status", messages.StatusRequest())
        return messages.StatusResponse.FromString(answer)


def nested(operation: messages.RequestOp) -> messages.TxnRequest:
    """Put an operation two transactions deep, into a branch that is not taken."""
    inner = messages.TxnRequest(failure=[operation])
    return messages.TxnRequest(success=[messages.RequestOp(request_txn=inner)])


PUT = messages.PutRequest(key=b"k", value=b"v")
DELETE = messages.DeleteRangeRequest(key=b"k000001")
RANGE = messages.RangeRequest(key=b"k", range_end=b"l")
WRITES = {
    "put": (KV + "Put", PUT),
    "put of nothing": (KV + "Put", messages.PutRequest()),
    "txn": (KV + "Txn", nested(messages.RequestOp(request_put=PUT))),
    "lease": (LEASE + "LeaseGrant", messages.LeaseGrantRequest(TTL=60)),
}
OTHERS = {
    "delete": (KV + "DeleteRange", DELETE),
    "txn that deletes": (KV + "Txn", nested(messages.RequestOp(request_delete_range=DELETE))),
    "range": (KV + "Range", RANGE),
    "txn that reads": (KV + "Txn", nested(messages.RequestOp(request_range=RANGE))),
    "compact": (KV + "Compact", messages.CompactionRequest(revision=2, physical=True)),
    "revoke": (LEASE + "LeaseRevoke", messages.LeaseRevokeRequest(ID=7)),
    "defragment": (MAINTENANCE + "Defragment", messages.DefragmentRequest()),
    "alarm": (MAINTENANCE + "Alarm", messages.AlarmRequest()),
}


async def full(server: Server, disk: Disk) -> Calls:
    """Give a member some keys and the lease 7, then take away all its room."""
    await fill(server, 3)
    calls = Calls(server)
    await calls.call(LEASE + "LeaseGrant", messages.LeaseGrantRequest(TTL=60, ID=7))
    disk.extra = SPACE_MARGIN_BYTES
    server.disk.look()
    return calls


LIMITS = ServerLimits(quota_bytes=SPACE_MARGIN_BYTES)


async def test_the_quota_raises_the_alarm(autojump_clock: trio.testing.MockClock) -> None:
    """Over the quota a put is refused, the alarm is raised, and raised again after a disarm."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    disk = Disk()
    quota = SPACE_MARGIN_BYTES * 2
    async with running(disk, limits=ServerLimits(quota_bytes=quota)) as server:
        handler = Router.of(server).unary[KV + "Put"]
        caller = Caller()
        assert handler(caller, 1, NoMetadata(), put_message(b"k")) is None
        await caller.wait(1)
        disk.extra = quota
        await trio.sleep(1.5)
        for _ in range(2):
            with pytest.raises(EtcdError, match="database space exceeded"):
                handler(caller, 2, NoMetadata(), put_message(b"k"))
            while not server.alarms.no_space:
                await server.driver.wait_turn()
            assert server.complaints()
            server.alarms.deactivate(messages.NOSPACE, server.replica.member_id)
            await trio.sleep(1.5)
        put(server, caller, 3, b"k")  # as if another member had let it through
        await caller.wait(3)


async def test_no_quota_is_no_alarm(autojump_clock: trio.testing.MockClock) -> None:
    """A quota of zero or less means none."""
    autojump_clock.autojump_threshold = 0.005
    disk = Disk()
    disk.extra = 1 << 50
    async with running(disk, limits=ServerLimits(quota_bytes=0)) as server:
        caller = Caller()
        handler = Router.of(server).unary[KV + "Put"]
        assert handler(caller, 1, NoMetadata(), put_message(b"k")) is None
        assert isinstance(await caller.wait(1), bytes)


@pytest.mark.parametrize("path", WRITES.values(), ids=WRITES.keys())
async def test_what_the_quota_refuses(path: tuple[str, object]) -> None:
    """Puts, leases, and transactions with a put at any depth; refused before all other checks.

    Refused when they come, for want of room; and once the alarm is raised, with room or without.
    """
    disk = Disk()
    async with running(disk, limits=LIMITS) as server:
        calls = await full(server, disk)
        with pytest.raises(EtcdError, match=NO_SPACE):
            await calls.call(*path)
        while not server.alarms.no_space:
            await server.driver.wait_turn()
        disk.extra = 0
        server.disk.look()
        if path[1] == messages.PutRequest():
            return  # with room it has another fault
        with pytest.raises(EtcdError, match=NO_SPACE):
            await calls.call(*path)


@pytest.mark.parametrize("alarm", [False, True])
@pytest.mark.parametrize("path", OTHERS.values(), ids=OTHERS.keys())
async def test_what_a_full_member_does(path: tuple[str, object], *, alarm: bool) -> None:
    """Reading, deleting, compacting and disarming go on, over the quota and under the alarm."""
    disk = Disk()
    async with running(disk, limits=LIMITS) as server:
        calls = await full(server, disk)
        if alarm:
            with pytest.raises(EtcdError, match=NO_SPACE):
                calls.begin(KV + "Put", PUT)
            while not server.alarms.no_space:
                await server.driver.wait_turn()
        await calls.call(*path)
        assert alarm == server.alarms.no_space


@pytest.mark.parametrize(
    ("cost", "request_of"),
    [
        (256 + 3 + 5, lambda: (KV + "Put", messages.PutRequest(key=b"key", value=b"value"))),
        (64, lambda: (LEASE + "LeaseGrant", messages.LeaseGrantRequest(TTL=60))),
    ],
    ids=["put", "lease"],
)
async def test_what_a_write_costs(cost: int, request_of: Callable[[], tuple[str, object]]) -> None:
    """A write is let through if it leaves a byte of room, and not if it leaves none (etcd)."""
    disk = Disk()
    async with running(disk, limits=LIMITS) as server:
        calls = Calls(server)
        taken = disk.size() - server.replica.statistics().log_bytes
        disk.extra = SPACE_MARGIN_BYTES - taken - cost
        server.disk.look()
        with pytest.raises(EtcdError, match=NO_SPACE):
            calls.begin(*request_of())
        disk.extra -= 1
        server.disk.look()
        calls.begin(*request_of())
        with pytest.raises(EtcdError, match=NO_SPACE):
            calls.begin(*request_of())  # what was let through has taken the room


def test_costs_of_a_transaction() -> None:
    """The dearer branch counts, with all that is nested in it."""
    operation = messages.RequestOp(request_put=PUT)
    inner = messages.RequestOp(request_txn=messages.TxnRequest(success=[operation] * 3))
    txn = messages.TxnRequest(success=[operation, inner], failure=[operation] * 2)
    assert gates.txn_cost(txn) == 4 * (256 + 2)


async def test_a_quota_below_what_is_there() -> None:
    """A member that starts over its quota complains at the first write, not before."""
    disk = Disk()
    async with running(disk) as server:
        await fill(server, 50, value=b"v" * 1000)
    async with running(disk, limits=ServerLimits(quota_bytes=10_000)) as server:
        calls = Calls(server)
        assert [] == list((await calls.status()).errors)
        with pytest.raises(EtcdError, match=NO_SPACE):
            calls.begin(KV + "Put", PUT)
        answer = await calls.call(MAINTENANCE + "Alarm", messages.AlarmRequest())
        (alarm,) = messages.AlarmResponse.FromString(answer).alarms
        assert (server.replica.member_id, messages.NOSPACE) == (alarm.memberID, alarm.alarm)
        assert len((await calls.status()).errors) == 1


async def test_each_member_complains_of_its_own() -> None:
    """Another member's alarm does not keep this one from raising its own."""
    disk = Disk()
    async with running(disk, limits=LIMITS) as server:
        calls = await full(server, disk)
        other = MemberID(5)
        request = messages.AlarmRequest(
            action=messages.AlarmRequest.ACTIVATE, memberID=other, alarm=messages.NOSPACE
        )
        await calls.call(MAINTENANCE + "Alarm", request)
        with pytest.raises(EtcdError, match=NO_SPACE):
            calls.begin(KV + "Put", PUT)
        answer = await calls.call(MAINTENANCE + "Alarm", messages.AlarmRequest())
        alarms = messages.AlarmResponse.FromString(answer).alarms
        assert {other, server.replica.member_id} == {alarm.memberID for alarm in alarms}


async def test_after_disarming_writes_go_again() -> None:
    """Room and a disarmed alarm are enough; the alarm is not raised again."""
    disk = Disk()
    async with running(disk, limits=LIMITS) as server:
        calls = await full(server, disk)
        with pytest.raises(EtcdError, match=NO_SPACE):
            calls.begin(KV + "Put", PUT)
        disk.extra = 0
        await calls.call(MAINTENANCE + "Defragment", messages.DefragmentRequest())
        request = messages.AlarmRequest(
            action=messages.AlarmRequest.DEACTIVATE,
            memberID=server.replica.member_id,
            alarm=messages.NOSPACE,
        )
        await calls.call(MAINTENANCE + "Alarm", request)
        await calls.call(KV + "Put", PUT)
        assert not server.alarms.raised


async def test_in_use_falls_with_what_is_compacted() -> None:
    """Deletes and a compaction leave little in use, whatever the files take; a restart knows it."""
    disk = Disk()
    config = ReplicaConfig(name="m", snapshot_count=1, catch_up_entries=1)
    async with running(disk, config=config) as server:
        await fill(server, 200, value=b"v" * 1000)
        server.disk.look()
        before = server.disk.size()
        assert before.total >= before.in_use > 200 * 1000
        disk.extra = 1 << 20
        calls = Calls(server)
        everything = messages.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        await calls.call(KV + "DeleteRange", everything)
        compaction = messages.CompactionRequest(revision=server.store.revision, physical=True)
        await calls.call(KV + "Compact", compaction)
        await fill(server, 10, prefix=b"x")  # the log's entries go
        await calls.call(MAINTENANCE + "Defragment", messages.DefragmentRequest())
        after = server.disk.size()
        assert after.total > 1 << 20
        assert after.in_use < 40_000
        kept = server.store.kept_bytes
    async with running(disk, config=config) as server:
        assert kept == server.store.kept_bytes


async def test_defragment_gives_back_everything() -> None:
    """Defragment answers after the backend has compacted all rows."""
    disk = Disk()
    async with running(disk) as server:
        calls = Calls(server)
        assert b"" == await calls.call(MAINTENANCE + "Defragment", messages.DefragmentRequest())
        assert [(b"\x00", b"\xff\xff\xff\xff")] == disk.compacted


async def test_defragment_waits_for_what_is_going() -> None:
    """Rows that a compaction has yet to delete are off the disk when the room is given back."""
    disk = Disk()
    async with running(disk) as server:
        await fill(server, 3000)
        calls = Calls(server)
        everything = messages.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        await calls.call(KV + "DeleteRange", everything)
        await calls.call(KV + "Compact", messages.CompactionRequest(revision=server.store.revision))
        assert server.store.compaction.pending
        disk.merging.close()
        calls.begin(MAINTENANCE + "Defragment", messages.DefragmentRequest())
        await disk.merging.wait_reached()
        prefix = server.store.tables.old
        assert [] == list(disk.scan(prefix, server.store.tables.old_end))


async def test_defragment_holds_up_nobody() -> None:
    """Puts, reads and watches are served while the disk is busy giving back room."""
    disk = Disk()
    async with running(disk) as server:
        calls = Calls(server)
        session = WatchSession(
            server.hub,
            server.header,
            wake=lambda: None,
            fragment_bytes=1 << 20,
            progress_seconds=600.0,
        )
        create = messages.WatchCreateRequest(key=b"k", range_end=b"l")
        session.handle(messages.WatchRequest(create_request=create))
        session.take(1 << 20)
        disk.merging.close()
        defragment = calls.begin(MAINTENANCE + "Defragment", messages.DefragmentRequest())
        await disk.merging.wait_reached()
        await fill(server, 100)
        answer = await calls.call(KV + "Range", RANGE)
        assert messages.RangeResponse.FromString(answer).count == 100
        seen = [messages.WatchResponse.FromString(each) for each in session.take(1 << 20)]
        assert sum(len(each.events) for each in seen) == 100
        assert not calls.is_answered(defragment)
        disk.merging.open()
        await calls.wait(defragment)
        session.close()
