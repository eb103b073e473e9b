"""Auth: users, roles, permissions and logins.

Changes go through the log, with the hash of a password in the place of the password; what is asked
of users and roles is read when this member is current.
"""

from __future__ import annotations

from collections.abc import Callable

from trioetcd import auth
from trioetcd.api.context import Metadata, UnaryHandler
from trioetcd.api.guard import Guard
from trioetcd.auth import PasswordRequest
from trioetcd.errors import PERMISSION_DENIED, EtcdError
from trioetcd.ports import Sink
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind

__all__ = ["AuthAPI"]


class AuthAPI:
    """Handlers of `etcdserverpb.Auth` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guard = Guard(server)
        change = self._change
        self.enable = change(messages.AuthEnableRequest, CommandKind.AUTH_ENABLE)
        self.disable = change(messages.AuthDisableRequest, CommandKind.AUTH_DISABLE)
        self.user_delete = change(messages.AuthUserDeleteRequest, CommandKind.AUTH_USER_DELETE)
        self.user_grant_role = change(
            messages.AuthUserGrantRoleRequest, CommandKind.AUTH_USER_GRANT_ROLE
        )
        self.user_revoke_role = change(
            messages.AuthUserRevokeRoleRequest, CommandKind.AUTH_USER_REVOKE_ROLE
        )
        self.role_add = change(messages.AuthRoleAddRequest, CommandKind.AUTH_ROLE_ADD)
        self.role_delete = change(messages.AuthRoleDeleteRequest, CommandKind.AUTH_ROLE_DELETE)
        self.role_grant_permission = change(
            messages.AuthRoleGrantPermissionRequest, CommandKind.AUTH_ROLE_GRANT_PERMISSION
        )
        self.role_revoke_permission = change(
            messages.AuthRoleRevokePermissionRequest, CommandKind.AUTH_ROLE_REVOKE_PERMISSION
        )

    # -- changes -----------------------------------------------------------------------------

    def _change(self, request: type[messages.Message], kind: CommandKind) -> UnaryHandler:
        """Give the handler of what is proposed as it comes."""

        def handler(caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
            request.FromString(message)
            self._server.propose(caller, call, kind, message, self._guard.asker(metadata))

        return handler

    async def user_add(self, metadata: Metadata, message: bytes) -> bytes:
        """UserAdd: a new user, with a password, a hash made elsewhere, or neither."""
        request = messages.AuthUserAddRequest.FromString(message)
        return await self._change_password(metadata, CommandKind.AUTH_USER_ADD, request)

    async def user_change_password(self, metadata: Metadata, message: bytes) -> bytes:
        """UserChangePassword: the user's tokens end with the old one."""
        request = messages.AuthUserChangePasswordRequest.FromString(message)
        return await self._change_password(metadata, CommandKind.AUTH_USER_CHANGE_PASSWORD, request)

    async def _change_password(
        self, metadata: Metadata, kind: CommandKind, request: PasswordRequest
    ) -> bytes:
        server = self._server
        server.refuse_learner()
        logins = server.logins
        hashed = None
        if auth.must_hash(request):
            auth.check_password(request.password, length_min=logins.password_length_min)
            hashed = await logins.passwords.hash(request.password)
        payload = auth.seal(request, hashed)
        # Only now: who asks may be somebody else's past by the time a password is hashed.
        return await server.ask(kind, payload, self._guard.asker(metadata))

    # -- logging in --------------------------------------------------------------------------

    async def authenticate(self, metadata: Metadata, message: bytes) -> bytes:
        """Authenticate: a token for a password."""
        server = self._server
        server.refuse_learner()
        request = messages.AuthenticateRequest.FromString(message)
        await server.wait_current()
        token = await server.logins.authenticate(
            request.name, request.password, metadata.origin.remote
        )
        response = messages.AuthenticateResponse(token=token)
        return server.header() + response.SerializeToString()

    # -- questions ---------------------------------------------------------------------------

    def status(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """AuthStatus: whether auth is on, and how often users were changed; for anybody (3.7)."""
        messages.AuthStatusRequest.FromString(message)
        return self._read(caller, call, lambda: auth.status_body(self._server.auth))

    def user_get(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """UserGet: a user's roles; each user may ask for its own."""
        name = messages.AuthUserGetRequest.FromString(message).name
        store = self._server.auth

        def read() -> bytes:
            if not self._guard.is_root(metadata) and self._guard.require(metadata).user != name:
                raise EtcdError(PERMISSION_DENIED)
            return auth.user_body(store, name)

        return self._read(caller, call, read)

    def user_list(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """UserList: all names."""
        messages.AuthUserListRequest.FromString(message)
        return self._read_as_root(caller, call, metadata, auth.user_list_body)

    def role_get(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """RoleGet: a role's permissions; each user may ask for those that it has."""
        role = messages.AuthRoleGetRequest.FromString(message).role
        store = self._server.auth

        def read() -> bytes:
            if not self._guard.is_root(metadata):
                known = store.get_user(self._guard.require(metadata).user)
                if known is None or role not in known.roles:
                    raise EtcdError(PERMISSION_DENIED)
            return auth.role_body(store, role)

        return self._read(caller, call, read)

    def role_list(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """RoleList: all names."""
        messages.AuthRoleListRequest.FromString(message)
        return self._read_as_root(caller, call, metadata, auth.role_list_body)

    def _read_as_root(
        self,
        caller: Sink,
        call: int,
        metadata: Metadata,
        body: Callable[[auth.AuthStore], bytes],
    ) -> Answer:
        def read() -> bytes:
            if not self._guard.is_root(metadata):
                raise EtcdError(PERMISSION_DENIED)
            return body(self._server.auth)

        return self._read(caller, call, read)

    def _read(self, caller: Sink, call: int, body: Callable[[], bytes]) -> Answer:
        server = self._server

        def read() -> bytes:
            found = body()
            return server.header() + found

        return server.answer_when_current(caller, call, read)
