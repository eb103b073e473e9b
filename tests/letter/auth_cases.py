"""The table's rows for users, roles and logins; the rest of the table is `cases`."""

from __future__ import annotations

from typing import Final

from tests.letter.caller import OK, Said
from tests.letter.cases import ask, case
from tests.letter.stages import Stage
from trioetcd import errors
from trioetcd.schema import messages as m

__all__ = ["PASSWORD", "set_users"]

PASSWORD: Final = "of anna"

NO_PASSWORD: Final = m.UserAddOptions(no_password=True)
PERMISSION: Final = m.Permission(permType=m.Permission.READWRITE, key=b"a/", range_end=b"a0")
USERS: Final = "users"


def set_users(stage: Stage) -> None:
    """Make users and roles, and enable auth; the stage's own certificate names root."""
    for rpc, request in (
        ("UserAdd", m.AuthUserAddRequest(name="root", options=NO_PASSWORD)),
        ("UserAdd", m.AuthUserAddRequest(name="anna", password=PASSWORD)),
        ("RoleAdd", m.AuthRoleAddRequest(name="r")),
        ("RoleGrantPermission", m.AuthRoleGrantPermissionRequest(name="r", perm=PERMISSION)),
        ("UserGrantRole", m.AuthUserGrantRoleRequest(user="root", role="root")),
        ("UserGrantRole", m.AuthUserGrantRoleRequest(user="anna", role="r")),
        ("AuthEnable", m.AuthEnableRequest()),
    ):
        assert stage.say(f"Auth/{rpc}", request) == OK


def token(stage: Stage) -> list[tuple[str, str]]:
    """Log in; give what a client shows then."""
    asked = stage.caller.ask("Auth/Authenticate", LOGIN)
    assert asked.said() == OK
    assert isinstance(asked.answer, m.AuthenticateResponse)
    return [("token", asked.answer.token)]


LOGIN: Final = m.AuthenticateRequest(name="anna", password=PASSWORD)

# -- Auth itself ------------------------------------------------------------------------------

ask("Auth/AuthEnable", OK, m.AuthEnableRequest(), on=USERS)
ask("Auth/AuthEnable", errors.ROOT_USER_NOT_EXIST, m.AuthEnableRequest())
ask("Auth/AuthDisable", OK, m.AuthDisableRequest())
ask("Auth/AuthStatus", OK, m.AuthStatusRequest(), on=USERS)
ask("Auth/Authenticate", OK, LOGIN, on=USERS)
ask("Auth/Authenticate", errors.AUTH_NOT_ENABLED, LOGIN)
ask(
    "Auth/Authenticate",
    errors.AUTH_FAILED,
    m.AuthenticateRequest(name="anna", password="x"),
    on=USERS,
)
ask("Auth/Authenticate", errors.AUTH_FAILED, m.AuthenticateRequest(name="none"), on=USERS)
ask("Auth/Authenticate", errors.AUTH_FAILED, m.AuthenticateRequest(), on=USERS)
ask(
    "Auth/Authenticate",
    errors.NO_PASSWORD_USER,
    m.AuthenticateRequest(name="root", password="x"),
    on=USERS,
)


@case("Auth/AuthEnable", errors.ROOT_ROLE_NOT_EXIST)
def enable_without_role(stage: Stage) -> Said:
    """The user is there, and is root by name only."""
    stage.say("Auth/UserAdd", m.AuthUserAddRequest(name="root", options=NO_PASSWORD))
    said = stage.say("Auth/AuthEnable", m.AuthEnableRequest())
    stage.say("Auth/UserDelete", m.AuthUserDeleteRequest(name="root"))
    return said


# -- Users ------------------------------------------------------------------------------------

ANNA: Final = m.AuthUserAddRequest(name="anna", password="x")

ask("Auth/UserAdd", errors.USER_ALREADY_EXIST, ANNA, on=USERS)
ask("Auth/UserAdd", errors.USER_EMPTY, m.AuthUserAddRequest(password="x"), on=USERS)
ask("Auth/UserGet", OK, m.AuthUserGetRequest(name="anna"), on=USERS)
ask("Auth/UserGet", errors.USER_NOT_FOUND, m.AuthUserGetRequest(name="none"), on=USERS)
ask("Auth/UserList", OK, m.AuthUserListRequest(), on=USERS)
ask("Auth/UserDelete", errors.USER_NOT_FOUND, m.AuthUserDeleteRequest(name="none"), on=USERS)
ask(
    "Auth/UserDelete",
    errors.INVALID_AUTH_MANAGEMENT,
    m.AuthUserDeleteRequest(name="root"),
    on=USERS,
)
ask(
    "Auth/UserChangePassword",
    OK,
    m.AuthUserChangePasswordRequest(name="anna", password=PASSWORD),
    on=USERS,
)
ask(
    "Auth/UserChangePassword",
    errors.USER_NOT_FOUND,
    m.AuthUserChangePasswordRequest(name="none", password="x"),
    on=USERS,
)
ask("Auth/UserGrantRole", OK, m.AuthUserGrantRoleRequest(user="anna", role="r"), on=USERS)
ask(
    "Auth/UserGrantRole",
    errors.USER_NOT_FOUND,
    m.AuthUserGrantRoleRequest(user="none", role="r"),
    on=USERS,
)
ask(
    "Auth/UserGrantRole",
    errors.ROLE_NOT_FOUND,
    m.AuthUserGrantRoleRequest(user="anna", role="none"),
    on=USERS,
)
ask(
    "Auth/UserRevokeRole",
    errors.ROLE_NOT_GRANTED,
    m.AuthUserRevokeRoleRequest(name="anna", role="none"),
    on=USERS,
)
ask(
    "Auth/UserRevokeRole",
    errors.INVALID_AUTH_MANAGEMENT,
    m.AuthUserRevokeRoleRequest(name="root", role="root"),
    on=USERS,
)


@case("Auth/UserAdd", OK, on=USERS)
def add_user(stage: Stage) -> Said:
    """With a password."""
    stage.say("Auth/UserDelete", m.AuthUserDeleteRequest(name="new"))
    return stage.say("Auth/UserAdd", m.AuthUserAddRequest(name="new", password="x"))


@case("Auth/UserDelete", OK, on=USERS)
def delete_user(stage: Stage) -> Said:
    """One that there is."""
    stage.say("Auth/UserAdd", m.AuthUserAddRequest(name="new", options=NO_PASSWORD))
    return stage.say("Auth/UserDelete", m.AuthUserDeleteRequest(name="new"))


@case("Auth/UserRevokeRole", OK, on=USERS)
def revoke_role(stage: Stage) -> Said:
    """One that the user has."""
    grant = m.AuthUserGrantRoleRequest(user="anna", role="r")
    stage.say("Auth/UserGrantRole", grant)
    said = stage.say("Auth/UserRevokeRole", m.AuthUserRevokeRoleRequest(name="anna", role="r"))
    stage.say("Auth/UserGrantRole", grant)
    return said


# -- Roles ------------------------------------------------------------------------------------

ask("Auth/RoleAdd", errors.ROLE_ALREADY_EXIST, m.AuthRoleAddRequest(name="r"), on=USERS)
ask("Auth/RoleAdd", errors.ROLE_EMPTY, m.AuthRoleAddRequest(), on=USERS)
ask("Auth/RoleGet", OK, m.AuthRoleGetRequest(role="r"), on=USERS)
ask("Auth/RoleGet", errors.ROLE_NOT_FOUND, m.AuthRoleGetRequest(role="none"), on=USERS)
ask("Auth/RoleList", OK, m.AuthRoleListRequest(), on=USERS)
ask("Auth/RoleDelete", errors.ROLE_NOT_FOUND, m.AuthRoleDeleteRequest(role="none"), on=USERS)
ask(
    "Auth/RoleDelete",
    errors.INVALID_AUTH_MANAGEMENT,
    m.AuthRoleDeleteRequest(role="root"),
    on=USERS,
)
ask(
    "Auth/RoleGrantPermission",
    OK,
    m.AuthRoleGrantPermissionRequest(name="r", perm=PERMISSION),
    on=USERS,
)
ask(
    "Auth/RoleGrantPermission",
    errors.PERMISSION_NOT_GIVEN,
    m.AuthRoleGrantPermissionRequest(name="r"),
    on=USERS,
)
ask(
    "Auth/RoleGrantPermission",
    errors.ROLE_NOT_FOUND,
    m.AuthRoleGrantPermissionRequest(name="none", perm=PERMISSION),
    on=USERS,
)
ask(
    "Auth/RoleRevokePermission",
    errors.PERMISSION_NOT_GRANTED,
    m.AuthRoleRevokePermissionRequest(role="r", key=b"none"),
    on=USERS,
)


@case("Auth/RoleAdd", OK, on=USERS)
def add_role(stage: Stage) -> Said:
    """A new one."""
    stage.say("Auth/RoleDelete", m.AuthRoleDeleteRequest(role="new"))
    return stage.say("Auth/RoleAdd", m.AuthRoleAddRequest(name="new"))


@case("Auth/RoleDelete", OK, on=USERS)
def delete_role(stage: Stage) -> Said:
    """One that there is."""
    stage.say("Auth/RoleAdd", m.AuthRoleAddRequest(name="new"))
    return stage.say("Auth/RoleDelete", m.AuthRoleDeleteRequest(role="new"))


@case("Auth/RoleRevokePermission", OK, on=USERS)
def revoke_permission(stage: Stage) -> Said:
    """One that was granted."""
    other = m.Permission(key=b"other")
    stage.say("Auth/RoleGrantPermission", m.AuthRoleGrantPermissionRequest(name="r", perm=other))
    request = m.AuthRoleRevokePermissionRequest(role="r", key=b"other")
    return stage.say("Auth/RoleRevokePermission", request)


# -- What users may ---------------------------------------------------------------------------


@case("KV/Put", OK, on=USERS)
def put_as_user(stage: Stage) -> Said:
    """What the role allows."""
    return stage.say("KV/Put", m.PutRequest(key=b"a/1"), token(stage))


for _rpc, _request in {
    "KV/Put": m.PutRequest(key=b"b"),
    "KV/Range": m.RangeRequest(key=b"a/", range_end=b"\0"),
    "KV/Txn": m.TxnRequest(failure=[m.RequestOp(request_put=m.PutRequest(key=b"b"))]),
    "KV/Compact": m.CompactionRequest(revision=1),
    "Auth/UserList": m.AuthUserListRequest(),
    "Maintenance/Snapshot": m.SnapshotRequest(),
}.items():

    @case(_rpc, errors.PERMISSION_DENIED, on=USERS)
    def _denied(stage: Stage, rpc: str = _rpc, request: m.Message = _request) -> Said:
        return stage.say(rpc, request, token(stage))


@case("KV/Range", errors.INVALID_AUTH_TOKEN, on=USERS)
def show_nonsense(stage: Stage) -> Said:
    """Though the certificate is root's."""
    return stage.say("KV/Range", m.RangeRequest(key=b"a/1"), [("token", "none")])


@case("KV/Range", errors.AUTH_OLD_REVISION, on=USERS)
def show_an_old_token(stage: Stage) -> Said:
    """A signed token that is of before the latest change of users."""
    shown = token(stage)
    stage.say("Auth/RoleDelete", m.AuthRoleDeleteRequest(role="old"))
    stage.say("Auth/RoleAdd", m.AuthRoleAddRequest(name="old"))
    return stage.say("KV/Range", m.RangeRequest(key=b"a/1"), shown)
