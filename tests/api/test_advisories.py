"""etcd's advisories about users, each as a test: what was open there is closed here."""

from __future__ import annotations

import math

import pytest
import trio

from tests.api.metadata import Metadata, NoMetadata, certified, shown
from tests.api.users import PASSWORDS, Stream, Users, path_of, with_users
from tests.runtime.member import Caller, Disk
from trioetcd import errors
from trioetcd.api.guard import Guard
from trioetcd.pki import NOWHERE
from trioetcd.ports import FIRST_ROW, LAST_ROW
from trioetcd.runtime.logins import LoginSettings
from trioetcd.schema import messages as m
from trioetcd.statemachine import CommandKind

DENIED = errors.PERMISSION_DENIED.text
READER, WRITER, BOTH = map(certified, ("reader", "writer", "both"))
PUT = m.PutRequest(key=b"k", value=b"v")


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("Cluster/MemberList", m.MemberListRequest()),
        ("Maintenance/Alarm", m.AlarmRequest()),
        ("Lease/LeaseGrant", m.LeaseGrantRequest(TTL=60)),
        ("Lease/LeaseRevoke", m.LeaseRevokeRequest(ID=1)),
        ("Lease/LeaseKeepAlive", m.LeaseKeepAliveRequest(ID=1)),
        ("Lease/LeaseTimeToLive", m.LeaseTimeToLiveRequest(ID=1)),
        ("Lease/LeaseLeases", m.LeaseLeasesRequest()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_cve_2026_33413_ghsa_q8m4_xhhv_38mg(rpc: str, request_: m.Message) -> None:
    """Without credentials nobody lists members or alarms, or has anything to do with leases."""
    async with with_users() as users:
        assert await users.said(NoMetadata(), rpc, request_) == errors.USER_EMPTY.text


async def test_cve_2026_33343_ghsa_rfx7_8w68_q57q() -> None:
    """What a nested txn does needs the same permissions as if it were not nested."""
    secret = m.RequestOp(request_range=m.RangeRequest(key=b"secret"))
    write = m.RequestOp(request_put=m.PutRequest(key=b"secret"))
    async with with_users() as users:
        for operation in (secret, write):
            for depth in range(4):
                txn = m.TxnRequest(failure=[operation])
                for _ in range(depth):
                    txn = m.TxnRequest(success=[m.RequestOp(request_txn=txn)])
                assert await users.said(BOTH, "KV/Txn", txn) == DENIED


async def test_cve_2026_44283_ghsa_x35m_3gp4_4fh5() -> None:
    """A put in a nested txn shows no earlier value, and joins no lease, that it must not."""
    async with with_users() as users:
        await users.own(CommandKind.LEASE_GRANT, m.LeaseGrantRequest(ID=7, TTL=60))
        await users.own(CommandKind.PUT, m.PutRequest(key=b"secret", lease=7))
        for put, who in (
            (m.PutRequest(key=b"k", prev_kv=True), WRITER),
            (m.PutRequest(key=b"k", lease=7), BOTH),
        ):
            txn = m.TxnRequest(success=[m.RequestOp(request_put=put)])
            nested = m.TxnRequest(success=[m.RequestOp(request_txn=txn)])
            for rpc, request in (("KV/Put", put), ("KV/Txn", txn), ("KV/Txn", nested)):
                assert await users.said(who, rpc, request) == DENIED


@pytest.mark.parametrize("key", [b"k", b"k1", b"\0", b""])
async def test_ghsa_xg4h_6gfc_h4m8(key: bytes) -> None:
    """A watch of everything from a key on is no watch of that key."""
    create = m.WatchCreateRequest(key=key, range_end=b"\0")
    async with with_users() as users:
        request = m.WatchRequest(create_request=create)
        assert await users.said(READER, "Watch/Watch", request) == DENIED
        whole = m.WatchCreateRequest(key=b"k", range_end=b"l")
        assert await users.said(READER, "Watch/Watch", m.WatchRequest(create_request=whole)) == ""


async def test_cve_2018_16886() -> None:
    """Nobody is the user whom some other certificate names: only the client's own counts."""
    async with with_users() as users:
        for who in (
            Metadata(NOWHERE, **{"grpcgateway-accept": b"*/*"}),
            Metadata(NOWHERE, **{"x-forwarded-client-cert": b"Subject=CN=root"}),
        ):
            assert await users.said(who, "KV/Put", PUT) == errors.USER_EMPTY.text


async def test_cve_2021_28235() -> None:
    """What a client shows stands in no row, no error and no object's words."""
    disk = Disk()
    async with with_users(disk=disk) as users:
        token = await users.login("reader")
        await users.said(shown(token), "KV/Put", PUT)
        wrong = m.AuthenticateRequest(name="reader", password="not it, but secret")
        said = await users.said(NoMetadata(), "Auth/Authenticate", wrong)
        await users.server.driver.wait_flushed()
        rows = b"".join(part for row in disk.scan(FIRST_ROW, LAST_ROW) for part in row)
        told = said + repr((users.server, users.server.logins, users.server.auth.users()))
        for secret in (*PASSWORDS.values(), wrong.password, token.partition(".")[0]):
            assert secret not in told
            assert secret.encode() not in rows
        assert "$2a$" not in told
        assert b"$2a$" in rows


async def test_cve_2020_15136_15115() -> None:
    """Passwords may be wanted longer than one character."""
    async with with_users(LoginSettings(bcrypt_cost=4, password_length_min=3)) as users:
        request = m.AuthUserAddRequest(name="short", password="xx")
        said = await users.said(certified("root"), "Auth/UserAdd", request)
        assert "too short" in said
        change = m.AuthUserChangePasswordRequest(name="reader", password="x")
        assert "too short" in await users.said(certified("root"), "Auth/UserChangePassword", change)
        assert users.server.auth.get_user("short") is None


async def test_a_token_wins_over_a_certificate() -> None:
    """Whoever shows both is the token's user; a wrong token is no certificate's user, either."""
    async with with_users() as users:
        token = await users.login("reader")
        root = certified("root").origin
        assert await users.said(Metadata(root, token=token.encode()), "KV/Put", PUT) == DENIED
        for name in ("token", "authorization"):
            who = Metadata(root, **{name: b"x" * 23 + b".1"})
            assert await users.said(who, "KV/Put", PUT) == errors.INVALID_AUTH_TOKEN.text
        bearer = Metadata(NOWHERE, authorization=b"Bearer " + token.encode())
        assert await users.said(bearer, "KV/Range", m.RangeRequest(key=b"k")) == ""


async def test_what_was_allowed_when_it_was_proposed_may_be_refused_when_it_is_applied() -> None:
    """A put that is in the log behind the end of its permission is not done."""
    async with with_users() as users:
        server = users.server
        guard = Guard(server)
        caller = Caller()
        revoke = m.AuthUserRevokeRoleRequest(name="both", role="write").SerializeToString()
        put = PUT.SerializeToString()
        kind = CommandKind.AUTH_USER_REVOKE_ROLE
        # Both are proposed in one turn, in this order, and both are allowed then.
        server.propose(caller, 1, kind, revoke, guard.asker(certified("root")))
        server.propose(caller, 2, CommandKind.PUT, put, guard.asker(BOTH))
        server.driver.wake()
        await caller.wait_message(1)
        assert await caller.wait_error(2) == errors.AUTH_OLD_REVISION.text
        assert server.store.current(b"k") is None


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("KV/Range", m.RangeRequest(key=b"k")),
        ("KV/Range", m.RangeRequest(key=b"k", range_end=b"l")),
        (
            "KV/Txn",
            m.TxnRequest(success=[m.RequestOp(request_range=m.RangeRequest(key=b"k"))]),
        ),
        ("Lease/LeaseTimeToLive", m.LeaseTimeToLiveRequest(ID=7, keys=True)),
        ("Lease/LeaseLeases", m.LeaseLeasesRequest()),
        ("Auth/RoleGet", m.AuthRoleGetRequest(role="read")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_read_that_waited_is_checked_when_it_reads(rpc: str, request_: m.Message) -> None:
    """A permission that ends while a read waits to be current is respected."""
    async with with_users() as users:
        server = users.server
        await users.own(CommandKind.LEASE_GRANT, m.LeaseGrantRequest(ID=7, TTL=60))
        await users.own(CommandKind.PUT, m.PutRequest(key=b"k", lease=7))
        caller = Caller()
        message = request_.SerializeToString()
        server.replica.is_current = False  # until the next turn
        assert users.router.unary[path_of(rpc)](caller, 1, READER, message) is None
        revoke = m.AuthUserRevokeRoleRequest(name="reader", role="read")
        assert server.auth.apply(CommandKind.AUTH_USER_REVOKE_ROLE, revoke.SerializeToString())
        server.driver.wake()
        assert await caller.wait_error(1) == DENIED


# -- running watches --------------------------------------------------------------------------


async def watching(users: Users, who: Metadata, nursery: trio.Nursery) -> Stream:
    """Begin a watch of the keys from k to l that goes on."""
    create = m.WatchCreateRequest(key=b"k", range_end=b"l")
    request = m.WatchRequest(create_request=create).SerializeToString()
    stream = Stream([request], enough=1000, ends=False)
    nursery.start_soon(users.router.streams[path_of("Watch/Watch")], who, stream)
    await stream.wait_sent(1)
    return stream


def responses(stream: Stream) -> list[m.WatchResponse]:
    return list(map(m.WatchResponse.FromString, stream.sent))


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("Auth/UserRevokeRole", m.AuthUserRevokeRoleRequest(name="reader", role="read")),
        ("Auth/UserDelete", m.AuthUserDeleteRequest(name="reader")),
        ("Auth/RoleDelete", m.AuthRoleDeleteRequest(role="read")),
        (
            "Auth/RoleRevokePermission",
            m.AuthRoleRevokePermissionRequest(role="read", key=b"k", range_end=b"l"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_watch_ends_with_its_permission(rpc: str, request_: m.Message) -> None:
    """It is told why, sees nothing of what comes after, and other watches go on."""
    async with with_users() as users, trio.open_nursery() as nursery:
        stream = await watching(users, shown(await users.login("reader")), nursery)
        other = await watching(users, certified("root"), nursery)
        await users.as_root("KV/Put", PUT)
        await stream.wait_sent(2)
        await users.as_root(rpc, request_)
        await stream.wait_sent(3)
        await users.as_root("KV/Put", PUT)
        await other.wait_sent(3)

        created, event, last = responses(stream)
        assert (created.created, len(event.events)) == (True, 1)
        assert (last.canceled, last.watch_id) == (True, 0)
        assert last.cancel_reason == f"rpc error: code = PermissionDenied desc = {DENIED}"
        assert [len(each.events) for each in responses(other)] == [0, 1, 1]
        nursery.cancel_scope.cancel()


async def test_a_watch_outlives_its_token() -> None:
    """A token that ends because nobody used it ends no watch, not even when users change."""
    async with with_users() as users, trio.open_nursery() as nursery:
        token = shown(await users.login("reader"))
        stream = await watching(users, token, nursery)
        users.server.logins.clear()
        said = await users.said(token, "KV/Range", m.RangeRequest(key=b"k"))
        assert said == errors.INVALID_AUTH_TOKEN.text
        await users.as_root("Auth/RoleAdd", m.AuthRoleAddRequest(name="new"))
        await users.as_root("KV/Put", PUT)
        await stream.wait_sent(2)
        assert len(responses(stream)[1].events) == 1
        nursery.cancel_scope.cancel()


async def test_who_watched_while_everybody_might_is_asked_when_auth_begins() -> None:
    """A watch of nobody's ends with the first revision at which users count."""
    async with with_users(enable=False) as users, trio.open_nursery() as nursery:
        nobody = await watching(users, NoMetadata(), nursery)
        reader = await watching(users, READER, nursery)
        await users.call(NoMetadata(), "Auth/AuthEnable", m.AuthEnableRequest())
        await nobody.wait_sent(2)
        assert errors.USER_EMPTY.text in responses(nobody)[1].cancel_reason
        await users.as_root("KV/Put", PUT)
        await reader.wait_sent(2)
        assert len(responses(reader)[1].events) == 1
        nursery.cancel_scope.cancel()


async def test_an_observer_of_an_election_is_told_no_more() -> None:
    """Observe ends when its keys must not be read any more."""
    async with with_users() as users, trio.open_nursery() as nursery:
        await users.as_root("Election/Campaign", m.CampaignRequest(name=b"k", value=b"v"))
        stream = Stream([m.LeaderRequest(name=b"k").SerializeToString()], enough=1000, ends=False)
        said: list[str] = []

        async def observe() -> None:
            try:
                await users.router.streams[path_of("Election/Observe")](READER, stream)
            except errors.EtcdError as error:
                said.append(error.text)
            nursery.cancel_scope.cancel()

        nursery.start_soon(observe)
        await stream.wait_sent(1)
        await users.as_root(
            "Auth/UserRevokeRole", m.AuthUserRevokeRoleRequest(name="reader", role="read")
        )
        await trio.sleep_forever()
    assert said == [DENIED]


async def test_the_member_s_own_commands_need_no_user(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A lease ends while auth is on, with its keys."""
    autojump_clock.autojump_threshold = math.inf  # passwords are hashed in threads
    async with with_users() as users:
        autojump_clock.autojump_threshold = 0.02
        answer = await users.as_root("Lease/LeaseGrant", m.LeaseGrantRequest(TTL=2))
        assert isinstance(answer, m.LeaseGrantResponse)
        put = m.PutRequest(key=b"k", lease=answer.ID)
        await users.as_root("KV/Put", put)
        await trio.sleep(10)
        assert users.server.store.current(b"k") is None
        assert answer.ID not in users.server.lessor
