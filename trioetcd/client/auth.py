"""Users, roles and permissions: `Client.auth`.

A user has roles, a role has permissions to read, write, or both, for keys. Whoever has the role
``root`` may do everything, and only that role may change what is here once it is in force.
"""

from __future__ import annotations

from typing import Final, Literal

from trioetcd.client import requests
from trioetcd.client.calls import Calls
from trioetcd.client.requests import Data
from trioetcd.client.results import AuthStatus, Permission, Role, User
from trioetcd.schema import messages

__all__ = ["Access", "Auth"]

Access = Literal["read", "write", "readwrite"]

_ACCESS: Final[dict[Access, int]] = {
    "read": messages.Permission.READ,
    "write": messages.Permission.WRITE,
    "readwrite": messages.Permission.READWRITE,
}


class Auth:
    """The users and roles of a cluster. Errors are those of `Client.get` and `Client.put`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def enable(self) -> None:
        """Ask everybody who they are from now on; needs a user root with the role root."""
        parse = messages.AuthEnableResponse.FromString
        await self._calls.write("Auth/AuthEnable", messages.AuthEnableRequest(), parse)

    async def disable(self) -> None:
        """Let everybody do everything again."""
        parse = messages.AuthDisableResponse.FromString
        await self._calls.write("Auth/AuthDisable", messages.AuthDisableRequest(), parse)

    async def status(self) -> AuthStatus:
        """Ask whether auth is in force, and how often users and roles were changed."""
        parse = messages.AuthStatusResponse.FromString
        found = await self._calls.read("Auth/AuthStatus", messages.AuthStatusRequest(), parse)
        return AuthStatus.read(found)

    async def authenticate(self, user: str, password: str) -> str:
        """Get a token for a password; a client that was opened with them does so by itself."""
        return await self._calls.authenticate(user, password)

    # -- users --------------------------------------------------------------------------------

    async def user_add(self, user: str, password: str | None = None) -> None:
        """Make a user; without a password it is known by its certificate only."""
        request = messages.AuthUserAddRequest(
            name=user,
            password=password or "",
            options=messages.UserAddOptions(no_password=password is None),
        )
        await self._calls.write("Auth/UserAdd", request, messages.AuthUserAddResponse.FromString)

    async def user_get(self, user: str) -> User:
        """Give a user with its roles."""
        request = messages.AuthUserGetRequest(name=user)
        parse = messages.AuthUserGetResponse.FromString
        found = await self._calls.read("Auth/UserGet", request, parse)
        return User(user, tuple(found.roles))

    async def user_list(self) -> tuple[str, ...]:
        """List the users' names."""
        parse = messages.AuthUserListResponse.FromString
        found = await self._calls.read("Auth/UserList", messages.AuthUserListRequest(), parse)
        return tuple(found.users)

    async def user_delete(self, user: str) -> None:
        """Delete a user."""
        request = messages.AuthUserDeleteRequest(name=user)
        parse = messages.AuthUserDeleteResponse.FromString
        await self._calls.write("Auth/UserDelete", request, parse)

    async def user_change_password(self, user: str, password: str) -> None:
        """Give a user another password; its tokens end."""
        request = messages.AuthUserChangePasswordRequest(name=user, password=password)
        parse = messages.AuthUserChangePasswordResponse.FromString
        await self._calls.write("Auth/UserChangePassword", request, parse)

    async def user_grant_role(self, user: str, role: str) -> None:
        """Give a user a role."""
        request = messages.AuthUserGrantRoleRequest(user=user, role=role)
        parse = messages.AuthUserGrantRoleResponse.FromString
        await self._calls.write("Auth/UserGrantRole", request, parse)

    async def user_revoke_role(self, user: str, role: str) -> None:
        """Take a role from a user."""
        request = messages.AuthUserRevokeRoleRequest(name=user, role=role)
        parse = messages.AuthUserRevokeRoleResponse.FromString
        await self._calls.write("Auth/UserRevokeRole", request, parse)

    # -- roles --------------------------------------------------------------------------------

    async def role_add(self, role: str) -> None:
        """Make a role, without permissions."""
        request = messages.AuthRoleAddRequest(name=role)
        await self._calls.write("Auth/RoleAdd", request, messages.AuthRoleAddResponse.FromString)

    async def role_get(self, role: str) -> Role:
        """Give a role with its permissions."""
        request = messages.AuthRoleGetRequest(role=role)
        parse = messages.AuthRoleGetResponse.FromString
        found = await self._calls.read("Auth/RoleGet", request, parse)
        return Role(role, tuple(map(Permission.read, found.perm)))

    async def role_list(self) -> tuple[str, ...]:
        """List the roles' names."""
        parse = messages.AuthRoleListResponse.FromString
        found = await self._calls.read("Auth/RoleList", messages.AuthRoleListRequest(), parse)
        return tuple(found.roles)

    async def role_delete(self, role: str) -> None:
        """Delete a role, and take it from all users."""
        request = messages.AuthRoleDeleteRequest(role=role)
        parse = messages.AuthRoleDeleteResponse.FromString
        await self._calls.write("Auth/RoleDelete", request, parse)

    async def role_grant_permission(
        self,
        role: str,
        access: Access,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
    ) -> None:
        """Let a role read, write, or both, a key, an interval, or all keys with a prefix."""
        first = requests.encode(key)
        permission = messages.Permission(
            permType=_ACCESS[access],
            key=requests.start_of(first, prefix=prefix),
            range_end=requests.end_of(first, end, prefix=prefix),
        )
        request = messages.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        parse = messages.AuthRoleGrantPermissionResponse.FromString
        await self._calls.write("Auth/RoleGrantPermission", request, parse)

    async def role_revoke_permission(
        self, role: str, key: Data, end: Data | None = None, *, prefix: bool = False
    ) -> None:
        """Take a permission from a role; key and end are those that it was granted with."""
        first = requests.encode(key)
        request = messages.AuthRoleRevokePermissionRequest(
            role=role,
            key=requests.start_of(first, prefix=prefix),
            range_end=requests.end_of(first, end, prefix=prefix),
        )
        parse = messages.AuthRoleRevokePermissionResponse.FromString
        await self._calls.write("Auth/RoleRevokePermission", request, parse)
