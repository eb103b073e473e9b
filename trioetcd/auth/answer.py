"""What the Auth service answers about users and roles, as etcd does, without the headers."""

from __future__ import annotations

from typing import Final

from trioetcd import errors
from trioetcd.auth.store import AuthStore
from trioetcd.auth.user import READWRITE, ROOT, Permission, to_message
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = ["role_body", "role_list_body", "status_body", "user_body", "user_list_body"]

_EVERYTHING: Final = Permission(READWRITE, b"", b"\0")
"""What the role `ROOT` is said to allow, whatever was granted to it."""


def status_body(store: AuthStore) -> bytes:
    """Answer AuthStatus."""
    return messages.AuthStatusResponse(
        enabled=store.enabled, authRevision=store.revision
    ).SerializeToString()


def user_body(store: AuthStore, name: str) -> bytes:
    """Answer UserGet: the names of a user's roles.

    Raises:
        EtcdError: there is no such user.
    """
    user = store.get_user(name)
    if user is None:
        raise EtcdError(errors.USER_NOT_FOUND)
    return messages.AuthUserGetResponse(roles=user.roles).SerializeToString()


def user_list_body(store: AuthStore) -> bytes:
    """Answer UserList: all names, in order."""
    names = [user.name for user in store.users()]
    return messages.AuthUserListResponse(users=names).SerializeToString()


def role_body(store: AuthStore, name: str) -> bytes:
    """Answer RoleGet: a role's permissions.

    Raises:
        EtcdError: there is no such role.
    """
    role = store.get_role(name)
    if role is None:
        raise EtcdError(errors.ROLE_NOT_FOUND)
    permissions = (_EVERYTHING,) if name == ROOT else role.permissions
    return messages.AuthRoleGetResponse(perm=map(to_message, permissions)).SerializeToString()


def role_list_body(store: AuthStore) -> bytes:
    """Answer RoleList: all names, in order."""
    names = [role.name for role in store.roles()]
    return messages.AuthRoleListResponse(roles=names).SerializeToString()
