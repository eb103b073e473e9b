"""Who may call what: every procedure of the descriptors, every place in a txn, every identity.

What is expected is said by a small oracle of its own: it knows requests and the table of etcd's
documentation, and nothing of how a member decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from tests.api.metadata import Metadata, NoMetadata, certified
from tests.api.users import PASSWORDS, Users, path_of, with_users
from tests.runtime.member import Disk
from trioetcd import errors
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.trace import Log
from trioetcd.schema import messages as m
from trioetcd.schema.services import METHODS
from trioetcd.statemachine import CommandKind
from trioetcd.storage import Spool

KEY = b"k1"
OTHER = b"z1"
LATE = 2**40
EMPTY, OF_KEY, OF_OTHER, OF_BOTH, QUEUED = range(71, 76)
"""Leases: without keys, with a key in k to l, with one outside, with both, for queues."""

ATTACHED: dict[int, list[bytes]] = {
    EMPTY: [],
    OF_KEY: [KEY],
    OF_OTHER: [OTHER],
    OF_BOTH: [b"k2", b"z2"],
    QUEUED: [b"k/%x" % QUEUED],
}

IDENTITIES = ["nobody", *PASSWORDS, "ghost"]
"""The last one has a certificate, and is no user."""

REFUSALS = {errors.USER_EMPTY.text, errors.PERMISSION_DENIED.text}


def metadata_of(identity: str) -> Metadata:
    return NoMetadata() if identity == "nobody" else certified(identity)


# -- the oracle -------------------------------------------------------------------------------


class Need(NamedTuple):
    """Something that must be allowed: R or W on a half-open interval of keys."""

    mode: str
    start: bytes
    stop: bytes  # b"" for no end


def interval(key: bytes, range_end: bytes) -> tuple[bytes, bytes]:
    if not range_end:
        return key, key + b"\0"
    return key, b"" if range_end == b"\0" else range_end


def allowed(identity: str, need: Need) -> bool:
    """Say whether the keys from k to l, which are all that is granted, are enough."""
    may = {"reader": "R", "writer": "W", "both": "RW"}.get(identity, "")
    inside = need.start >= b"k" and need.start < b"l" and need.stop != b"" and need.stop <= b"l"
    return need.mode in may and inside


def lease_needs(mode: str, lease: int) -> list[Need]:
    return [Need(mode, *interval(key, b"")) for key in ATTACHED.get(lease, [])]


def needs_of(request: m.Message) -> list[Need]:
    """Say what a request about keys needs."""
    match request:
        case m.RangeRequest() | m.Compare() | m.WatchCreateRequest():
            return [Need("R", *interval(request.key or b"\0", request.range_end))]
        case m.PutRequest():
            found = [Need("W", *interval(request.key, b""))]
            found += lease_needs("W", request.lease) if request.lease else []
            return found + [Need("R", *interval(request.key, b""))] * request.prev_kv
        case m.DeleteRangeRequest():
            keys = interval(request.key, request.range_end)
            return [Need("W", *keys)] + [Need("R", *keys)] * request.prev_kv
        case m.TxnRequest():
            parts = [*request.compare]
            for branch in (request.success, request.failure):
                parts += [getattr(each, str(each.WhichOneof("request"))) for each in branch]
            return [need for part in parts for need in needs_of(part)]
    raise AssertionError(request)


def verdict(identity: str, rule: str | list[Need]) -> str:
    """Say with what an identity is refused, "" if it is not."""
    if rule == "open" or identity == "root":
        return ""
    if identity == "nobody":
        return errors.USER_EMPTY.text
    if identity == "ghost" or rule == "root":
        return errors.PERMISSION_DENIED.text
    needs = [] if isinstance(rule, str) else rule
    refused = any(not allowed(identity, need) for need in needs)
    return errors.PERMISSION_DENIED.text if refused else ""


# -- what is called ---------------------------------------------------------------------------


class Case(NamedTuple):
    """A request, and what it needs: a rule's name, or keys; or who may, if that is neither."""

    rpc: str
    request: m.Message
    rule: str | list[Need] | Callable[[str], str]


def keyed(rpc: str, request: m.Message) -> Case:
    return Case(rpc, request, needs_of(request))


def ranges() -> Iterator[tuple[bytes, bytes]]:
    yield KEY, b""
    yield b"k", b"l"
    yield KEY, b"\0"  # open ended
    yield b"\0", b"\0"
    yield b"j", b"l"
    yield b"k", b"m"
    yield OTHER, b""


def operations() -> Iterator[m.RequestOp]:
    for key, end in ranges():
        yield m.RequestOp(request_range=m.RangeRequest(key=key, range_end=end))
        for prev in (False, True):
            delete = m.DeleteRangeRequest(key=key, range_end=end, prev_kv=prev)
            yield m.RequestOp(request_delete_range=delete)
    for key in (KEY, OTHER):
        for prev in (False, True):
            for lease in (0, *list(ATTACHED)[:-1]):
                put = m.PutRequest(key=key, prev_kv=prev, lease=lease)
                yield m.RequestOp(request_put=put)


def txns() -> Iterator[m.TxnRequest]:
    """Every operation and every compare, in either branch, up to two txns deep."""
    whole = [m.TxnRequest(success=[op]) for op in operations()]
    whole += [m.TxnRequest(failure=[op]) for op in operations()]
    for key, end in ranges():
        compare = m.Compare(key=key, range_end=end, target=m.Compare.VERSION)
        whole.append(m.TxnRequest(compare=[compare]))
        put = m.RequestOp(request_put=m.PutRequest(key=KEY))
        whole.append(m.TxnRequest(compare=[compare], success=[put]))
    for txn in whole:
        inner = m.RequestOp(request_txn=txn)
        yield txn
        for deeper in (m.TxnRequest(success=[inner]), m.TxnRequest(failure=[inner])):
            yield deeper
            yield m.TxnRequest(failure=[m.RequestOp(request_txn=deeper)])


def only_for(*names: str) -> Callable[[str], str]:
    """Let in these users, beside root."""

    def judge(identity: str) -> str:
        return "" if identity in names else verdict(identity, "root")

    return judge


def simple() -> Iterator[Case]:
    """The procedures for which a rule alone decides."""
    auth = m.AuthUserAddRequest(name="new", options=m.UserAddOptions(no_password=True))
    perm = m.Permission(key=b"k")
    for name, request in {
        "AuthEnable": m.AuthEnableRequest(),
        "UserAdd": auth,
        "UserList": m.AuthUserListRequest(),
        "UserDelete": m.AuthUserDeleteRequest(name="none"),
        "UserChangePassword": m.AuthUserChangePasswordRequest(name="none", password="p"),
        "UserGrantRole": m.AuthUserGrantRoleRequest(user="none", role="read"),
        "UserRevokeRole": m.AuthUserRevokeRoleRequest(name="none", role="read"),
        "RoleAdd": m.AuthRoleAddRequest(name="read"),
        "RoleList": m.AuthRoleListRequest(),
        "RoleDelete": m.AuthRoleDeleteRequest(role="none"),
        "RoleGrantPermission": m.AuthRoleGrantPermissionRequest(name="none", perm=perm),
        "RoleRevokePermission": m.AuthRoleRevokePermissionRequest(role="none", key=b"k"),
    }.items():
        yield Case(f"Auth/{name}", request, "root")
    yield Case("Auth/AuthStatus", m.AuthStatusRequest(), "open")
    yield Case("Auth/Authenticate", m.AuthenticateRequest(name="none", password="p"), "open")
    yield Case("Auth/UserGet", m.AuthUserGetRequest(name="both"), only_for("both"))
    yield Case("Auth/RoleGet", m.AuthRoleGetRequest(role="read"), only_for("reader", "both"))
    yield Case("KV/Compact", m.CompactionRequest(revision=LATE), "root")
    yield Case("Cluster/MemberList", m.MemberListRequest(), "user")
    yield Case("Cluster/MemberList", m.MemberListRequest(linearizable=True), "user")
    url = ["https://127.0.0.1:1"]
    yield Case("Cluster/MemberAdd", m.MemberAddRequest(), "root")
    yield Case("Cluster/MemberRemove", m.MemberRemoveRequest(ID=1), "root")
    yield Case("Cluster/MemberUpdate", m.MemberUpdateRequest(ID=1, peerURLs=url), "root")
    yield Case("Cluster/MemberPromote", m.MemberPromoteRequest(ID=1), "root")
    yield Case("Maintenance/Alarm", m.AlarmRequest(), "user")
    yield Case("Maintenance/Alarm", m.AlarmRequest(action=m.AlarmRequest.DEACTIVATE), "root")
    yield Case("Maintenance/Alarm", m.AlarmRequest(action=m.AlarmRequest.ACTIVATE), "root")
    yield Case("Maintenance/Status", m.StatusRequest(), "user")
    yield Case("Maintenance/Defragment", m.DefragmentRequest(), "root")
    yield Case("Maintenance/Hash", m.HashRequest(), "root")
    yield Case("Maintenance/HashKV", m.HashKVRequest(), "root")
    yield Case("Maintenance/Snapshot", m.SnapshotRequest(), "root")
    yield Case("Maintenance/MoveLeader", m.MoveLeaderRequest(targetID=1), "root")
    yield Case("Maintenance/Downgrade", m.DowngradeRequest(version="3.6"), "root")
    yield Case("Health/Check", m.HealthCheckRequest(), "open")
    yield Case("Health/Watch", m.HealthCheckRequest(), "open")
    yield Case("Lease/LeaseGrant", m.LeaseGrantRequest(TTL=600), "user")
    yield Case("Lease/LeaseTimeToLive", m.LeaseTimeToLiveRequest(ID=OF_BOTH), "user")


def of_keys() -> Iterator[Case]:
    """The procedures for which the keys decide."""
    for key, end in ranges():
        for serializable in (False, True):
            read = m.RangeRequest(key=key, range_end=end, serializable=serializable)
            yield keyed("KV/Range", read)
            read.count_only = True
            yield keyed("KV/Range", read)
        yield keyed("KV/RangeStream", m.RangeRequest(key=key, range_end=end))
        create = m.WatchCreateRequest(key=key, range_end=end)
        yield Case("Watch/Watch", m.WatchRequest(create_request=create), needs_of(create))
    for operation in operations():
        if operation.HasField("request_put"):
            yield keyed("KV/Put", operation.request_put)
        elif operation.HasField("request_delete_range"):
            yield keyed("KV/DeleteRange", operation.request_delete_range)
    yield from (keyed("KV/Txn", txn) for txn in txns())
    for lease in list(ATTACHED)[:-1]:
        writing, reading = lease_needs("W", lease), lease_needs("R", lease)
        yield Case("Lease/LeaseKeepAlive", m.LeaseKeepAliveRequest(ID=lease), writing)
        yield Case("Lease/LeaseTimeToLive", m.LeaseTimeToLiveRequest(ID=lease, keys=True), reading)
        yield Case("Lease/LeaseRevoke", m.LeaseRevokeRequest(ID=lease), writing)
    every = [need for lease in ATTACHED for need in lease_needs("R", lease)]
    yield Case("Lease/LeaseLeases", m.LeaseLeasesRequest(), every)
    yield from queues()


def queues() -> Iterator[Case]:
    """Locks and elections, whose keys are made of a name."""
    for name, inside in ((b"k", True), (b"z", False)):
        key = b"%b/%x" % (name, QUEUED)
        read, write = Need("R", *interval(key, b"")), Need("W", *interval(key, b""))
        both = [read, write]
        leader = m.LeaderKey(name=name, key=key, rev=1, lease=QUEUED)
        yield Case("Lock/Lock", m.LockRequest(name=name, lease=QUEUED), both)
        yield Case("Lock/Unlock", m.UnlockRequest(key=key), [write])
        campaign = m.CampaignRequest(name=name, lease=QUEUED, value=b"v")
        yield Case("Election/Campaign", campaign, both)
        yield Case("Election/Proclaim", m.ProclaimRequest(leader=leader), both)
        yield Case("Election/Resign", m.ResignRequest(leader=leader), both)
        yield Case("Election/Leader", m.LeaderRequest(name=name), [read])
        if inside:
            yield Case("Election/Observe", m.LeaderRequest(name=name), [read])


CASES = [*simple(), *of_keys(), Case("Auth/AuthDisable", m.AuthDisableRequest(), "root")]
"""The last one ends what the others need."""


def expected(case: Case, identity: str) -> str:
    if callable(case.rule):
        return "" if identity == "root" else case.rule(identity)
    return verdict(identity, case.rule)


async def set_stage(users: Users) -> None:
    """Let there be the leases, with their keys and no others."""
    for lease, keys in ATTACHED.items():
        if lease not in users.server.lessor:
            await users.own(CommandKind.LEASE_GRANT, m.LeaseGrantRequest(ID=lease, TTL=6000))
        if users.server.lessor.keys_from(lease, b"", 9) != keys:
            await users.own(CommandKind.LEASE_REVOKE, m.LeaseRevokeRequest(ID=lease))
            await users.own(CommandKind.LEASE_GRANT, m.LeaseGrantRequest(ID=lease, TTL=6000))
            for key in keys:
                await users.own(CommandKind.PUT, m.PutRequest(key=key, lease=lease))


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_nobody_may_more_than_the_oracle_says(identity: str, tmp_path: Path) -> None:
    """Each request is refused, in etcd's words, exactly when something that it needs is missing."""
    wrong = []
    disk = Disk()
    async with with_users(disk=disk) as found:
        server = found.server
        backups = Backups(
            backend=disk,
            driver=server.driver,
            cursors=server.cursors,
            spool=Spool(tmp_path),
            metrics=server.metrics,
            log=Log(outputs=()),
        )
        users = Users(server, backups)
        for case in CASES:
            await set_stage(users)
            said = ""
            with trio.fail_after(30):
                said = await users.said(metadata_of(identity), case.rpc, case.request)
            refused = said if said in REFUSALS else ""
            if refused != expected(case, identity):
                wrong.append((case.rpc, str(case.request), said, expected(case, identity)))

    assert wrong == []


def test_every_procedure_is_asked() -> None:
    """No procedure of the descriptors is left out, and each rule is there that it can have."""
    asked = {path_of(case.rpc) for case in CASES}
    services = {method.service for method in METHODS.values()}
    described = {
        f"/{name}/{method.name}"
        for name in services
        for method in m.POOL.FindServiceByName(name).methods
    }

    assert asked == described == METHODS.keys()


def test_the_oracle_lets_in_and_keeps_out() -> None:
    """Of each identity but root there is something that it may, and something that it may not."""
    for identity in IDENTITIES:
        verdicts = {expected(case, identity) == "" for case in CASES}
        assert verdicts == ({True} if identity == "root" else {True, False})
