"""Who may do what: users, roles and their permissions in table ``u``, and whether that counts.

Changed only by applied entries, so every member knows the same, and nothing here asks for the
time or draws a number. Whoever keeps what is not state (tokens, which each member has in memory)
is told of it through `Listener`.

The errors and their order are etcd's. Permissions are kept as granted; what they allow a user
together is worked out when it is first asked for, and forgotten with every change.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from operator import attrgetter
from struct import Struct
from typing import Final, Protocol

from trioetcd import errors
from trioetcd.auth import commands
from trioetcd.auth.password import read_hash
from trioetcd.auth.permission import Rights
from trioetcd.auth.user import (
    READWRITE,
    ROOT,
    Permission,
    Role,
    User,
    decode_role,
    decode_user,
    encode_role,
    encode_user,
)
from trioetcd.errors import EtcdError, unimplemented
from trioetcd.keyrange import KeyRange
from trioetcd.ports import ReadView, Row, Space
from trioetcd.schema import messages

__all__ = ["AUTH_TABLE", "AuthStore", "Listener", "read_roles", "read_standing", "read_users"]

AUTH_TABLE: Final = b"u"

_STANDING: Final = AUTH_TABLE + b"s"
_USER: Final = AUTH_TABLE + b"u"
_ROLE: Final = AUTH_TABLE + b"r"

_STANDING_ROW: Final = Struct(">?Q")
"""Whether auth is enabled, and the auth revision."""

_FIRST_REVISION: Final = 1
"""Where etcd begins; 0 stands for nobody's revision."""

_NOBODY: Final = Rights(())
_ROOT: Final = Rights([Permission(READWRITE, b"", b"\0")])


def read_standing(view: ReadView, epoch: bytes) -> tuple[bool, int] | None:
    """Read whether auth is enabled, and the auth revision; None if nothing was ever changed."""
    value = view.get(epoch + _STANDING)
    return None if value is None else _STANDING_ROW.unpack(value)


def read_users(view: ReadView, epoch: bytes) -> Iterator[Row]:
    """Go through all users in order: name and stored form."""
    return _read(view, epoch + _USER)


def read_roles(view: ReadView, epoch: bytes) -> Iterator[Row]:
    """Go through all roles in order: name and stored form."""
    return _read(view, epoch + _ROLE)


def _read(view: ReadView, prefix: bytes) -> Iterator[Row]:
    stop = prefix[:-1] + bytes((prefix[-1] + 1,))
    for key, value in view.scan(prefix, stop):
        yield key[len(prefix) :], value


class Listener(Protocol):
    """Who keeps the tokens of one member; they are not state, for they end with the clock."""

    def assign(self, user: str, digest: bytes, /) -> None:
        """A token is valid from now on; it may have been assigned before (a replayed log)."""

    def invalidate(self, user: str, /) -> None:
        """All tokens of a user end: it is gone, or has another password."""

    def clear(self) -> None:
        """All tokens end: auth was disabled, or the state is another's from now on."""


class _Nobody:
    """Listens as long as nobody else does."""

    def assign(self, user: str, digest: bytes, /) -> None:
        pass

    def invalidate(self, user: str, /) -> None:
        pass

    def clear(self) -> None:
        pass


class AuthStore:
    """The users and roles of one epoch.

    Attributes:
        enabled: whether requests are checked at all.
        revision: how often users, roles or permissions were changed (etcd's auth revision);
            enabling is no such change, disabling is.
        changes: counts everything that may alter an answer of this object, enabling and loading
            included; for who must look again at what was allowed before.
        listener: told of what concerns the tokens; set by who keeps them.
    """

    def __init__(self, space: Space, *, epoch: bytes) -> None:
        self.changes = 0
        self.listener: Listener = _Nobody()
        self._space = space
        self._handlers: dict[int, Callable[[bytes], None]] = {
            commands.AUTH_ENABLE: self._enable,
            commands.AUTH_DISABLE: self._disable,
            commands.AUTH_USER_ADD: self._user_add,
            commands.AUTH_USER_DELETE: self._user_delete,
            commands.AUTH_USER_CHANGE_PASSWORD: self._user_change_password,
            commands.AUTH_USER_GRANT_ROLE: self._user_grant_role,
            commands.AUTH_USER_REVOKE_ROLE: self._user_revoke_role,
            commands.AUTH_ROLE_ADD: self._role_add,
            commands.AUTH_ROLE_DELETE: self._role_delete,
            commands.AUTH_ROLE_GRANT_PERMISSION: self._role_grant_permission,
            commands.AUTH_ROLE_REVOKE_PERMISSION: self._role_revoke_permission,
            commands.AUTHENTICATE: self._authenticate,
        }
        self.load(epoch=epoch)

    def load(self, *, epoch: bytes) -> None:
        """Start again from the rows of an epoch."""
        space = self._space
        self._epoch = epoch
        self.enabled, self.revision = read_standing(space, epoch) or (False, _FIRST_REVISION)
        users = (decode_user(row) for _, row in read_users(space, epoch))
        roles = (decode_role(row) for _, row in read_roles(space, epoch))
        self._users = {user.name: user for user in users}
        self._roles = {role.name: role for role in roles}
        self._rights: dict[str, Rights] = {}
        self._decoys: list[bytes] | None = None
        self.changes += 1
        self.listener.clear()

    # -- questions ---------------------------------------------------------------------------

    def get_user(self, name: str) -> User | None:
        """Give a user by its name."""
        return self._users.get(name)

    def get_role(self, name: str) -> Role | None:
        """Give a role by its name."""
        return self._roles.get(name)

    def users(self) -> list[User]:
        """Give all users in the order of their names, as UserList does."""
        return [self._users[name] for name in sorted(self._users)]

    def roles(self) -> list[Role]:
        """Give all roles in the order of their names, as RoleList does."""
        return [self._roles[name] for name in sorted(self._roles)]

    def hash_for(self, user: str) -> tuple[bytes, bool]:
        """Give the hash that a password shown for a user is checked against.

        A name that nobody has gets the hash of somebody who has one, always the same, so that the
        answer takes as long as if there were such a user, whatever the costs of the hashes are.

        Returns:
            The hash, empty if nobody has one; and whether a password that fits it counts.
        """
        known = self._users.get(user)
        if known is not None and known.password:
            return known.password, True
        if self._decoys is None:
            self._decoys = [user.password for user in self.users() if user.password]
        if not self._decoys:
            return b"", False
        chosen = int.from_bytes(sha256(user.encode()).digest()[:8], "big") % len(self._decoys)
        return self._decoys[chosen], False

    def is_root(self, user: str) -> bool:
        """Whether a user has the role that may do everything."""
        known = self._users.get(user)
        return known is not None and known.is_root

    def may_read(self, user: str, keys: KeyRange) -> bool:
        """Whether a user may read every key of an interval; one that does not exist may not."""
        rights = self._rights.get(user) or self.rights(user)  # most are known: twice a request
        return rights.reading.covers(keys)

    def may_write(self, user: str, keys: KeyRange) -> bool:
        """Whether a user may write every key of an interval; one that does not exist may not."""
        rights = self._rights.get(user) or self.rights(user)
        return rights.writing.covers(keys)

    def rights(self, user: str) -> Rights:
        """Give what a user's roles allow together."""
        known = self._users.get(user)
        if known is None:
            return _NOBODY
        found = self._rights.get(user)
        if found is None:
            roles = [self._roles[name] for name in known.roles if name in self._roles]
            granted = Rights(each for role in roles for each in role.permissions)
            found = self._rights[user] = _ROOT if known.is_root else granted
        return found

    # -- commands ----------------------------------------------------------------------------

    def apply(self, kind: int, payload: bytes, /) -> tuple[int, bytes] | EtcdError:
        """Apply a command.

        Returns:
            0, for the store's revision is not known here (the applier puts it in), and the answer
            without its header, which is empty for all of them; or the error, and then nothing has
            changed.

        Raises:
            DecodeError: the payload is none of this kind.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            return unimplemented(f"etcdserver: this version does not know command {kind}")
        try:
            handler(payload)
        except EtcdError as error:
            return error
        return 0, b""

    def _enable(self, _payload: bytes) -> None:
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise EtcdError(errors.ROOT_USER_NOT_EXIST)
        if not root.is_root:
            raise EtcdError(errors.ROOT_ROLE_NOT_EXIST)
        self._stand(enabled=True, revision=self.revision)

    def _disable(self, _payload: bytes) -> None:
        if self.enabled:
            self._stand(enabled=False, revision=self.revision + 1)
            self.listener.clear()

    def _authenticate(self, payload: bytes) -> None:
        user, digest, auth_revision = commands.decode_authentication(payload)
        if not self.enabled:
            raise EtcdError(errors.AUTH_NOT_ENABLED)
        known = self._users.get(user)
        if known is None or known.no_password:
            raise EtcdError(errors.AUTH_FAILED)
        if auth_revision != self.revision:
            raise EtcdError(errors.AUTH_OLD_REVISION)
        self.listener.assign(user, digest)

    # -- users -------------------------------------------------------------------------------

    def _user_add(self, payload: bytes) -> None:
        request = messages.AuthUserAddRequest.FromString(payload)
        if not request.name:
            raise EtcdError(errors.USER_EMPTY)
        if request.name in self._users:
            raise EtcdError(errors.USER_ALREADY_EXIST)
        no_password = request.options.no_password
        password = b"" if no_password else read_hash(request)
        self._put_user(User(request.name, password, no_password))
        self._changed()

    def _user_delete(self, payload: bytes) -> None:
        name = messages.AuthUserDeleteRequest.FromString(payload).name
        if self.enabled and name == ROOT:
            raise EtcdError(errors.INVALID_AUTH_MANAGEMENT)
        self._user(name)
        del self._users[name]
        self._space.delete(self._row(_USER, name))
        self._changed()
        self.listener.invalidate(name)

    def _user_change_password(self, payload: bytes) -> None:
        request = messages.AuthUserChangePasswordRequest.FromString(payload)
        user = self._user(request.name)
        # etcd: a user without a password keeps having none, and the request succeeds.
        password = b"" if user.no_password else read_hash(request)
        self._put_user(replace(user, password=password))
        self._changed()
        self.listener.invalidate(user.name)

    def _user_grant_role(self, payload: bytes) -> None:
        request = messages.AuthUserGrantRoleRequest.FromString(payload)
        user = self._user(request.user)
        if request.role != ROOT:
            self._role(request.role)
        if request.role in user.roles:
            return  # no change: the auth revision stays
        self._put_user(replace(user, roles=tuple(sorted((*user.roles, request.role)))))
        self._changed()

    def _user_revoke_role(self, payload: bytes) -> None:
        request = messages.AuthUserRevokeRoleRequest.FromString(payload)
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise EtcdError(errors.INVALID_AUTH_MANAGEMENT)
        user = self._user(request.name)
        if request.role not in user.roles:
            raise EtcdError(errors.ROLE_NOT_GRANTED)
        self._put_user(_without(user, request.role))
        self._changed()

    # -- roles -------------------------------------------------------------------------------

    def _role_add(self, payload: bytes) -> None:
        name = messages.AuthRoleAddRequest.FromString(payload).name
        if not name:
            raise EtcdError(errors.ROLE_EMPTY)
        if name in self._roles:
            raise EtcdError(errors.ROLE_ALREADY_EXIST)
        self._put_role(Role(name))
        self._changed()

    def _role_delete(self, payload: bytes) -> None:
        name = messages.AuthRoleDeleteRequest.FromString(payload).role
        if self.enabled and name == ROOT:
            raise EtcdError(errors.INVALID_AUTH_MANAGEMENT)
        self._role(name)
        del self._roles[name]
        self._space.delete(self._row(_ROLE, name))
        for user in self.users():
            if name in user.roles:
                self._put_user(_without(user, name))
        self._changed()

    def _role_grant_permission(self, payload: bytes) -> None:
        request = messages.AuthRoleGrantPermissionRequest.FromString(payload)
        if not request.HasField("perm"):
            raise EtcdError(errors.PERMISSION_NOT_GIVEN)
        granted = Permission(request.perm.permType, request.perm.key, request.perm.range_end)
        if not granted.key or granted.keys.empty:
            raise EtcdError(errors.INVALID_AUTH_MANAGEMENT)
        role = self._role(request.name)
        permissions = list(role.permissions)
        for at, each in enumerate(permissions):
            if each[1:] == granted[1:]:
                permissions[at] = granted
                break
        else:
            insort(permissions, granted, key=attrgetter("key"))
        self._put_role(replace(role, permissions=tuple(permissions)))
        self._changed()

    def _role_revoke_permission(self, payload: bytes) -> None:
        request = messages.AuthRoleRevokePermissionRequest.FromString(payload)
        role = self._role(request.role)
        revoked = (request.key, request.range_end)
        left = tuple(each for each in role.permissions if each[1:] != revoked)
        if len(left) == len(role.permissions):
            raise EtcdError(errors.PERMISSION_NOT_GRANTED)
        self._put_role(replace(role, permissions=left))
        self._changed()

    # -- rows --------------------------------------------------------------------------------

    def _user(self, name: str) -> User:
        known = self._users.get(name)
        if known is None:
            raise EtcdError(errors.USER_NOT_FOUND)
        return known

    def _role(self, name: str) -> Role:
        known = self._roles.get(name)
        if known is None:
            raise EtcdError(errors.ROLE_NOT_FOUND)
        return known

    def _row(self, table: bytes, name: str) -> bytes:
        return self._epoch + table + name.encode()

    def _put_user(self, user: User) -> None:
        self._users[user.name] = user
        self._space.put(self._row(_USER, user.name), encode_user(user))

    def _put_role(self, role: Role) -> None:
        self._roles[role.name] = role
        self._space.put(self._row(_ROLE, role.name), encode_role(role))

    def _changed(self) -> None:
        """Note that users, roles or permissions are others now."""
        self._stand(enabled=self.enabled, revision=self.revision + 1)

    def _stand(self, *, enabled: bool, revision: int) -> None:
        self.enabled = enabled
        self.revision = revision
        self.changes += 1
        self._rights.clear()
        self._decoys = None
        self._space.put(self._epoch + _STANDING, _STANDING_ROW.pack(enabled, revision))


def _without(user: User, role: str) -> User:
    return replace(user, roles=tuple(each for each in user.roles if each != role))
