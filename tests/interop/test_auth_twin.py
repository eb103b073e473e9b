"""Commands of auth at random, asked of the real etcd 3.5.1 and of our store: every answer alike.

Names are few, so that every error comes up in every order that state allows. Now and then auth is
enabled, and each user tries every range on the real one: what it is allowed must be what our
store allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Final

import grpc
import pytest

from tests.auth.asking import (
    Asked,
    Command,
    change_password,
    disable,
    enable,
    grant,
    grant_nothing,
    grant_role,
    revoke,
    revoke_role,
    role_add,
    role_delete,
    user_add,
    user_delete,
)
from trioetcd.auth import ROOT, commands, role_body, role_list_body, user_body, user_list_body
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess, running_etcd

pytestmark = [pytest.mark.interop, pytest.mark.slow]

STEPS: Final = 600
SECONDS: Final = 20.0
NAMES: Final = ("root", "root", "a", "b", "")
KEYS: Final = (b"a", b"b", b"bb", b"c")
# Where etcd 3.5.1 takes what later versions refuse, nothing is drawn: permissions of no range.
RANGES: Final = tuple((key, end) for key in KEYS for end in (b"", b"\0", b"d"))

METHODS: Final = {
    commands.AUTH_ENABLE: "AuthEnable",
    commands.AUTH_DISABLE: "AuthDisable",
    commands.AUTH_USER_ADD: "UserAdd",
    commands.AUTH_USER_DELETE: "UserDelete",
    commands.AUTH_USER_CHANGE_PASSWORD: "UserChangePassword",
    commands.AUTH_USER_GRANT_ROLE: "UserGrantRole",
    commands.AUTH_USER_REVOKE_ROLE: "UserRevokeRole",
    commands.AUTH_ROLE_ADD: "RoleAdd",
    commands.AUTH_ROLE_DELETE: "RoleDelete",
    commands.AUTH_ROLE_GRANT_PERMISSION: "RoleGrantPermission",
    commands.AUTH_ROLE_REVOKE_PERMISSION: "RoleRevokePermission",
}

Told = tuple[object, str]
"""A code and its text; or the answer."""


class Real:
    """The real etcd, asked with root's certificate or with a token."""

    def __init__(self, server: ServerProcess) -> None:
        credentials = grpc.ssl_channel_credentials(
            server.cacert.read_bytes(), server.key.read_bytes(), server.cert.read_bytes()
        )
        self._channel = grpc.secure_channel(server.host_port, credentials)

    def close(self) -> None:
        self._channel.close()

    def ask(self, method: str, request: messages.Message, token: str = "") -> bytes | Told:
        call = self._channel.unary_unary(f"/etcdserverpb.{method}")
        metadata = (("token", token),) if token else ()
        try:
            answer = call(request.SerializeToString(), timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return error.code().value[0], error.details()
        assert isinstance(answer, bytes)
        return answer


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Run an etcd that hashes passwords fast."""
    with running_etcd(tmp_path_factory.mktemp("twin"), flags=["--bcrypt-cost=4"]) as server:
        asked = Real(server)
        yield asked
        asked.close()


def draw(random: Random) -> Command:
    name, role = random.choice(NAMES), random.choice(NAMES)
    pair = random.choice(RANGES)
    kind = random.randrange(3)
    made: list[Callable[[], Command]] = [
        enable,
        disable,
        lambda: user_add(name, no_password=random.random() < 0.2),
        lambda: user_add(name),
        lambda: user_delete(name),
        lambda: change_password(name),
        lambda: grant_role(name, role),
        lambda: grant_role(name, role),
        lambda: revoke_role(name, role),
        lambda: role_add(role),
        lambda: role_add(role),
        lambda: role_delete(role),
        lambda: grant(role, kind, *pair),
        lambda: grant(role, kind, *pair),
        lambda: grant(role, kind, *pair),
        lambda: grant_nothing(role),
        lambda: revoke(role, *pair),
    ]
    return random.choice(made)()


def asked_of_etcd(request: messages.Message) -> messages.Message:
    """Give the request as a client sends it: with the password, for 3.5.1 hashes it always."""
    if not isinstance(
        request, messages.AuthUserAddRequest | messages.AuthUserChangePasswordRequest
    ):
        return request
    sent = type(request).FromString(request.SerializeToString())
    sent.hashedPassword = ""
    sent.password = "pw"
    return sent


def quirky(known: Asked, request: messages.Message) -> bool:
    """Whether etcd would grant a permission twice: it looks at the first of its key only."""
    if not isinstance(request, messages.AuthRoleGrantPermissionRequest):
        return False
    role = known.store.get_role(request.name)
    same = [each for each in role.permissions if each.key == request.perm.key] if role else []
    return bool(same) and request.perm.range_end != same[0].range_end


def test_every_answer_is_etcds(real: Real) -> None:
    """Errors with their codes, the auth revision, and all that is told of users and roles."""
    seed = Random().randrange(2**32)
    print("seed", seed)
    random = Random(seed)
    known = Asked()
    counted: dict[object, int] = {}
    for number in range(STEPS):
        kind, request = draw(random)
        if quirky(known, request):
            continue
        told = real.ask(f"Auth/{METHODS[kind]}", asked_of_etcd(request))
        row = known.ask((kind, request))
        counted[kind, row] = counted.get((kind, row), 0) + 1
        found = told if isinstance(told, tuple) else None
        expected = None if row is None else (row.code.value, row.text)
        assert expected == found, (number, request)
        if number % 4 == 0:
            compare(real, known)
        if number % 50 == 49:
            compare_rights(real, known)
    assert len(counted) > 25, counted


def compare(real: Real, known: Asked) -> None:
    store = known.store
    status = real.ask("Auth/AuthStatus", messages.AuthStatusRequest())
    assert isinstance(status, bytes), status
    read = messages.AuthStatusResponse.FromString(status)
    assert (read.enabled, read.authRevision) == (store.enabled, store.revision)
    listed = real.ask("Auth/UserList", messages.AuthUserListRequest())
    assert user_list_body(store) == without_header(listed, messages.AuthUserListResponse)
    listed = real.ask("Auth/RoleList", messages.AuthRoleListRequest())
    assert role_list_body(store) == without_header(listed, messages.AuthRoleListResponse)
    for name in set(NAMES):
        told = real.ask("Auth/UserGet", messages.AuthUserGetRequest(name=name))
        expected = answer(partial(user_body, store, name))
        assert expected == without_header(told, messages.AuthUserGetResponse)
        if name == ROOT:
            continue  # what etcd tells of this role since 3.6, 3.5.1 does not
        told = real.ask("Auth/RoleGet", messages.AuthRoleGetRequest(role=name))
        expected = answer(partial(role_body, store, name))
        assert expected == without_header(told, messages.AuthRoleGetResponse)


def answer(body: Callable[[], bytes]) -> bytes | Told:
    try:
        return body()
    except EtcdError as error:
        return error.code.value, error.text


def without_header(told: bytes | Told, kind: type[messages.Message]) -> bytes | Told:
    if isinstance(told, tuple):
        return told
    read = kind.FromString(told)
    read.ClearField("header")
    return read.SerializeToString()


def compare_rights(real: Real, known: Asked) -> None:
    """Let every user try every range."""
    store = known.store
    if not store.enabled:
        return
    for user in store.users():
        login = messages.AuthenticateRequest(name=user.name, password="pw")
        told = real.ask("Auth/Authenticate", login)
        if user.no_password:
            assert isinstance(told, tuple)
            continue
        assert isinstance(told, bytes), told
        token = messages.AuthenticateResponse.FromString(told).token
        for key, end in RANGES:
            read = real.ask("KV/Range", messages.RangeRequest(key=key, range_end=end), token)
            deleted = real.ask(
                "KV/DeleteRange", messages.DeleteRangeRequest(key=key, range_end=end), token
            )
            keys = KeyRange.from_wire(key, end)
            assert store.may_read(user.name, keys) == isinstance(read, bytes), (user, keys)
            assert store.may_write(user.name, keys) == isinstance(deleted, bytes), (user, keys)
