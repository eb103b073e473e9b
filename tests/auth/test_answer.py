"""What the Auth service answers, in etcd's shape."""

from __future__ import annotations

import pytest

from tests.auth.asking import Asked, enable, grant, grant_role, role_add, user_add
from trioetcd import errors
from trioetcd.auth import (
    READ,
    WRITE,
    role_body,
    role_list_body,
    status_body,
    user_body,
    user_list_body,
)
from trioetcd.errors import EtcdError
from trioetcd.schema import messages


def known() -> Asked:
    asked = Asked()
    asked.do(user_add("root"), user_add("a"), role_add("root"), role_add("r"))
    asked.do(grant("root", READ, b"x"), grant("r", WRITE, b"k", b"l"), grant("r", READ, b"j"))
    asked.do(grant_role("root", "root"), grant_role("root", "r"), enable())
    return asked


def test_status() -> None:
    """A new member is at revision 1 and not enabled; each is told as it is."""
    fresh = messages.AuthStatusResponse.FromString(status_body(Asked().store))
    assert (False, 1) == (fresh.enabled, fresh.authRevision)
    found = messages.AuthStatusResponse.FromString(status_body(known().store))
    assert (True, 10) == (found.enabled, found.authRevision)
    assert not found.HasField("header")


def test_users() -> None:
    """UserGet tells the roles, UserList the names; both are in order."""
    store = known().store
    found = messages.AuthUserGetResponse.FromString(user_body(store, "root"))
    assert ["r", "root"] == list(found.roles)
    assert b"" == user_body(store, "a")
    listed = messages.AuthUserListResponse.FromString(user_list_body(store))
    assert ["a", "root"] == list(listed.users)
    with pytest.raises(EtcdError) as caught:
        user_body(store, "nobody")
    assert errors.USER_NOT_FOUND is caught.value.row


def test_roles() -> None:
    """RoleGet tells what was granted, in the order of keys; of root, that it may everything."""
    store = known().store
    found = messages.AuthRoleGetResponse.FromString(role_body(store, "r"))
    assert [(READ, b"j", b""), (WRITE, b"k", b"l")] == [
        (each.permType, each.key, each.range_end) for each in found.perm
    ]
    root = messages.AuthRoleGetResponse.FromString(role_body(store, "root")).perm
    assert [(messages.Permission.READWRITE, b"", b"\0")] == [
        (each.permType, each.key, each.range_end) for each in root
    ]
    listed = messages.AuthRoleListResponse.FromString(role_list_body(store))
    assert ["r", "root"] == list(listed.roles)
    with pytest.raises(EtcdError) as caught:
        role_body(store, "nowhere")
    assert errors.ROLE_NOT_FOUND is caught.value.row
