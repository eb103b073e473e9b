"""The client's users, roles and logins, against a member and against the real etcd."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from trioetcd.client import (
    AuthStatus,
    Client,
    EtcdError,
    Get,
    Permission,
    Put,
    Role,
    User,
    open_client,
)
from trioetcd.errors import (
    AUTH_FAILED,
    PERMISSION_DENIED,
    ROLE_NOT_FOUND,
    USER_ALREADY_EXIST,
    USER_EMPTY,
    USER_NOT_FOUND,
)
from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member

pytestmark = [pytest.mark.interop]

_numbers = itertools.count()

PASSWORD = "correct horse"


@pytest.fixture(scope="module", params=["trioetcd", "etcd"])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Give a member that auth may be turned on in, and in a second run the real etcd."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "trioetcd":
        with running_member(directory) as server:
            yield server
        return
    request.getfixturevalue("etcdutl")  # of the same package: where that is missing CI fails
    with running_etcd(directory) as server:
        yield server


def connect(
    server: ServerProcess, user: str = "", password: str = ""
) -> AbstractAsyncContextManager[Client]:
    return open_client(
        server.endpoint,
        cacert=server.cacert,
        cert=server.cert,
        key=server.key,
        user=user,
        password=password,
    )


@pytest.fixture
def name() -> str:
    """Give a name that no other test uses."""
    return f"name{next(_numbers)}"


@asynccontextmanager
async def auth_on(server: ServerProcess, name: str) -> AsyncIterator[Client]:
    """Give root's client while auth is on, and user `name`, who may use keys under its name."""
    async with connect(server) as client:
        auth = client.auth
        if "root" not in await auth.user_list():
            await auth.user_add("root", PASSWORD)
            if "root" not in await auth.role_list():
                await auth.role_add("root")
            await auth.user_grant_role("root", "root")
        await auth.user_add(name, PASSWORD)
        await auth.role_add(name)
        await auth.user_grant_role(name, name)
        await auth.role_grant_permission(name, "readwrite", f"{name}/", prefix=True)
        await auth.enable()
    async with connect(server, "root", PASSWORD) as root:
        try:
            yield root
        finally:
            with trio.CancelScope(shield=True):
                await root.auth.disable()


async def test_users_and_roles_go_round(guarded: ServerProcess, name: str) -> None:
    """All that can be said of users and roles comes back as it was said."""
    async with connect(guarded) as client:
        auth = client.auth
        before = await auth.status()
        assert isinstance(before, AuthStatus)
        assert not before.enabled
        await auth.user_add(name, PASSWORD)
        await auth.user_add(f"{name}-certified")
        await auth.role_add(name)
        await auth.role_grant_permission(name, "read", "k")
        await auth.role_grant_permission(name, "write", "a", "b")
        await auth.role_grant_permission(name, "readwrite", "p/", prefix=True)
        await auth.role_grant_permission(name, "read", "z", b"\0")
        await auth.user_grant_role(name, name)

        assert User(name, (name,)) == await auth.user_get(name)
        assert {name, f"{name}-certified"} <= {*await auth.user_list()}
        assert name in await auth.role_list()
        expected = {
            Permission("read", b"k", b""),
            Permission("write", b"a", b"b"),
            Permission("readwrite", b"p/", b"p0"),
            Permission("read", b"z", b"\0"),
        }
        found = await auth.role_get(name)
        assert (name, expected) == (found.name, {*found.permissions})
        await auth.role_revoke_permission(name, "a", "b")
        await auth.role_revoke_permission(name, "p/", prefix=True)
        await auth.role_revoke_permission(name, "z", b"\0")
        assert Role(name, (Permission("read", b"k", b""),)) == await auth.role_get(name)
        await auth.user_revoke_role(name, name)
        assert User(name, ()) == await auth.user_get(name)
        await auth.user_change_password(name, PASSWORD * 2)
        await auth.role_delete(name)
        await auth.user_delete(name)
        assert name not in await auth.user_list()
        assert (await auth.status()).revision > before.revision


async def test_the_servers_errors_are_their_rows(guarded: ServerProcess, name: str) -> None:
    """As with all other requests."""
    async with connect(guarded) as client:
        await client.auth.user_add(name, PASSWORD)
        for row, ask in (
            (USER_ALREADY_EXIST, lambda: client.auth.user_add(name, PASSWORD)),
            (USER_NOT_FOUND, lambda: client.auth.user_get("nobody")),
            (ROLE_NOT_FOUND, lambda: client.auth.role_get("none")),
            (USER_EMPTY, lambda: client.auth.user_add("", PASSWORD)),
        ):
            with pytest.raises(EtcdError) as caught:
                await ask()
            assert row == caught.value.row


async def test_a_password_lets_in_to_what_its_user_may(guarded: ServerProcess, name: str) -> None:
    """Reads, writes, transactions, watches and leases; the rest is denied, each by its row."""
    async with auth_on(guarded, name) as root, connect(guarded, name, PASSWORD) as client:
        await root.put("other", "1")
        async with client.watch(f"{name}/", prefix=True) as events:
            await client.put(f"{name}/k", "v")
            assert (await anext(events)).kv.value == b"v"
        found = await client.get(f"{name}/k")
        assert found is not None
        for ask in (
            lambda: client.get("other"),
            lambda: client.put("other", "2"),
            lambda: client.txn(then=[Put(f"{name}/k", "w"), Get("other")]),
            lambda: client.range("", prefix=True),
            client.auth.user_list,
        ):
            with pytest.raises(EtcdError) as caught:
                await ask()
            assert PERMISSION_DENIED == caught.value.row
        with pytest.raises(EtcdError) as caught:
            async with client.watch("other"):
                pass
        assert PERMISSION_DENIED == caught.value.row
        after = await client.get(f"{name}/k")
        assert found == after


async def test_a_wrong_password_is_said_and_not_asked_again(
    guarded: ServerProcess, name: str
) -> None:
    """The first request raises what the login was answered, whatever was asked for."""
    async with auth_on(guarded, name), connect(guarded, name, "wrong") as client:
        for ask in (lambda: client.get(f"{name}/k"), lambda: client.put(f"{name}/k", "v")):
            with pytest.raises(EtcdError) as caught:
                await ask()
            assert AUTH_FAILED == caught.value.row


async def test_a_client_with_a_password_works_while_auth_is_off(
    guarded: ServerProcess, name: str
) -> None:
    """And goes on when it is turned on, and off again."""
    async with connect(guarded, name, PASSWORD) as client:
        await client.put(f"{name}/k", "0")
        async with auth_on(guarded, name):
            await client.put(f"{name}/k", "1")
            found = await client.get(f"{name}/k")
        assert found is not None
        assert found.version == 2
        await client.put(f"{name}/k", "2")


async def test_changed_users_cost_nobody_a_request(guarded: ServerProcess, name: str) -> None:
    """Tokens end when users and roles change, and the client gets another one by itself."""
    async with auth_on(guarded, name) as root, connect(guarded, name, PASSWORD) as client:
        for number in range(5):
            await client.put(f"{name}/k", str(number))
            await root.auth.role_add(f"{name}-{number}")
            await root.auth.user_grant_role(name, f"{name}-{number}")
            await root.auth.user_revoke_role(name, f"{name}-{number}")
        found = await client.get(f"{name}/k")
        assert found is not None
        assert found.version == 5


async def test_a_changed_password_ends_the_old_one(guarded: ServerProcess, name: str) -> None:
    """Whoever has logged in with it is out, too."""
    async with auth_on(guarded, name) as root, connect(guarded, name, PASSWORD) as client:
        await client.put(f"{name}/k", "v")
        await root.auth.user_change_password(name, PASSWORD * 2)
        with pytest.raises(EtcdError) as caught:
            await client.put(f"{name}/k", "w")
        assert AUTH_FAILED == caught.value.row
        token = await root.auth.authenticate(name, PASSWORD * 2)
        assert token


async def test_many_requests_log_in_once(guarded: ServerProcess, name: str) -> None:
    """A hundred tasks that begin together share one token, also after it has ended."""
    logins = 0
    async with auth_on(guarded, name) as root, connect(guarded, name, PASSWORD) as client:
        login = client._calls.login
        authenticate = login._authenticate

        async def counted(user: str, password: str) -> str:
            nonlocal logins
            logins += 1
            return await authenticate(user, password)

        login._authenticate = counted
        for round_ in range(2):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(client.put, f"{name}/{number}", str(round_))
            await root.auth.user_change_password(name, PASSWORD)
    assert logins in {1, 2}


async def test_a_watch_logs_in_again_when_it_resumes(tmp_path: Path) -> None:
    """A member that has come again knows no token; a watch goes on all the same, without gap."""
    with running_member(tmp_path) as server:
        async with connect(server) as client:
            await client.auth.user_add("root", PASSWORD)
            await client.auth.user_grant_role("root", "root")
            await client.auth.enable()
        port = server.port
        async with connect(server, "root", PASSWORD) as client, client.watch("k") as events:
            await client.put("k", "1")
            assert (await anext(events)).kv.value == b"1"
            server.terminate()
            with running_member(tmp_path, port=port):
                await client.put("k", "2")
                assert (await anext(events)).kv.value == b"2"


def test_half_a_login_is_a_slip() -> None:
    """A user without a password, or a password without a user, is refused at once."""
    for user, password in (("a", ""), ("", "b")):
        with pytest.raises(ValueError, match="needs a user and a password"):
            open_client("https://127.0.0.1:1", user=user, password=password)
