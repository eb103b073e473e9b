"""Users on three nodes: what one of them has been told, the others know at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.three import Three, ask, three_nodes
from trioetcd.errors import EtcdError
from trioetcd.schema import messages as m

AUTH = "/etcdserverpb.Auth/"
PUT = "/etcdserverpb.KV/Put"
PASSWORD = "of anna"


async def set_users(three: Three) -> None:
    """Make users, and enable auth; the certificate that all clients have is root's."""
    connection = await three.connect(0)
    none = m.UserAddOptions(no_password=True)
    perm = m.Permission(permType=m.Permission.READWRITE, key=b"a")
    for name, request in (
        ("UserAdd", m.AuthUserAddRequest(name="root", options=none)),
        ("UserAdd", m.AuthUserAddRequest(name="anna", password=PASSWORD)),
        ("RoleAdd", m.AuthRoleAddRequest(name="r")),
        ("RoleGrantPermission", m.AuthRoleGrantPermissionRequest(name="r", perm=perm)),
        ("UserGrantRole", m.AuthUserGrantRoleRequest(user="root", role="root")),
        ("AuthEnable", m.AuthEnableRequest()),
    ):
        await ask(connection, AUTH + name, request)


@pytest.mark.slow
async def test_tokens_and_permissions_count_everywhere_at_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Whoever has logged in at one node is known at the others, and may what was just granted."""
    async with three_nodes(tmp_path) as three:
        await set_users(three)
        connections = [await three.connect(number) for number in range(3)]
        for number, connection in enumerate(connections):
            login = m.AuthenticateRequest(name="anna", password=PASSWORD)
            answer = await ask(connection, AUTH + "Authenticate", login)
            shown = [("token", m.AuthenticateResponse.FromString(answer).token)]
            other = connections[(number + 1) % 3]
            put = m.PutRequest(key=b"a", value=b"v")
            with pytest.raises(EtcdError, match="permission denied"):
                await ask(other, PUT, put, shown)
            grant = m.AuthUserGrantRoleRequest(user="anna", role="r")
            await ask(connection, AUTH + "UserGrantRole", grant)
            await ask(other, PUT, put, shown)
            revoke = m.AuthUserRevokeRoleRequest(name="anna", role="r")
            await ask(connection, AUTH + "UserRevokeRole", revoke)
