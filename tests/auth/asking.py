"""Commands of auth, made short: a row of a table is a kind and the request's fields."""

from __future__ import annotations

from base64 import b64encode
from random import Random
from typing import Final

from trioetcd.auth import AuthStore, commands
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.schema import messages
from trioetcd.testing.space import DictSpace

EPOCH: Final = b"\x80"

HASH: Final = b"$2a$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW"
"""The password is ``pw``."""

Command = tuple[int, messages.Message]


def enable() -> Command:
    return commands.AUTH_ENABLE, messages.AuthEnableRequest()


def disable() -> Command:
    return commands.AUTH_DISABLE, messages.AuthDisableRequest()


def user_add(name: str, hashed: bytes = HASH, *, no_password: bool = False) -> Command:
    return commands.AUTH_USER_ADD, messages.AuthUserAddRequest(
        name=name,
        hashedPassword="" if no_password else b64encode(hashed).decode(),
        options=messages.UserAddOptions(no_password=True) if no_password else None,
    )


def user_delete(name: str) -> Command:
    return commands.AUTH_USER_DELETE, messages.AuthUserDeleteRequest(name=name)


def change_password(name: str, hashed: bytes = HASH) -> Command:
    return commands.AUTH_USER_CHANGE_PASSWORD, messages.AuthUserChangePasswordRequest(
        name=name, hashedPassword=b64encode(hashed).decode()
    )


def grant_role(user: str, role: str) -> Command:
    return commands.AUTH_USER_GRANT_ROLE, messages.AuthUserGrantRoleRequest(user=user, role=role)


def revoke_role(user: str, role: str) -> Command:
    request = messages.AuthUserRevokeRoleRequest(name=user, role=role)
    return commands.AUTH_USER_REVOKE_ROLE, request


def role_add(name: str) -> Command:
    return commands.AUTH_ROLE_ADD, messages.AuthRoleAddRequest(name=name)


def role_delete(name: str) -> Command:
    return commands.AUTH_ROLE_DELETE, messages.AuthRoleDeleteRequest(role=name)


def grant(role: str, kind: int, key: bytes, range_end: bytes = b"") -> Command:
    permission = messages.Permission(permType=kind, key=key, range_end=range_end)
    return commands.AUTH_ROLE_GRANT_PERMISSION, messages.AuthRoleGrantPermissionRequest(
        name=role, perm=permission
    )


def grant_nothing(role: str) -> Command:
    request = messages.AuthRoleGrantPermissionRequest(name=role)
    return commands.AUTH_ROLE_GRANT_PERMISSION, request


def revoke(role: str, key: bytes, range_end: bytes = b"") -> Command:
    return commands.AUTH_ROLE_REVOKE_PERMISSION, messages.AuthRoleRevokePermissionRequest(
        role=role, key=key, range_end=range_end
    )


class Chance:
    """Numbers of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def bits(self, count: int, /) -> int:
        return self._random.getrandbits(count)


class Asked:
    """A store, and everything its listener was told."""

    def __init__(self) -> None:
        self.space = DictSpace()
        self.store = AuthStore(self.space, epoch=EPOCH)
        self.told: list[tuple[str, ...] | tuple[str, bytes]] = []
        self.store.listener = self

    def assign(self, user: str, digest: bytes, /) -> None:
        self.told.append((user, digest))

    def invalidate(self, user: str, /) -> None:
        self.told.append(("invalidate", user))

    def clear(self) -> None:
        self.told.append(("clear",))

    def ask(self, command: Command) -> ErrorRow | None:
        """Apply a command; the error if it failed, and then nothing has changed."""
        kind, request = command
        return self.apply(kind, request.SerializeToString())

    def apply(self, kind: int, payload: bytes) -> ErrorRow | None:
        before = dict(self.space.rows), self.store.revision, self.store.changes, len(self.told)
        outcome = self.store.apply(kind, payload)
        if isinstance(outcome, EtcdError):
            after = self.space.rows, self.store.revision, self.store.changes, len(self.told)
            assert before == after, "a command that fails changes nothing"
            return outcome.row
        assert (0, b"") == outcome
        return None

    def do(self, *asked: Command) -> None:
        """Apply commands that must succeed."""
        for command in asked:
            assert self.ask(command) is None, command
