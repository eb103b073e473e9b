"""Tests of `trioetcd.api.audit`: who asked for which change, and what became of it."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.replica.states import follower_disk
from tests.runtime.member import Caller, Disk, make_server, running
from trioetcd.api.audit import CHANGES, Auditor
from trioetcd.api.router import Router
from trioetcd.errors import EtcdError
from trioetcd.pki import Identity, Origin
from trioetcd.ports import BackendError
from trioetcd.runtime.audit_log import AuditLog
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.runtime.trace import Log
from trioetcd.schema import messages
from trioetcd.schema.audit_chain import AuditCheck
from trioetcd.schema.services import METHODS

SECRET = b"53cr3t"
PASSWORD = "correct horse"
ALICE = Identity("alice", ("laptop",), ("spiffe://x/alice",), "ab" * 32)

OFFICE = Origin(ALICE, "10.0.0.7:4711")

KV = "/etcdserverpb.KV/"
MAINTENANCE = "/etcdserverpb.Maintenance/"


@dataclass
class Calling:
    """Metadata of a call."""

    origin: Origin = OFFICE
    token: bytes | None = None

    def get(self, name: str, /) -> bytes | None:
        return self.token if name == "token" else None


@dataclass
class Member:
    """A member with an audit log."""

    server: Server
    router: Router
    log: AuditLog
    path: Path
    calls: int = 0
    caller: Caller = field(default_factory=Caller)

    metadata: Calling = field(default_factory=Calling)

    def begin(self, path: str, request: messages.Message, caller: Caller | None = None) -> object:
        """Make a unary call, as a connection does; gives the answer, or None if it comes later."""
        self.calls += 1
        handler = self.router.unary[path]
        message = request.SerializeToString()
        return handler(caller or self.caller, self.calls, self.metadata, message)

    async def ask(self, path: str, request: messages.Message) -> bytes | list[bytes] | EtcdError:
        """Make a call and give its answer or error."""
        try:
            if path in self.router.waiting:
                return await self.router.waiting[path](self.metadata, request.SerializeToString())
            answer = self.begin(path, request)
        except EtcdError as error:
            return error
        if answer is not None:
            assert isinstance(answer, bytes | list)
            return answer
        call = self.calls
        self.server.driver.wake()
        return await self.caller.wait(call)

    def records(self) -> list[dict[str, Any]]:
        """Give the records in the file."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if "event" not in line]

    def last(self) -> dict[str, Any]:
        return self.records()[-1]

    def check(self) -> None:
        """Check that the chain holds, and that no value is in the file."""
        data = self.path.read_bytes()
        found = AuditCheck()
        found.read("log", data.splitlines(keepends=True))
        assert [] == found.breaks
        assert SECRET not in data


@asynccontextmanager
async def audited(
    path: Path, disk: Disk | None = None, limits: ServerLimits | None = None
) -> AsyncIterator[Member]:
    """Have a member with an audit log until the block is left."""
    async with running(disk, limits=limits) as server:
        log = AuditLog.open(
            path,
            cluster_id=server.replica.cluster_id,
            member_id=server.replica.member_id,
            name="m",
            wall=server.wall,
            log=Log((), level="fatal"),
        )
        member = Member(server, Router.of(server, auditor=Auditor(log, server)), log, path)
        yield member
    log.close()
    member.check()


def put(key: bytes = b"k") -> messages.PutRequest:
    return messages.PutRequest(key=key, value=SECRET)


def nested() -> messages.TxnRequest:
    """Make a transaction that puts, deletes, reads and does so again inside."""
    inner = messages.TxnRequest(
        success=[
            messages.RequestOp(
                request_delete_range=messages.DeleteRangeRequest(key=b"a", range_end=b"l")
            )
        ]
    )
    return messages.TxnRequest(
        compare=[messages.Compare(key=b"k", target=messages.Compare.VALUE, value=SECRET)],
        success=[
            messages.RequestOp(request_txn=inner),
            messages.RequestOp(request_put=put(b"p")),
            messages.RequestOp(request_range=messages.RangeRequest(key=b"p")),
        ],
        failure=[messages.RequestOp(request_put=put(b"other"))],
    )


async def test_a_put_is_told_with_who_and_what(tmp_path: Path) -> None:
    """Method, user, certificate, address, key, the value's size, outcome and revision."""
    async with audited(tmp_path / "log") as member:
        await member.ask(f"{KV}Put", put())
        record = member.last()

    assert {
        "rpc": f"{KV}Put",
        "user": "",
        "certificate": {
            "subject": "alice",
            "sha256": "ab" * 32,
            "dns": ["laptop"],
            "uris": ["spiffe://x/alice"],
        },
        "remote": "10.0.0.7:4711",
        "request": {"key": "k", "value": {"bytes": 6}},
        "outcome": "OK",
        "revision": 2,
    } == {name: record[name] for name in record if name not in {"seq", "prev", "time", "hash"}}


async def test_a_transaction_is_told_with_all_that_it_does(tmp_path: Path) -> None:
    """Both branches as they were asked for, which were taken, and how much was deleted."""
    async with audited(tmp_path / "log") as member:
        await member.ask(f"{KV}Put", put())
        await member.ask(f"{KV}Txn", nested())
        record = member.last()

    assert record["request"]["failure"] == [
        {"request_put": {"key": "other", "value": {"bytes": 6}}}
    ]
    assert {"key": "p"} == record["request"]["success"][2]["request_range"]
    inner = {"succeeded": True, "responses": [{"response_delete_range": {"deleted": 1}}]}
    assert {"succeeded": True, "responses": [{"response_txn": inner}, {}, {}]} == record["result"]
    assert ("OK", 3) == (record["outcome"], record["revision"])


GOOD: list[tuple[str, messages.Message, dict[str, Any]]] = [
    (f"{KV}Put", put(), {"key": "k"}),
    (f"{KV}DeleteRange", messages.DeleteRangeRequest(key=b"k"), {"key": "k"}),
    (f"{KV}Txn", nested(), {}),
    (f"{KV}Compact", messages.CompactionRequest(revision=2), {"revision": 2}),
    ("/etcdserverpb.Lease/LeaseGrant", messages.LeaseGrantRequest(ID=0xAB, TTL=9), {"ID": "ab"}),
    ("/etcdserverpb.Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=0xAB), {"ID": "ab"}),
    (
        "/etcdserverpb.Cluster/MemberUpdate",
        messages.MemberUpdateRequest(ID=1, peerURLs=["https://h:1"]),
        {"ID": "1", "peerURLs": ["https://h:1"]},
    ),
    ("/etcdserverpb.Cluster/MemberPromote", messages.MemberPromoteRequest(ID=1), {"ID": "1"}),
    ("/etcdserverpb.Cluster/MemberRemove", messages.MemberRemoveRequest(ID=7), {"ID": "7"}),
    (
        "/etcdserverpb.Cluster/MemberAdd",
        messages.MemberAddRequest(peerURLs=["https://h:2"], isLearner=True),
        {"peerURLs": ["https://h:2"], "isLearner": True},
    ),
    (
        f"{MAINTENANCE}Alarm",
        messages.AlarmRequest(action=1, memberID=2, alarm=1),
        {"action": "ACTIVATE", "memberID": "2", "alarm": "NOSPACE"},
    ),
    (f"{MAINTENANCE}Defragment", messages.DefragmentRequest(), {}),
    (f"{MAINTENANCE}MoveLeader", messages.MoveLeaderRequest(targetID=5), {"targetID": "5"}),
    (
        f"{MAINTENANCE}Downgrade",
        messages.DowngradeRequest(action=1, version="3.6"),
        {"action": "ENABLE", "version": "3.6"},
    ),
]
"""Each kind of change that a unary call may ask for, and what must be told of it."""


async def enable_auth(member: Member) -> None:
    """Let root in with a password, alice by her certificate to keys under a/, and turn auth on."""
    ask = member.ask
    permission = messages.Permission(permType=2, key=b"a/", range_end=b"a0")
    for path, request in (
        ("UserAdd", messages.AuthUserAddRequest(name="root", password=PASSWORD)),
        ("UserGrantRole", messages.AuthUserGrantRoleRequest(user="root", role="root")),
        ("RoleAdd", messages.AuthRoleAddRequest(name="some")),
        (
            "RoleGrantPermission",
            messages.AuthRoleGrantPermissionRequest(name="some", perm=permission),
        ),
        (
            "UserAdd",
            messages.AuthUserAddRequest(
                name="alice", options=messages.UserAddOptions(no_password=True)
            ),
        ),
        ("UserGrantRole", messages.AuthUserGrantRoleRequest(user="alice", role="some")),
        ("AuthEnable", messages.AuthEnableRequest()),
    ):
        answer = await ask(f"/etcdserverpb.Auth/{path}", request)
        if path != "RoleAdd" or not isinstance(answer, EtcdError):
            assert isinstance(answer, bytes), answer


async def test_who_logs_in_and_who_is_denied_is_told(tmp_path: Path) -> None:
    """Users and roles touched, logins good and bad, permission denied by user; nothing secret."""
    async with audited(tmp_path / "log") as member:
        await enable_auth(member)
        assert isinstance(await member.ask(f"{KV}Put", put(b"a/1")), bytes)
        denied = await member.ask(f"{KV}Put", put(b"b"))
        assert isinstance(denied, EtcdError)
        login = "/etcdserverpb.Auth/Authenticate"
        wrong = messages.AuthenticateRequest(name="root", password=PASSWORD[::-1])
        assert isinstance(await member.ask(login, wrong), EtcdError)
        answer = await member.ask(
            login, messages.AuthenticateRequest(name="root", password=PASSWORD)
        )
        assert isinstance(answer, bytes)
        token = messages.AuthenticateResponse.FromString(answer).token
        member.metadata = Calling(token=token.encode())
        change = messages.AuthUserChangePasswordRequest(name="root", password=PASSWORD * 2)
        await member.ask("/etcdserverpb.Auth/UserChangePassword", change)
        await member.ask("/etcdserverpb.Auth/UserList", messages.AuthUserListRequest())
        told = member.records()
        text = member.path.read_text()

    assert [
        ("", "UserAdd", "OK"),
        ("", "UserGrantRole", "OK"),
        ("", "RoleAdd", "OK"),
        ("", "RoleGrantPermission", "OK"),
        ("", "UserAdd", "OK"),
        ("", "UserGrantRole", "OK"),
        ("", "AuthEnable", "OK"),
        ("alice", "Put", "OK"),
        ("alice", "Put", "PERMISSION_DENIED"),
        ("alice", "Authenticate", "INVALID_ARGUMENT"),
        ("alice", "Authenticate", "OK"),
        ("root", "UserChangePassword", "OK"),
    ] == [(each["user"], each["rpc"].rpartition("/")[2], each["outcome"]) for each in told]
    assert {"name": "some", "perm": {"permType": "READWRITE", "key": "a/", "range_end": "a0"}} == (
        told[3]["request"]
    )
    assert {"name": "alice", "options": {"no_password": True}} == told[4]["request"]
    assert "etcdserver: permission denied" == told[8]["error"]
    for secret in (PASSWORD, PASSWORD[::-1], token, "$2"):
        assert secret not in text


async def test_every_change_is_told_done_or_refused(tmp_path: Path) -> None:
    """One record per call, with the outcome that the client is told."""
    async with audited(tmp_path / "log", limits=ServerLimits(learners_max=2)) as member:
        for count, (path, request, told) in enumerate(GOOD, 1):
            answer = await member.ask(path, request)
            record = member.last()
            assert count == len(member.records())
            assert path == record["rpc"]
            assert told.items() <= record["request"].items(), path
            if isinstance(answer, EtcdError):
                assert (answer.code.name, answer.text) == (record["outcome"], record["error"])
            else:
                assert ("OK", False) == (record["outcome"], "error" in record), path
    served = {path for path in CHANGES.keys() & member.router.unary.keys() if "Auth" not in path}
    assert served == {path for path, _, _ in GOOD}


async def test_what_a_lease_was_given_and_a_member_got_is_told(tmp_path: Path) -> None:
    """Numbers that the server draws are in the result."""
    async with audited(tmp_path / "log") as member:
        answer = await member.ask(
            "/etcdserverpb.Lease/LeaseGrant", messages.LeaseGrantRequest(TTL=9)
        )
        assert isinstance(answer, bytes)
        granted = messages.LeaseGrantResponse.FromString(answer)
        result = member.last()["result"]

    assert {"ID": f"{granted.ID:x}", "TTL": 9} == result


async def test_reads_are_not_told(tmp_path: Path) -> None:
    """Neither ranges nor transactions that only read, nor lists, nor hashes."""
    reading = messages.TxnRequest(
        success=[messages.RequestOp(request_range=messages.RangeRequest(key=b"k"))]
    )
    async with audited(tmp_path / "log") as member:
        await member.ask(f"{KV}Range", messages.RangeRequest(key=b"k"))
        await member.ask(f"{KV}Txn", reading)
        await member.ask(f"{MAINTENANCE}Alarm", messages.AlarmRequest())
        await member.ask(f"{MAINTENANCE}Status", messages.StatusRequest())
        await member.ask("/etcdserverpb.Cluster/MemberList", messages.MemberListRequest())
        assert [] == member.records()


@pytest.mark.parametrize(
    ("path", "request_", "text"),
    [
        (f"{KV}Put", messages.PutRequest(value=SECRET), "etcdserver: key is not provided"),
        (f"{KV}Put", messages.PutRequest(key=b"k", value=SECRET * 50), "request is too large"),
        (f"{KV}Compact", messages.CompactionRequest(revision=99), "future revision"),
        (f"{MAINTENANCE}MoveLeader", messages.MoveLeaderRequest(targetID=9), "transferee"),
    ],
)
async def test_what_is_refused_is_told(
    tmp_path: Path, path: str, request_: messages.Message, text: str
) -> None:
    """Whether it is refused at the door, when it is proposed, or when it is applied."""
    limits = ServerLimits(request_bytes_max=200)
    async with audited(tmp_path / "log", limits=limits) as member:
        error = await member.ask(path, request_)
        assert isinstance(error, EtcdError)
        assert text in error.text
        record = member.last()
        assert (error.code.name, error.text) == (record["outcome"], record["error"])
        assert "revision" not in record


async def test_a_token_that_is_worth_nothing_is_told(tmp_path: Path) -> None:
    """The call has no user then, and its refusal is told; the token is not."""
    async with audited(tmp_path / "log") as member:
        await enable_auth(member)
        member.metadata = Calling(Origin(None, "unix"), SECRET)
        error = await member.ask(f"{KV}Put", put())
        record = member.last()

    assert isinstance(error, EtcdError)
    assert (None, None, "unix") == (record["user"], record["certificate"], record["remote"])
    assert (error.code.name, error.text) == (record["outcome"], record["error"])


async def test_what_is_asked_again_is_told_once(tmp_path: Path) -> None:
    """A member that lags asks the cluster before it refuses; only what comes of that is told."""
    async with audited(tmp_path / "log") as member:
        await enable_auth(member)
        before = len(member.records())
        member.metadata = Calling(token=b"nonsense")
        member.server.replica.is_current = False  # until the next turn
        assert member.begin(f"{KV}Put", put(b"a/1")) is None
        assert before == len(member.records())
        member.server.driver.wake()
        error = await member.caller.wait(member.calls)
        assert isinstance(error, EtcdError)
        assert before + 1 == len(member.records())
        assert error.text == member.last()["error"]

        member.metadata = Calling()
        member.server.replica.is_current = False
        assert member.begin(f"{KV}Put", put(b"b")) is None
        member.server.driver.wake()
        assert isinstance(await member.caller.wait(member.calls), EtcdError)
        assert ("alice", "PERMISSION_DENIED") == (member.last()["user"], member.last()["outcome"])
        assert before + 2 == len(member.records())


async def test_garbage_is_told_as_such(tmp_path: Path) -> None:
    """A request that cannot be read is a refused one."""
    async with audited(tmp_path / "log") as member:
        with pytest.raises(messages.DecodeError):
            member.router.unary[f"{KV}Put"](member.caller, 1, Calling(), SECRET + b"\xff")
        record = member.last()

    assert ({"malformed": True}, "INTERNAL") == (record["request"], record["outcome"])


class Watchful(Caller):
    """A connection that looks into the audit log when it is answered."""

    path: Path
    seen: list[int]

    def answer(self, call: int, response: bytes, /) -> None:
        text = self.path.read_text()
        self.seen.append(sum("/etcdserverpb" in line for line in text.splitlines()))
        super().answer(call, response)


async def test_the_file_has_it_before_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All records of a turn are in the file, by one write, before its first answer is queued."""
    async with audited(tmp_path / "log") as member:
        writes: list[int] = []
        append = member.log._file.append

        def counted(data: bytes) -> None:
            writes.append(data.count(b"\n"))
            append(data)

        monkeypatch.setattr(member.log._file, "append", counted)
        callers = [Watchful(), Watchful()]
        for caller in callers:
            caller.path = member.path
            caller.seen = []
            for number in range(5):
                assert member.begin(f"{KV}Put", put(b"%d" % number), caller) is None
        member.server.driver.wake()
        for caller, last in zip(callers, (5, 10), strict=True):
            await caller.wait(last)

        assert [10] == writes
        assert [[10] * 5, [10] * 5] == [caller.seen for caller in callers]
        assert [1, 1] == [len(caller.flushes) for caller in callers]


async def test_a_refusal_is_in_the_file_before_it_is_raised(tmp_path: Path) -> None:
    """Also what is answered on the spot."""
    async with audited(tmp_path / "log") as member:
        with pytest.raises(EtcdError):
            member.begin(f"{KV}Put", messages.PutRequest())
        assert 1 == len(member.records())


async def test_without_a_record_there_is_no_answer(tmp_path: Path) -> None:
    """A disk that takes no record ends the member before anybody is answered."""
    caller = Caller()

    async def live() -> None:
        async with audited(tmp_path / "log") as member:
            descriptor = os.open(tmp_path / "log", os.O_RDONLY)
            os.dup2(descriptor, member.log._file._descriptor)  # it takes nothing any more
            os.close(descriptor)
            member.begin(f"{KV}Put", put(), caller)
            member.server.driver.wake()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as raised:
        await live()
    _, rest = raised.value.split(BackendError)

    assert rest is None
    assert {} == caller.answers


async def test_what_is_under_way_at_the_end_is_told(tmp_path: Path) -> None:
    """Nobody is told how it went, and so it is UNKNOWN."""
    disk = Disk()
    caller = Caller()
    async with audited(tmp_path / "log", disk) as member:
        disk.merging.close()
        member.begin(f"{MAINTENANCE}Defragment", messages.DefragmentRequest(), caller)
        await disk.merging.wait_reached()
        member.log.before_close()
        member.log.write()
        record = member.last()
        disk.merging.open()
        await caller.wait(1)

    assert "UNKNOWN" == record["outcome"]


async def test_a_connection_that_is_gone_is_let_go(tmp_path: Path) -> None:
    """Nothing is kept of a connection whose calls have all been answered."""
    async with audited(tmp_path / "log") as member:
        caller = Caller()
        gone = weakref.ref(caller)
        member.begin(f"{KV}Put", put(), caller)
        member.server.driver.wake()
        await caller.wait(1)
        del caller
        await member.ask(f"{KV}Put", put())
        gc.collect()
        assert gone() is None


async def test_locks_are_told_with_what_they_write(tmp_path: Path) -> None:
    """The call, and the lease and transaction that the member makes of it for the same client."""
    async with audited(tmp_path / "log") as member:
        lock = member.router.waiting["/v3lockpb.Lock/Lock"]
        request = messages.LockRequest(name=b"n", lease=0)
        await lock(Calling(), request.SerializeToString())
        records = member.records()
        unlock = member.router.waiting["/v3lockpb.Lock/Unlock"]
        key = records[-1]["result"]["key"].encode()
        await unlock(Calling(), messages.UnlockRequest(key=key).SerializeToString())
        records = member.records()
        with pytest.raises(EtcdError):
            await member.router.waiting["/v3electionpb.Election/Proclaim"](Calling(), b"")

    assert [
        "/etcdserverpb.Lease/LeaseGrant",
        "/etcdserverpb.KV/Txn",
        "/v3lockpb.Lock/Lock",
        "/etcdserverpb.KV/DeleteRange",
        "/v3lockpb.Lock/Unlock",
    ] == [record["rpc"] for record in records]
    assert {"alice"} == {record["certificate"]["subject"] for record in records}
    assert "UNKNOWN" == json.loads((tmp_path / "log").read_text().splitlines()[-2])["outcome"]


async def test_a_lock_given_up_is_told(tmp_path: Path) -> None:
    """Whoever goes away while waiting has left without an answer."""
    async with audited(tmp_path / "log") as member:
        lock = member.router.waiting["/v3lockpb.Lock/Lock"]
        request = messages.LockRequest(name=b"n").SerializeToString()
        await lock(Calling(), request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lock, Calling(), request)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        locks = [record for record in member.records() if "Lock" in record["rpc"]]

    assert ["OK", "CANCELLED"] == [record["outcome"] for record in locks]


async def test_a_snapshot_is_told_before_its_first_byte_leaves(tmp_path: Path) -> None:
    """And how it ended: whoever took some of it and went away has taken it all the same."""
    path = "/etcdserverpb.Maintenance/Snapshot"
    seen: list[list[str]] = []

    class Stream:
        async def receive(self) -> bytes | None:
            await trio.lowlevel.checkpoint()
            return b""

        async def send(self, messages_: list[bytes], /) -> None:
            await trio.lowlevel.checkpoint()
            seen.append([record["outcome"] for record in member.records()])

    async with audited(tmp_path / "log") as member:
        auditor = Auditor(member.log, member.server)
        await auditor.stream(path, _two_chunks)(Calling(), Stream())
        outcomes = [record["outcome"] for record in member.records()]

    assert [["BEGUN"], ["BEGUN"]] == seen
    assert ["BEGUN", "OK"] == outcomes


async def _two_chunks(_metadata: Any, stream: Any) -> None:
    await stream.receive()
    await stream.send([b"1"])
    await stream.send([b"2"])


async def test_a_learner_tells_of_its_refusals_as_clients_hear_them(tmp_path: Path) -> None:
    """The record has the error that the client is told, not the one behind it."""
    disk = Disk()
    disk.rows = follower_disk(is_learner=True)
    server = make_server(disk)
    log = AuditLog.open(
        tmp_path / "log",
        cluster_id=server.replica.cluster_id,
        member_id=server.replica.member_id,
        name="m",
        wall=server.wall,
        log=Log((), level="fatal"),
    )
    member = Member(server, Router.of(server, auditor=Auditor(log, server)), log, tmp_path / "log")
    with pytest.raises(EtcdError, match="key is not provided"):
        member.begin(f"{KV}Put", messages.PutRequest())
    assert "etcdserver: rpc not supported for learner" == member.last()["error"]
    log.close()


def test_every_change_of_the_table_is_one_of_the_api() -> None:
    """And every method is either a change or one of these, which read."""
    reads = {
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.KV/RangeStream",
        "/etcdserverpb.Watch/Watch",
        "/etcdserverpb.Lease/LeaseKeepAlive",
        "/etcdserverpb.Lease/LeaseTimeToLive",
        "/etcdserverpb.Lease/LeaseLeases",
        "/etcdserverpb.Cluster/MemberList",
        "/etcdserverpb.Maintenance/Status",
        "/etcdserverpb.Maintenance/Hash",
        "/etcdserverpb.Maintenance/HashKV",
        "/etcdserverpb.Auth/AuthStatus",
        "/etcdserverpb.Auth/UserGet",
        "/etcdserverpb.Auth/UserList",
        "/etcdserverpb.Auth/RoleGet",
        "/etcdserverpb.Auth/RoleList",
        "/v3electionpb.Election/Leader",
        "/v3electionpb.Election/Observe",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }
    assert METHODS.keys() == CHANGES.keys() | reads
    assert not CHANGES.keys() & reads
