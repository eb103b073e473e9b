"""Give somebody a password and a part of the keys, and see what happens beyond.

    eval "$(.venv/bin/trioetcd certs env --data-dir default.etcd)"
    .venv/bin/python examples/rbac.py

Whoever has the certificate that this prints names is root, before and after: the member takes the
common name in a client's certificate for the user's name, unless a token says otherwise. So root
needs no password here; alice has one, and her part is what begins with ``orders/``.

In the end auth is off again and alice is gone. Every try is in the member's audit log, if it has
one (docs/audit.md).
"""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractAsyncContextManager

import trio

from trioetcd.client import Client, EtcdError, open_client


async def make_users(client: Client, password: str) -> None:
    """Make root, who is known by certificate, and alice with her role; then ask everybody."""
    auth = client.auth
    await auth.user_add("root")
    await auth.user_grant_role("root", "root")
    await auth.role_add("clerk")
    await auth.role_grant_permission("clerk", "readwrite", "orders/", prefix=True)
    await auth.user_add("alice", password)
    await auth.user_grant_role("alice", "clerk")
    await auth.enable()
    print(await auth.user_get("alice"))
    print(*(await auth.role_get("clerk")).permissions)


async def work(client: Client) -> None:
    """Do what alice may, and try what she may not."""
    await client.put("orders/1", "a horse")
    found = await client.range("orders/", prefix=True)
    print(f"alice: orders/1 = {found.kvs[0].value.decode()}")
    try:
        await client.put("prices/horse", "1")
    except EtcdError as error:
        print(f"alice: prices/horse: {error.text}")
    try:
        await client.auth.user_grant_role("alice", "root")
    except EtcdError as error:
        print(f"alice: to be root: {error.text}")


async def take_back(client: Client) -> None:
    """Let everything be as it was."""
    await client.auth.disable()
    for user in ("alice", "root"):
        await client.auth.user_delete(user)
    await client.auth.role_delete("clerk")
    await client.delete("orders/1")
    print(f"auth is on: {(await client.auth.status()).enabled}")


def connect(user: str = "", password: str = "") -> AbstractAsyncContextManager[Client]:
    """Open a client with the certificate of the environment, and a password if one is given."""
    return open_client(
        os.environ.get("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379"),
        cacert=os.environ["ETCDCTL_CACERT"],
        cert=os.environ["ETCDCTL_CERT"],
        key=os.environ["ETCDCTL_KEY"],
        user=user,
        password=password,
    )


async def main() -> None:
    """Make users, work as one of them, and take everything back."""
    password = secrets.token_urlsafe()
    async with connect() as root:
        if await root.auth.user_list():
            raise SystemExit("this cluster has users; try the example on one that has none")
        await make_users(root, password)
        async with connect("alice", password) as alice:
            await work(alice)
        await take_back(root)


trio.run(main)
